/** `lazarus inspect` as a person runs it: one command, one link, used once. */
import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import {
  isUp,
  lazarus,
  missionsFolder,
  nodeFileOf,
  Running,
  up,
  writeCell,
} from '../support/cli.ts';
import { eventually } from '../support/eventually.ts';
import { receive } from '../support/inspector.ts';

const file = (missions: string): Record<string, string> =>
  JSON.parse(readFileSync(nodeFileOf(missions), 'utf8')) as Record<string, string>;

describe('lazarus inspect', () => {
  test('gives a link that opens the page once, and a socket for any receiver; no token in either', async () => {
    const missions = missionsFolder();
    writeCell(missions, 'c');
    const node = await up(missions);
    const { inspector, http_token_file: tokenFile = '' } = file(missions);
    const token = readFileSync(tokenFile, 'utf8').trim();
    const { code, out } = await lazarus(missions, 'inspect');
    expect(code).toBe(0);
    const [link = ''] = out.split('\n');
    expect(link.startsWith(`${inspector}?ticket=`)).toBe(true);
    expect(out).toMatch(/works once, until 2\d{3}-/);
    expect(out).not.toContain(token);
    const entered = await fetch(link, { redirect: 'manual' });
    expect([entered.status, entered.headers.get('location')]).toEqual([303, '/inspect']);
    const [cookie = ''] = (entered.headers.getSetCookie()[0] ?? '').split(';');
    const page = await fetch(inspector ?? '', { headers: { cookie } });
    expect([page.status, await page.text()]).toEqual([
      200,
      expect.stringContaining('Lazarus inspector'),
    ]);
    expect((await fetch(link)).status).toBe(401);
    const answer = (await lazarus(missions, 'inspect', '--json')).json();
    expect(answer).toMatchObject({ opened: false, expires_at: expect.any(String) });
    const frames = receive(answer['socket'] as string);
    await eventually(() => expect(frames.map(({ name }) => name)).toContain('cell/c/agent/worker'));
    const status = (await lazarus(missions, 'status', '--json')).json();
    expect(status).toMatchObject({ parts: { inspector: { state: 'up', watchers: 1 } } });
    node.child.kill('SIGTERM'); // with a watcher there
    expect((await node.ended).code).toBe(0);
    expect(node.out).not.toContain(token);
    expect(node.out).not.toContain('ticket');
  });

  test('says what to do where none can be had', async () => {
    const missions = missionsFolder();
    expect(await lazarus(missions, 'inspect')).toMatchObject({
      code: 1,
      err: expect.stringMatching(/no node runs on .*\nTry: Start one: `lazarus up`/),
    });
    const node = Running.of(missions, 'up', '--inspector', 'off');
    await isUp(missions, node);
    expect(await lazarus(missions, 'inspect')).toMatchObject({
      code: 1,
      err: expect.stringContaining('has no inspector'),
    });
    expect(file(missions)['inspector']).toBeNull();
    expect((await lazarus(missions, 'up', '--inspector', 'everybody')).code).toBe(2);
  });

  test('does not show the token to whoever has the port of a node that was killed', async () => {
    const missions = missionsFolder();
    const node = await up(missions);
    node.child.kill('SIGKILL');
    await node.ended;
    expect(await lazarus(missions, 'inspect')).toMatchObject({
      code: 1,
      err: expect.stringContaining('no node runs on'),
    });
  });

  test('has help with an example', async () => {
    const { code, out } = await lazarus(null, 'inspect', '--help');
    expect(code).toBe(0);
    expect(out).toContain('lazarus inspect --no-open');
  });
});
