/** `lazarus mcp` as a client starts it: a real process, by the SDK's own client, and by hand. */
import { spawn } from 'node:child_process';
import type { ChildProcessWithoutNullStreams } from 'node:child_process';
import { once } from 'node:events';
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StdioClientTransport } from '@modelcontextprotocol/sdk/client/stdio.js';
import type { CallToolResult, TextResourceContents } from '@modelcontextprotocol/sdk/types.js';
import { describe, expect, onTestFinished, test } from 'vitest';
import type { JsonObject } from '../../machines/json.ts';
import { LAZARUS, missionsFolder, slowStep, up, writeCell } from '../support/cli.ts';
import { eventually } from '../support/eventually.ts';

const environment = (): Record<string, string> => ({
  ...(process.env as Record<string, string>),
  LAZARUS_CONFIG: 'none',
  NO_COLOR: '1',
});

async function start(missions: string, ...options: string[]): Promise<Client> {
  const transport = new StdioClientTransport({
    command: process.execPath,
    args: [LAZARUS, 'mcp', '--missions', missions, ...options],
    env: environment(),
  });
  const client = new Client({ name: 'a test', version: '1' });
  await client.connect(transport);
  onTestFinished(() => client.close());
  await client.listTools();
  return client;
}

const call = async (client: Client, name: string, args: JsonObject = {}): Promise<CallToolResult> =>
  (await client.callTool({ name, arguments: args })) as CallToolResult;

function textOf({ content: [first] }: CallToolResult): string {
  if (first?.type !== 'text') throw new Error('no text');
  return first.text;
}

describe('with a node that runs', () => {
  test('a mission is made, looked at and read; the record says who started the client', async () => {
    const missions = missionsFolder();
    await up(missions);
    const client = await start(missions);
    const made = await call(client, 'create_mission_cell', { mission_name: 'M', cell_id: 'm' });
    expect(made.structuredContent).toMatchObject({ cell_id: 'm', taken_in: true });
    const { contents } = await client.readResource({ uri: 'lazarus://cell/m' });
    const cell = JSON.parse((contents[0] as TextResourceContents).text) as JsonObject;
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
      start(missions),
      start(missions, '--allow-approvals'),
    ]);
    const pid = await eventually(
      async () => {
        const { structuredContent } = await call(plain, 'get_cell', { cell_id: 'c' });
        const { agents, tasks } = structuredContent as unknown as {
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

describe('while no node runs', () => {
  test('reading goes to the disk, changing is refused and says how to start one; then it works', async () => {
    const missions = missionsFolder();
    writeCell(missions, 'c');
    const client = await start(missions);
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
