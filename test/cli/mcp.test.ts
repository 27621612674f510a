/** `lazarus mcp` as a client starts it: a real process, by the official clients of both generations, and by hand. */
import { spawn } from 'node:child_process';
import type { ChildProcessWithoutNullStreams } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import type { JsonObject } from '../../machines/json.ts';
import {
  LAZARUS,
  missionsFolder,
  nodeFileOf,
  Running,
  slowStep,
  up,
  writeCell,
} from '../support/cli.ts';
import { eventually } from '../support/eventually.ts';
import { ALL_CLIENTS, call, GENERATIONS, NEWEST, read, ready, textOf } from '../support/mcp.ts';
import type { Generation, McpClient } from '../support/mcp.ts';

const environment = (): Record<string, string> => ({
  ...(process.env as Record<string, string>),
  LAZARUS_CONFIG: 'none',
  NO_COLOR: '1',
});

function start(by: Generation, missions: string, ...options: string[]): Promise<McpClient> {
  const args = [LAZARUS, 'mcp', '--missions', missions, ...options];
  return ready(by.byStdio({ command: process.execPath, args, env: environment() }));
}

describe.each(GENERATIONS)('with a node that runs, by $library', (by) => {
  test('a mission is made, looked at and read; the record says who started the client', async () => {
    const missions = missionsFolder();
    await up(missions);
    const client = await start(by, missions);
    const made = await call(client, 'create_mission_cell', { mission_name: 'M', cell_id: 'm' });
    expect(made.structuredContent).toMatchObject({ cell_id: 'm', taken_in: true });
    const cell = JSON.parse(await read(client, 'lazarus://cell/m')) as JsonObject;
    expect(cell).toMatchObject({ cell_id: 'm', mission_name: 'M', running: true });
    const command = { cell_id: 'm', task_id: 't', title: 't', steps: [{ name: 's', run: ['id'] }] };
    expect(textOf(await call(client, 'add_task_to_cell', command))).toMatch(/^FORBIDDEN/);
  });

  test('given --allow-approvals, then a step in doubt is settled, and the record names the client', async () => {
    const missions = missionsFolder();
    writeCell(missions, 'c', {
      tasks: [{ task_id: 't', steps: [slowStep('send', 60, 'never')] }],
      more: { policies: { auto_revive: 'yes' } },
    });
    await up(missions);
    const [plain, allowed] = await Promise.all([
      start(by, missions),
      start(by, missions, '--allow-approvals'),
    ]);
    const pid = await eventually(
      async () => {
        const { structuredContent } = await call(plain, 'get_cell', { cell_id: 'c' });
        const { agents, tasks } = structuredContent as {
          agents: { pid: number | null }[];
          tasks: { current_step: string | null }[];
        };
        if (tasks[0]?.current_step !== 'send' || !agents[0]?.pid) throw new Error('not yet');
        return agents[0].pid;
      },
      { timeoutMs: 15_000 },
    );
    process.kill(pid, 'SIGKILL');
    await eventually(
      async () => {
        const { structuredContent } = await call(plain, 'list_doubts');
        expect(structuredContent).toMatchObject({ in_doubt: [{ task_id: 't', step: 'send' }] });
      },
      { timeoutMs: 15_000 },
    );
    const asked = { task_id: 'c/t' };
    expect(textOf(await call(plain, 'settle_step_as_done', asked))).toMatch(/^FORBIDDEN/);
    const settled = await call(allowed, 'settle_step_as_done', asked);
    expect(settled.structuredContent).toMatchObject({
      settled: 'done',
      by: expect.stringMatching(/^a test over MCP, started by .* \(command line\)$/),
    });
  });
});

describe.each(ALL_CLIENTS)('while no node runs, by $library', (by) => {
  test('reading goes to the disk, changing is refused and says how to start one; then it works', async () => {
    const missions = missionsFolder();
    writeCell(missions, 'c');
    const client = await start(by, missions);
    const cells = await call(client, 'list_cells');
    expect(cells.structuredContent).toMatchObject({ cells: [{ cell_id: 'c' }] });
    const health = await call(client, 'get_agent_health', { agent_id: 'worker' });
    expect(health.structuredContent).toMatchObject({ status: 'unknown', last_heartbeat: null });
    const asked = { mission_name: 'M', cell_id: 'm' };
    const refused = await call(client, 'create_mission_cell', asked);
    expect(refused.isError).toBe(true);
    expect(textOf(refused)).toMatch(/^NOT_RUNNING: [^]*Try: .*lazarus up/);
    await up(missions);
    expect((await call(client, 'create_mission_cell', asked)).structuredContent).toMatchObject({
      cell_id: 'm',
    });
  });
});

test('given a node with its gateway, then the SDK is loaded with the first message and not before', async () => {
  const missions = missionsFolder();
  const loaded = join(missions, '../loaded.txt');
  const hook = join(missions, '../hook.mjs');
  writeFileSync(loaded, '');
  writeFileSync(
    hook,
    `import { appendFileSync } from 'node:fs';
    import { registerHooks } from 'node:module';
    registerHooks({
      resolve(name, context, next) {
        if (/^(@modelcontextprotocol|zod)/.test(name)) appendFileSync(${JSON.stringify(loaded)}, name + '\\n');
        return next(name, context);
      },
    });`,
  );
  await up(missions, (dir) => {
    const args = ['--import', hook, LAZARUS, 'up', '--http', '127.0.0.1:0', '--missions', dir];
    const child = spawn(process.execPath, args, { env: environment() });
    onTestFinished(() => void child.kill('SIGKILL'));
    return new Running(child);
  });
  const file = JSON.parse(readFileSync(nodeFileOf(missions), 'utf8')) as Record<string, string>;
  const health = await fetch(`${file['http']}/health`);
  expect(health.status).toBe(200);
  expect(readFileSync(loaded, 'utf8')).toBe('');
  const token = readFileSync(file['http_token_file'] ?? '', 'utf8').trim();
  await ready(NEWEST.byHttp(`${file['http']}/mcp`, token));
  expect(readFileSync(loaded, 'utf8')).toContain('@modelcontextprotocol/server');
});

describe('by hand', () => {
  const launch = (missions: string): ChildProcessWithoutNullStreams => {
    const args = [LAZARUS, 'mcp', '--missions', missions];
    const child = spawn(process.execPath, args, { env: environment() });
    onTestFinished(() => void child.kill('SIGKILL'));
    return child;
  };
  const heard = (child: ChildProcessWithoutNullStreams): { out: string; err: string } => {
    const text = { out: '', err: '' };
    child.stdout.on('data', (chunk: Buffer) => (text.out += chunk.toString()));
    child.stderr.on('data', (chunk: Buffer) => (text.err += chunk.toString()));
    return text;
  };
  const rpc = (id: number, method: string, params: JsonObject = {}): string =>
    `${JSON.stringify({ jsonrpc: '2.0', id, method, params })}\n`;

  test('given messages and the end of input, then all are answered, nothing else is said, and it ends well', async () => {
    const missions = missionsFolder();
    writeCell(missions, 'c');
    const child = launch(missions);
    const text = heard(child);
    child.stdin.write('this is no message\n{"jsonrpc":"2.0"}\n');
    child.stdin.write(`${'['.repeat(50_000)}${']'.repeat(50_000)}\n`);
    child.stdin.end(
      rpc(1, 'ping') + rpc(2, 'tools/call', { name: 'list_cells' }) + rpc(3, 'no/such'),
    );
    const [code] = (await once(child, 'close')) as [number];
    expect(code).toBe(0);
    const answers = text.out
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line) as { id: number; result?: JsonObject; error?: JsonObject });
    expect(new Set(answers.map(({ id }) => id))).toEqual(new Set([1, 2, 3]));
    expect(answers).toHaveLength(3);
    expect(answers.find(({ id }) => id === 2)?.result).toMatchObject({
      structuredContent: { cells: [{ cell_id: 'c' }] },
    });
    expect(answers.find(({ id }) => id === 3)?.error).toMatchObject({ code: -32_601 });
    expect(text.err).toContain('MCP message not understood');
  });

  test('given a message without end, then the connection is ended and the reason is said', async () => {
    const child = launch(missionsFolder());
    const text = heard(child);
    child.stdin.on('error', () => {}); // it stops to read, which is what is tested
    const flood = Buffer.alloc(1 << 20, 'x');
    for (let sent = 0; sent < 8; sent += 1) child.stdin.write(flood);
    const [code] = (await once(child, 'close')) as [number];
    expect(code).toBe(2);
    expect(text.out).toBe('');
    expect(text.err).toContain('Error: the MCP connection was ended');
  });
});
