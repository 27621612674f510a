/** An inspector on a bench's kernel, as a node has one, and a watcher in a process of its own. */
import { inspectedSystem } from '../../actors/inspector-door.ts';
import type { Kernel } from '../../actors/kernel.ts';
import { openGateway } from '../../bus/gateway.ts';
import { openInspector } from '../../bus/inspector.ts';
import type { Inspector } from '../../bus/inspector.ts';
import { healthView } from '../../machines/heartbeats.ts';
import { startChild } from './child.ts';
import type { BenchChild } from './child.ts';
import { silent } from './kernel.ts';

const TOKEN = 'of-the-bench-and-of-nobody-else';

export interface Inspected {
  inspector: Inspector;
  close(): Promise<void>;
}

export async function inspected({ system }: Kernel): Promise<Inspected> {
  const nobody = (): never => {
    throw new Error('the bench has no agents');
  };
  const gateway = await openGateway({
    host: '127.0.0.1',
    port: 0,
    isAskedFor: true,
    token: TOKEN,
    heartbeats: {
      ready: () => Promise.resolve(),
      beat: nobody,
      agent: nobody,
      all: () => healthView({}, 1000),
    },
    verbs: [],
    remoteCommands: () => false,
    trouble: () => undefined,
    log: silent,
  });
  const inspector = openInspector({
    gateway,
    system: inspectedSystem(system),
    token: TOKEN,
    isNetwork: false,
    secrets: () => [],
    log: silent,
  });
  return {
    inspector,
    async close() {
      await inspector.close();
      await gateway.close();
    },
  };
}

/** A process that watches while it is told to; see watcher-child.ts. */
export async function startWatcher({ url }: Inspector, actors: number): Promise<BenchChild> {
  const child = startChild('watcher-child.ts', { args: [`${url}?token=${TOKEN}`, String(actors)] });
  await child.next();
  return child;
}
