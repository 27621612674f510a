/** A nats-server with whatever configuration, as somebody else runs it: stopped and started again on its port and store. */
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { onTestFinished } from 'vitest';
import { findNatsServer } from '../../bus/nats-server.ts';
import type { JsonObject } from '../../machines/json.ts';
import { eventually } from './eventually.ts';

export class OutsideServer {
  /** For files that belong to it. */
  readonly folder: string;
  readonly port: number;
  #config: JsonObject;
  #child: ChildProcess | undefined;

  private constructor(folder: string, port: number, config: JsonObject) {
    this.folder = folder;
    this.port = port;
    this.#config = config;
  }

  /** `config`: beside its port and store. It does not run yet. */
  static async on(config: JsonObject = {}): Promise<OutsideServer> {
    const folder = mkdtempSync(join(tmpdir(), 'lazarus-outside-'));
    const server = new OutsideServer(folder, await freePort(), config);
    onTestFinished(async () => {
      await server.stop();
      rmSync(folder, { recursive: true, force: true, maxRetries: 3 });
    });
    return server;
  }

  get url(): string {
    return `nats://127.0.0.1:${this.port}`;
  }

  file(name: string, content: string): string {
    const path = join(this.folder, name);
    writeFileSync(path, content, { mode: 0o600 });
    return path;
  }

  /** Takes clients when it resolves. */
  async start(config = this.#config): Promise<void> {
    this.#config = config;
    const ports = join(this.folder, 'ports');
    rmSync(ports, { recursive: true, force: true });
    mkdirSync(ports);
    const whole = {
      listen: `127.0.0.1:${this.port}`,
      ports_file_dir: ports,
      jetstream: { store_dir: join(this.folder, 'store'), max_file_store: 4_294_967_296 },
      ...config,
    };
    const binary = findNatsServer();
    if (binary === undefined)
      throw new Error('these tests need nats-server: apt-get install nats-server');
    const file = this.file('nats.conf', JSON.stringify(whole));
    const child = spawn(binary, ['-c', file], { stdio: ['ignore', 'ignore', 'pipe'] });
    this.#child = child;
    let said = '';
    child.stderr
      ?.setEncoding('utf8')
      .on('data', (text: string) => (said = (said + text).slice(-2000)));
    await eventually(() => {
      if (child.exitCode !== null) throw new Error(`nats-server ended: ${said}`);
      readFileSync(join(ports, `nats-server_${child.pid}.ports`));
    });
  }

  async stop(): Promise<void> {
    const child = this.#child;
    this.#child = undefined;
    if (!child || child.exitCode !== null || child.signalCode !== null) return;
    const exited = once(child, 'exit');
    child.kill('SIGKILL');
    await exited;
  }
}

async function freePort(): Promise<number> {
  const probe = createServer().listen(0, '127.0.0.1');
  await once(probe, 'listening');
  const { port } = probe.address() as AddressInfo;
  probe.close();
  await once(probe, 'close');
  return port;
}
