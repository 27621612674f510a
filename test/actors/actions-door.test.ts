import {
  existsSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import { fsck } from '../../actors/fsck/fsck.ts';
import { runVerb } from '../../actors/control.ts';
import { GATE } from '../../machines/addresses.ts';
import { DEFAULT_POLICY } from '../../machines/remediation.ts';
import type { Policy } from '../../machines/remediation.ts';
import { RuntimeError } from '../../machines/errors.ts';
import { BADLY, hashOf, proposal, WELL } from '../support/action.ts';
import { Homelab, never } from '../support/actions.ts';
import { eventually } from '../support/eventually.ts';
import { eventFilesIn } from '../support/runtime-files.ts';
import { startNode } from '../support/node.ts';

describe('from a file to what came of it', () => {
  test('given it is moved to approved/, then it runs once, and its file tells the whole way', async () => {
    const lab = await new Homelab().start();
    lab.put('pending', 'a', proposal('a', { colour: 'green' }));
    await lab.is('a', 'pending');
    lab.move('a', 'pending', 'approved');
    await lab.is('a', 'completed');
    expect(lab.executor.ran).toEqual(['a']);
    expect(lab.folders('a')).toEqual(['completed']);
    await lab.at.stop();
    expect(await fsck({ missionsDir: lab.missions })).toMatchObject({ clean: true, findings: [] });
    expect(lab.content('a')).toMatchObject({
      ...proposal('a'),
      colour: 'green',
      status: 'completed',
      result: { ok: true, exit_code: 0, driver: 'recorder' },
      transition_history: [
        { from: 'approved', to: 'running', by: 'lazarus', approved_by: 'whoever moved its file' },
        { from: 'running', to: 'completed', by: 'lazarus' },
      ],
    });
  });

  test('given it cannot be run for a reason that a person can mend, then its file says how', async () => {
    const lab = new Homelab();
    lab.executor.plan = () => {
      const hint = 'Write into executor.json: {"hosts": {}}';
      const said = { code: 'NOT_CONFIGURED', hint } as const;
      throw new RuntimeError('nobody has said how host vps is reached', said);
    };
    await lab.start();
    lab.put('pending', 'a');
    await lab.is('a', 'pending');
    lab.move('a', 'pending', 'approved');
    await lab.is('a', 'failed');
    const reason =
      'nobody has said how host vps is reached. Write into executor.json: {"hosts": {}}';
    expect(lab.content('a')).toMatchObject({ result: { ok: false, reason } });
    const { actions } = (await lab.verb('actions.list', {})) as { actions: { reason: string }[] };
    expect(actions).toMatchObject([{ status: 'failed', reason }]);
  });

  test('given people are being told of a failure when the node stops, then that is called off, and done by the next', async () => {
    const told: string[] = [];
    const lab = new Homelab();
    lab.executor.answer = () => Promise.resolve(BADLY);
    const never = (_about: unknown, key: string, signal: AbortSignal): Promise<void> =>
      new Promise((_resolve, reject) => {
        told.push(key);
        signal.addEventListener('abort', () => reject(signal.reason as Error), { once: true });
      });
    await lab.start({ escalate: never });
    lab.put('pending', 'a');
    await lab.is('a', 'pending');
    lab.move('a', 'pending', 'approved');
    await lab.is('a', 'escalating');
    await eventually(() => expect(told).toHaveLength(1));
    await lab.restart({ escalate: (_about, key) => Promise.resolve(void told.push(key)) });
    await lab.is('a', 'settled');
    expect(told).toEqual([told[0], told[0]]);
    expect(lab.view('a').escalated).toBe(true);
  });

  test('given it is approved by verb, then the file moves first, and says who approved it', async () => {
    const lab = await new Homelab().start({ mode: 'off' });
    lab.put('pending', 'a');
    const sha256 = hashOf(proposal('a'));
    const by = 'alice (command line)';
    const view = await lab.verb('actions.approve', { id: 'a', sha256, by });
    expect(view).toMatchObject({
      status: 'approved',
      approval: { by, door: 'command line', sha256 },
      sha256,
    });
    expect(lab.folders('a')).toEqual(['approved']);
    expect(lab.content('a')['transition_history']).toMatchObject([
      { from: 'pending', to: 'approved', by },
    ]);
    await eventually(() => expect(lab.view('a').waits).toMatch(/the executor is off/));
    expect(lab.part('actions')).toMatchObject({ state: 'up', counts: { approved: 1 } });
    expect(lab.part('executor')).toEqual({ state: 'off', mode: 'off' });
    expect(lab.executor.ran).toEqual([]);
  });

  test('given it is rejected with a reason, then the file says so', async () => {
    const lab = await new Homelab().start();
    lab.put('pending', 'a');
    await lab.verb('actions.reject', { id: 'a', reason: 'not now', by: 'bob (x)' });
    expect(lab.folders('a')).toEqual(['rejected']);
    expect(lab.content('a')).toMatchObject({
      status: 'rejected',
      transition_history: [{ from: 'pending', to: 'rejected', by: 'bob (x)', reason: 'not now' }],
    });
    await expect(lab.verb('actions.approve', { id: 'a' })).rejects.toThrow(/is rejected by bob/);
  });

  test('given it fails, then it stands in failed/ with the reason, and people are told', async () => {
    const told: unknown[] = [];
    const lab = new Homelab();
    lab.executor.answer = () => Promise.resolve(BADLY);
    await lab.start({
      escalate: (about) => {
        told.push(about);
        return Promise.resolve();
      },
    });
    lab.put('pending', 'a');
    await lab.verb('actions.approve', { id: 'a' });
    await eventually(() =>
      expect(lab.view('a')).toMatchObject({ state: 'settled', escalated: true }),
    );
    expect(lab.content('a')).toMatchObject({
      status: 'failed',
      escalated: true,
      result: { ok: false, reason: 'exit code 1' },
    });
    expect(told).toMatchObject([{ action_id: 'a', host: 'vps', reason: 'exit code 1' }]);
  });

  test('given no driver knows it, then it fails when it is approved, with the reason', async () => {
    const lab = await new Homelab().start();
    lab.put('pending', 'a', proposal('a', { type: 'dance' }));
    await lab.verb('actions.approve', { id: 'a' });
    await lab.is('a', 'failed');
    expect(lab.content('a')).toMatchObject({
      result: { reason: 'no driver runs actions of type dance' },
    });
    expect(lab.executor.ran).toEqual([]);
  });

  test('given its service must be well afterwards, then the driver or the observer says so', async () => {
    const lab = new Homelab();
    lab.executor.planned = { verifies: true };
    await lab.start();
    mkdirSync(lab.layout.world, { recursive: true });
    lab.put('pending', 'a');
    await lab.verb('actions.approve', { id: 'a' });
    await lab.is('a', 'verifying');
    const services = join(lab.layout.world, 'services.json');
    const observe = (): void => writeFileSync(services, '{"vps/web": {"status": "healthy"}}');
    const observing = setInterval(observe, 50); // times of files are coarser than the clock
    onTestFinished(() => clearInterval(observing));
    await lab.is('a', 'completed');
    expect(lab.content('a')).toMatchObject({ result: { verified_by: 'world/services.json' } });
  });

  test('given an action of another program, when it ends, then an event file tells how, once', async () => {
    const lab = new Homelab();
    await lab.start({ nodeName: 'solaria' });
    lab.put('pending', 'a');
    lab.put('pending', 'b');
    lab.executor.answer = () => Promise.resolve(BADLY);
    await lab.verb('actions.approve', { id: 'a' });
    await lab.is('a', 'failed');
    lab.executor.answer = () => Promise.resolve(WELL);
    await lab.verb('actions.approve', { id: 'b' });
    await lab.is('b', 'completed');
    const told = eventFilesIn(lab.layout).map(({ type, severity, node, correlation_id: id }) =>
      [id, type, severity, node].map(String).join(' '),
    );
    expect(told.toSorted()).toEqual([
      'a remediation_completed error solaria',
      'b remediation_completed info solaria',
    ]);
  });

  test('given nobody says in time that it is well, then it failed', async () => {
    const lab = new Homelab();
    lab.executor.planned = { verifies: true };
    await lab.start({ verifyMs: 50 });
    lab.put('pending', 'a');
    await lab.verb('actions.approve', { id: 'a' });
    await lab.is('a', 'failed');
    expect(lab.view('a').reason).toMatch(/not reported healthy/);
  });

  test.each([
    ['B', { action_id: undefined, id: 'a', type: 'restart_service', risk: 'guarded' }],
    ['C', { type: undefined, action_type: 'redeploy_service', risk_level: 'dangerous' }],
  ])('schema %s of other programs is read, and every field is kept', async (_name, more) => {
    const lab = await new Homelab().start();
    const content = JSON.parse(JSON.stringify({ ...proposal('a'), ...more })) as ReturnType<
      typeof proposal
    >;
    lab.put('pending', 'a', content);
    await lab.verb('actions.approve', { id: 'a' });
    await lab.is('a', 'completed');
    expect(lab.content('a')).toMatchObject({ ...content, status: 'completed' });
  });
});

describe('people and programs beside us', () => {
  test('given two approve at once, then one of them is told that somebody was quicker', async () => {
    const lab = await new Homelab().start({ mode: 'off' });
    lab.put('pending', 'a');
    await lab.is('a', 'pending');
    const both = await Promise.allSettled([
      lab.verb('actions.approve', { id: 'a', by: 'alice (x)' }),
      lab.verb('actions.approve', { id: 'a', by: 'bob (x)' }),
    ]);
    expect(both.map(({ status }) => status).toSorted()).toEqual(['fulfilled', 'rejected']);
    const refused = both.find(({ status }) => status === 'rejected') as PromiseRejectedResult;
    expect(refused.reason).toMatchObject({ code: 'CONFLICT' });
    expect(lab.folders('a')).toEqual(['approved']);
  });

  test('given one approves and one rejects at once, then exactly one of them counts', async () => {
    const lab = await new Homelab().start({ mode: 'off' });
    lab.put('pending', 'a');
    await lab.is('a', 'pending');
    const both = await Promise.allSettled([
      lab.verb('actions.reject', { id: 'a' }),
      lab.verb('actions.approve', { id: 'a' }),
    ]);
    expect(both.map(({ status }) => status)).toEqual(['fulfilled', 'rejected']);
    expect(lab.folders('a')).toEqual(['rejected']);
  });

  test('given the file was moved away in the same moment, then the verb names where it is', async () => {
    const lab = await new Homelab().start({ mode: 'off', rescanMs: 60_000 });
    lab.put('pending', 'a');
    await lab.is('a', 'pending');
    lab.move('a', 'pending', 'rejected');
    await expect(lab.verb('actions.approve', { id: 'a' })).rejects.toThrow(/rejected/);
    expect(lab.folders('a')).toEqual(['rejected']);
    await lab.is('a', 'rejected');
  });

  test('given it is edited after it was approved, then it is held, and runs only when it is approved anew', async () => {
    const lab = await new Homelab().start({ mode: 'off' });
    lab.put('pending', 'a');
    await lab.verb('actions.approve', { id: 'a' });
    lab.put('approved', 'a', { ...lab.content('a'), service: 'db' });
    expect((await lab.is('a', 'held')).waits).toMatch(/changed after .* approved it/);
    await lab.restart();
    await lab.is('a', 'held');
    expect(lab.executor.ran).toEqual([]);
    await lab.verb('actions.approve', { id: 'a' });
    await lab.is('a', 'completed');
    expect(lab.executor.ran).toEqual(['a']);
  });

  test.each(['approved', 'running'] as const)(
    'given it is first seen in %s/, then it is held until a verb approves it',
    async (folder) => {
      const lab = new Homelab();
      lab.put(folder, 'a');
      await lab.start();
      expect((await lab.is('a', 'held')).waits).toMatch(/unseen proposal/);
      expect(lab.folders('a')).toEqual([folder]);
      await lab.verb('actions.approve', { id: 'a' });
      await lab.is('a', 'completed');
      expect(lab.executor.ran).toEqual(['a']);
    },
  );

  test('given another executor claims it before us, then it is followed to its end and we run nothing', async () => {
    const lab = await new Homelab().start({ mode: 'dry-run' });
    lab.put('pending', 'a');
    await lab.verb('actions.approve', { id: 'a' });
    await eventually(() => expect(lab.content('a')).toHaveProperty('would_run'));
    lab.move('a', 'approved', 'running');
    expect((await lab.is('a', 'following')).waits).toMatch(/another executor/);
    lab.put('running', 'a', { ...lab.content('a'), result: 'theirs' });
    lab.move('a', 'running', 'completed');
    await lab.is('a', 'completed');
    expect(lab.view('a').by).toBe('whoever moved its file');
    expect(lab.executor.ran).toEqual([]);
  });

  test('given its file goes all the way at once, then only its end is seen, and that is enough', async () => {
    const lab = await new Homelab().start({ mode: 'off' });
    lab.put('pending', 'a');
    await lab.is('a', 'pending');
    lab.move('a', 'pending', 'approved');
    lab.move('a', 'approved', 'running');
    lab.move('a', 'running', 'failed');
    await lab.is('a', 'failed');
  });

  test('given its file is removed, then it is cancelled; given it comes back from rejected/, it waits again', async () => {
    const lab = await new Homelab().start();
    lab.put('pending', 'a');
    lab.put('pending', 'b');
    await lab.is('a', 'pending');
    await lab.is('b', 'pending');
    rmSync(lab.path('pending', 'a'));
    lab.move('b', 'pending', 'rejected');
    expect((await lab.is('a', 'cancelled')).reason).toBe('its file was removed');
    await lab.is('b', 'rejected');
    lab.move('b', 'rejected', 'pending');
    await lab.is('b', 'pending');
  });

  test('given it stands in two folders at once, then it is held until one of them is gone', async () => {
    const lab = await new Homelab().start();
    lab.put('pending', 'a');
    await lab.is('a', 'pending');
    lab.put('approved', 'a');
    expect((await lab.is('a', 'held')).waits).toMatch(/in pending\/ and approved\/ at once/);
    await eventually(() => expect(existsSync(`${lab.path('approved', 'a')}.error`)).toBe(true));
    rmSync(lab.path('pending', 'a'));
    await lab.is('a', 'completed'); // moved, in two steps
    await eventually(() => expect(existsSync(`${lab.path('approved', 'a')}.error`)).toBe(false));
  });

  test('given an old file of the same name has ended, then a new one is a new proposal', async () => {
    const lab = new Homelab();
    lab.put('completed', 'redeploy-vps-web');
    await lab.start();
    const { ctimeMs } = statSync(lab.path('completed', 'redeploy-vps-web'));
    await eventually(() => expect(Date.now() - ctimeMs).toBeGreaterThan(40)); // old, by the grain of file times
    lab.put('pending', 'redeploy-vps-web');
    await lab.is('redeploy-vps-web', 'pending');
    rmSync(lab.path('pending', 'redeploy-vps-web'));
    await lab.is('redeploy-vps-web', 'cancelled'); // the old one is not its end
  });

  test('given a folder is gone, then nothing is said of its files, and the status says so (P6)', async () => {
    const lab = await new Homelab().start();
    lab.put('pending', 'a');
    await lab.is('a', 'pending');
    const { pending } = lab.layout.actions;
    renameSync(pending, `${pending}.away`);
    await eventually(() => expect(lab.part('actions')).toMatchObject({ state: 'down' }));
    expect(lab.view('a').status).toBe('pending');
    renameSync(`${pending}.away`, pending);
    await eventually(() => expect(lab.part('actions')).toMatchObject({ state: 'up' }));
    lab.move('a', 'pending', 'approved');
    await lab.is('a', 'completed');
  });
});

describe('files that are no actions', () => {
  test.each<[string, (lab: Homelab) => void, RegExp]>([
    ['garbage', (lab) => writeFileSync(lab.path('pending', 'a'), '{"action_id": "a", '), /./],
    ['another id', (lab) => lab.put('pending', 'a', proposal('b')), /names another action/],
    ['no type', (lab) => lab.put('pending', 'a', { action_id: 'a' }), /needs a type/],
    [
      'a number that would be written as another',
      (lab) =>
        writeFileSync(lab.path('pending', 'a'), '{"type": "notify", "n": 12345678901234567890}'),
      /too long to be kept/,
    ],
    [
      'a symbolic link',
      (lab) => {
        writeFileSync(join(lab.layout.root, 'outside.json'), JSON.stringify(proposal('a')));
        symlinkSync(join(lab.layout.root, 'outside.json'), lab.path('pending', 'a'));
      },
      /symbolic link/,
    ],
    ['a folder', (lab) => mkdirSync(lab.path('pending', 'a')), /not a regular file/],
    [
      'one that is too long',
      (lab) => lab.put('pending', 'a', proposal('a', { more: 'x'.repeat(300_000) })),
      /larger than/,
    ],
  ])('%s gets an error file and no actor', async (_name, put, reason) => {
    const lab = await new Homelab().start();
    put(lab);
    await eventually(() =>
      expect(readFileSync(`${lab.path('pending', 'a')}.error`, 'utf8')).toMatch(reason),
    );
    expect(lab.knows('a')).toBe(false);
    const refused = { count: 1, first: ['pending/a.json'] };
    expect(lab.part('actions')['refused_files']).toEqual(refused);
    rmSync(lab.path('pending', 'a'), { recursive: true });
    await eventually(() => expect(existsSync(`${lab.path('pending', 'a')}.error`)).toBe(false));
  });

  test('given it was mended while no node ran, then its error file goes at the next start', async () => {
    const lab = await new Homelab().start();
    writeFileSync(lab.path('pending', 'a'), 'garbage');
    const error = `${lab.path('pending', 'a')}.error`;
    await eventually(() => expect(existsSync(error)).toBe(true));
    await lab.at.stop();
    lab.put('pending', 'a');
    await lab.start();
    await lab.is('a', 'pending');
    await eventually(() => expect(existsSync(error)).toBe(false));
  });

  test('given an approved one becomes garbage, then it is held; mended, it goes on', async () => {
    const lab = await new Homelab().start({ mode: 'off' });
    lab.put('pending', 'a');
    await lab.verb('actions.approve', { id: 'a' });
    const good = lab.content('a');
    writeFileSync(lab.path('approved', 'a'), 'garbage');
    await lab.is('a', 'held');
    lab.put('approved', 'a', good);
    await lab.is('a', 'approved');
  });

  test.each(['../up', '.hidden', 'a/b', 'a\u0000b', ' a', 'x'.repeat(300)])(
    'an id like %j is refused by every verb',
    async (id) => {
      const lab = await new Homelab().start();
      await expect(lab.verb('actions.approve', { id })).rejects.toMatchObject({
        code: 'INVALID_ARGUMENT',
      });
    },
  );
});

describe('what was there before', () => {
  test('given hundreds of files, then the open ones are known, and what has ended costs nothing', async () => {
    const lab = new Homelab();
    for (let n = 0; n < 300; n += 1) lab.put('pending', `p${n}`);
    for (let n = 0; n < 300; n += 1) lab.put('completed', `c${n}`);
    await lab.start();
    await lab.door.lookAtAll();
    expect(lab.part('actions')).toMatchObject({ open: 300, counts: { pending: 300 } });
    expect(lab.knows('c1')).toBe(false);
    const { actions } = (await lab.verb('actions.list', { status: 'pending', limit: 2 })) as {
      actions?: { action_id: string }[];
    };
    expect(actions?.map(({ action_id: id }) => id)).toEqual(['p0', 'p1']);
    const before = lab.at.node.kernel.system.eventsCommitted;
    await lab.door.lookAtAll();
    expect(lab.at.node.kernel.system.eventsCommitted).toBe(before); // what is known is told nobody
  });

  test('given a look takes longer than the time between two, then it ends all the same', async () => {
    const lab = new Homelab();
    for (let n = 0; n < 200; n += 1) lab.put('pending', `p${n}`);
    await lab.start({ rescanMs: 1 });
    await lab.door.lookAtAll();
    await lab.door.lookAtAll();
    expect(lab.part('actions')).toMatchObject({ open: 200 });
  });

  test('given a clean restart, then nothing is told twice and what was approved still runs', async () => {
    const lab = await new Homelab().start({ mode: 'off' });
    lab.put('pending', 'a');
    lab.put('pending', 'b');
    await lab.verb('actions.approve', { id: 'a' });
    await lab.is('b', 'pending');
    await lab.restart();
    await lab.is('a', 'completed');
    expect(lab.view('b').status).toBe('pending');
    expect(lab.executor.ran).toEqual(['a']);
  });
});

describe('the gate', () => {
  test('given a freeze, then nothing runs until it is ended, also over a restart', async () => {
    const lab = await new Homelab().start();
    await lab.verb('freeze', { reason: 'moving house', by: 'alice (x)' });
    lab.put('pending', 'a');
    await lab.verb('actions.approve', { id: 'a' });
    await eventually(() =>
      expect(lab.view('a').waits).toMatch(/frozen by alice \(x\): moving house/),
    );
    await lab.restart();
    expect(lab.part('actions')).toMatchObject({ frozen: { by: 'alice (x)' } });
    expect(lab.executor.ran).toEqual([]);
    await lab.verb('unfreeze', {});
    await lab.is('a', 'completed');
  });

  test('given a dry run, then what would run is written down, and the file stays approved', async () => {
    const lab = await new Homelab().start({ mode: 'dry-run' });
    lab.put('pending', 'a');
    expect(await lab.verb('actions.run', { id: 'a', dry_run: true })).toMatchObject({
      status: 'pending',
      would_run: { driver: 'recorder', shown: ['docker restart web'] },
    });
    expect(lab.content('a')).not.toHaveProperty('would_run');
    await lab.verb('actions.approve', { id: 'a' });
    await eventually(() =>
      expect(lab.content('a')).toMatchObject({ would_run: { shown: ['docker restart web'] } }),
    );
    expect(lab.folders('a')).toEqual(['approved']);
    await lab.restart({ mode: 'on' });
    await lab.is('a', 'completed');
    expect(lab.executor.ran).toEqual(['a']);
  });

  test('given more wait than the status shows, then it shows what a person is asked about', async () => {
    const lab = await new Homelab().start({ mode: 'off' });
    const ids = Array.from({ length: 51 }, (_, i) => `a-${i}`);
    for (const id of ids) lab.put('pending', id);
    for (const id of ids) await lab.is(id, 'pending');
    for (const id of ids) lab.move(id, 'pending', 'approved');
    for (const id of ids) await lab.is(id, 'approved');
    lab.put('pending', 'z');
    await lab.is('z', 'pending');
    await eventually(() => {
      const { waiting, counts } = lab.part('actions');
      const rest = Array.from({ length: 49 }, () => ({ status: 'approved' }));
      expect(waiting).toMatchObject([{ action_id: 'z' }, ...rest]);
      expect(counts).toMatchObject({ approved: 51, pending: 1 });
    });
  });

  test('given more have ended than are remembered, then the oldest goes with its output, and its name can come again', async () => {
    const lab = await new Homelab().start({ keptSettled: 2 });
    const runOne = async (id: string): Promise<void> => {
      lab.put('pending', id);
      await lab.is(id, 'pending');
      lab.move(id, 'pending', 'approved');
      await lab.is(id, 'completed');
    };
    const output = (id: string): boolean => existsSync(join(lab.layout.output, id));
    for (const id of ['a', 'b', 'c']) await runOne(id);
    await eventually(() => expect([lab.knows('a'), output('a')]).toEqual([false, false]));
    expect([output('b'), output('c')]).toEqual([true, true]);
    rmSync(lab.path('completed', 'a'));
    await runOne('a'); // the same content under the same name
    expect(lab.executor.ran).toEqual(['a', 'b', 'c', 'a']);
  });

  test('given the policy changes, then the gate knows before anybody looks at the folders', async () => {
    let policy: Policy = DEFAULT_POLICY;
    let tell = (): void => undefined;
    const onPolicyChange = (listener: () => void): (() => void) => {
      tell = listener;
      return () => undefined;
    };
    const rescanMs = 600_000;
    const lab = await new Homelab().start({ loadPolicy: () => policy, onPolicyChange, rescanMs });
    await lab.door.lookAtAll();
    policy = { ...DEFAULT_POLICY, closed_windows: [{ from: '00:00', to: '24:00' }] };
    tell();
    await eventually(() => {
      const { context } = lab.at.node.kernel.system.read(GATE).snapshot;
      expect(context).toMatchObject({ policy });
    });
  });

  test('given the policy changes while it waits, then it runs by itself', async () => {
    let policy: Policy = { ...DEFAULT_POLICY, rate_limits: { per_hour: 0 } };
    const lab = await new Homelab().start({ loadPolicy: () => policy });
    lab.put('pending', 'a');
    await lab.verb('actions.approve', { id: 'a' });
    await eventually(() => expect(lab.view('a').waits).toMatch(/rate limit: 0 an hour/));
    policy = DEFAULT_POLICY;
    await lab.is('a', 'completed');
  });

  test('given the policy cannot be read, then the last good one holds; without any, nothing runs (P6)', async () => {
    const bad = (): Policy => {
      throw new RuntimeError('policy.json: line 3', { code: 'FILE_INVALID' });
    };
    const lab = await new Homelab().start({ loadPolicy: bad });
    expect(lab.part('actions')).toMatchObject({ policy_problem: 'policy.json: line 3' });
    lab.put('pending', 'a');
    await lab.verb('actions.approve', { id: 'a' });
    await eventually(() => expect(lab.view('a').waits).toMatch(/cannot be read/));
    await lab.restart();
    await lab.is('a', 'completed');
    await lab.restart({ loadPolicy: bad });
    lab.put('pending', 'b');
    await lab.verb('actions.approve', { id: 'b' });
    await lab.is('b', 'completed');
  });

  test('given a window in a time zone, then the gate knows its hours', async () => {
    const window = { from: '00:00', to: '00:00', timezone: 'Europe/Warsaw', name: 'always' };
    const policy = { ...DEFAULT_POLICY, closed_windows: [window] };
    const lab = await new Homelab().start({ loadPolicy: () => policy });
    lab.put('pending', 'a');
    await lab.verb('actions.approve', { id: 'a' });
    await eventually(() => expect(lab.view('a').waits).toMatch(/closed window always/));
    expect(lab.view('a').until).not.toBe(null);
    const { zones } = lab.at.node.kernel.system.read(GATE).snapshot.context as {
      zones: Record<string, unknown[]>;
    };
    expect(zones['Europe/Warsaw']?.length).toBeGreaterThan(2); // summer comes and goes
  });
});

describe('without a door', () => {
  test('given a node without a runtime folder, then actions of an earlier life wait, and verbs say what is missing', async () => {
    const lab = new Homelab();
    lab.executor.answer = never;
    await lab.start();
    lab.put('pending', 'a');
    await lab.verb('actions.approve', { id: 'a' });
    await lab.is('a', 'running');
    await lab.at.stop();
    const bare = await startNode({}, lab.missions);
    expect(await runVerb(bare.node, 'actions.show', { id: 'a' })).toMatchObject({
      state: 'running',
    });
    await expect(runVerb(bare.node, 'actions.approve', { id: 'a' })).rejects.toMatchObject({
      code: 'NOT_CONFIGURED',
    });
    await bare.stop();
    lab.executor.recovered = { kind: 'unknown' };
    await lab.start();
    await eventually(() => expect(lab.at.node.status().in_doubt).toHaveLength(1));
    expect(lab.executor.ran).toEqual(['a']);
  });
});
