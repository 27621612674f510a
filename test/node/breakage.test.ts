/**
 * Agents broken in every way an operator knows, on real processes and files: what counts is that they come back or wait for
 * somebody, and that status, `why`, the request and the ledger say what happened, what comes next and what is needed.
 */
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import { readerOf, readVerb, runVerb } from '../../actors/control.ts';
import { hasProc, isRunning, readStat } from '../../actors/proc-fs.ts';
import type { JsonObject } from '../../machines/json.ts';
import { eventually } from '../support/eventually.ts';
import { agent, dropInto, gate, mission, startNode } from '../support/node.ts';
import { startNodeProcess, step, task, temporaryMissions } from '../support/node.ts';
import type { TestNode } from '../support/node.ts';
import { fillUp, mountSmallDisk, unmount } from '../support/small-disk.ts';

const PATIENT = { timeoutMs: 30_000 };
/** Workers that are kept in readiness, and started beside those that agents wait for. */
const STANDBY = 2;
const WITH_WORKER = { isolation_level: 'level_1' };

const policies = (more: JsonObject): JsonObject => ({ ...WITH_WORKER, policies: more });

/** Drops a mission whose step `a` stands at the gate `g`, and waits until a worker is at it. */
async function atGate(at: TestNode, more: JsonObject, first: JsonObject = {}): Promise<void> {
  at.drop(mission('c', [task('t', [step('a', gate('g'), first), step('b')])], more));
  await at.waitsAt('c', 'g');
  await eventually(() => expect(at.agent('c').pid).not.toBeNull());
}

async function finishes(at: TestNode): Promise<void> {
  at.open('c', 'g');
  await eventually(() => expect(at.cell('c').status).toBe('completed'), PATIENT);
}

interface Told {
  answer: string;
  next: { what: string }[];
  needs: { command: string | null }[];
  facts: { name: string; value: unknown }[];
}
const why = (at: TestNode, subject: string): Told =>
  readVerb(readerOf(at.node), 'why', { subject }) as unknown as Told;

const isAlive = (pid: number): boolean => isRunning(readStat(pid));

test.runIf(hasProc)(
  'given a step that forked a child, a daemon by double fork and one by setsid, when its worker is killed, then none of them lives beside the revived agent',
  async () => {
    const at = await startNode();
    const say = (name: string): string =>
      `sh -c 'echo $$ > artifacts/${name}.$LAZARUS_STEP.pid; exec sleep 600'`;
    const script = [
      `${say('child')} &`,
      `(${say('double')} &)`,
      `(setsid setsid ${say('session')} &)`,
      'while [ ! -s artifacts/session.a.pid ]; do sleep 0.02; done',
      'cat artifacts/*.pid >> artifacts/first; rm artifacts/*.pid',
      gate('g'),
    ].join('\n');
    at.drop(mission('c', [task('t', [step('a', script)])], WITH_WORKER));
    await at.waitsAt('c', 'g');
    const first = at.text('c', 'artifacts/first').split('\n').filter(Boolean).map(Number);
    expect(first).toHaveLength(3);
    expect(first.filter(isAlive)).toEqual(first);
    await at.killWorker('c');
    await eventually(() => expect(at.revival('c').status).toBe('revived'), PATIENT);
    expect(first.filter(isAlive)).toEqual([]);
    await finishes(at);
  },
  60_000,
);

test('given a worker that misses beats, then the status says so before it is given up', async () => {
  const at = await startNode();
  await atGate(at, policies({ auto_revive: 'ask' }));
  const { pid } = at.agent('c');
  process.kill(pid ?? 0, 'SIGSTOP');
  await eventually(
    () => expect(at.agent('c').complaint).toMatch(/^[12] heartbeats? missed$/),
    PATIENT,
  );
  await eventually(() => expect(at.revival('c').status).toBe('pending_approval'), PATIENT);
  expect(at.agent('c')).toMatchObject({ status: 'failed', complaint: null });
  expect(at.revival('c').reason).toContain('the worker was hung (no heartbeat for');
}, 60_000);

test('given a step that takes more memory than it may, then the step fails and not its agent', async () => {
  const at = await startNode();
  const hog = [
    'sh',
    '-c',
    'ulimit -v 400000; exec node -e "for (const a = []; ; ) a.push(Buffer.alloc(1e7, 1))"',
  ];
  const steps = [{ name: 'hog', run: hog, retry: 'never' }];
  at.drop(mission('c', [task('t', steps)], policies({ auto_revive: 'yes' })));
  await eventually(() => expect(at.task('c', 't').status).toBe('failed'), PATIENT);
  expect(at.task('c', 't').blocked_reason).toMatch(/^step hog (was ended by SIG|exited with code)/);
  expect(at.agent('c')).toMatchObject({ status: 'idle', revivals: 0 });
  expect(at.node.status().revivals).toEqual([]);
}, 60_000);

describe('an agent that dies at once each time', () => {
  const dies = [task('t', [step('a', 'kill -9 $PPID; sleep 5')])];

  test('then the question says how the revivals before it went, in the file too', async () => {
    const at = await startNode();
    at.drop(mission('c', dies, policies({ auto_revive: 'yes', max_retries: 2 })));
    await eventually(() => expect(at.revival('c').status).toBe('pending_approval'), PATIENT);
    const view = at.revival('c');
    const { pending } = at.node.layout.revivals;
    const file = await eventually(
      () =>
        JSON.parse(readFileSync(join(pending, `${view.revival_id}.json`), 'utf8')) as JsonObject,
    );
    expect(file['earlier']).toEqual(view.earlier);
    const told = [...view.earlier, ...view.story].join('\n');
    expect(told.match(/SIGKILL/g)?.length).toBeGreaterThanOrEqual(3);
    expect(view.revivals).toBe(view.earlier.length);
    await eventually(() => expect(at.ledger('c').at(-1)).not.toHaveProperty('earlier'));
  }, 60_000);

  test('and a policy without retries, then nobody is told of "0 revivals"', async () => {
    const at = await startNode();
    at.drop(mission('c', dies, policies({ auto_revive: 'yes', max_retries: 0 })));
    await eventually(() => expect(at.revival('c').status).toBe('pending_approval'), PATIENT);
    expect(at.revival('c').doing).toBe(
      'waits for a person: no revival is to be tried (max_retries is 0)',
    );
  }, 60_000);
});

describe('damaged knowledge', () => {
  test.each(['context.json', 'state.json', 'all'])(
    'given %s of an agent full of garbage, when its worker is killed, then it comes back and the ledger says what was written anew',
    async (which) => {
      const at = await startNode();
      await atGate(at, policies({ auto_revive: 'yes' }));
      const folder = at.path('c', 'checkpoints/lead');
      const names = which === 'all' ? readdirSync(folder) : [which];
      for (const name of names) writeFileSync(join(folder, name), 'garbage');
      await at.killWorker('c');
      await eventually(() => expect(at.revival('c').status).toBe('revived'), PATIENT);
      const story = await eventually(() => {
        const told = at.ledger('c').at(-1)?.['story'] as string[];
        expect(told.join()).toContain('written anew: ');
        return told.join('\n');
      });
      for (const name of names.filter((known) => !/\d/.test(known)))
        expect(story).toContain(`checkpoints/lead/${name}`);
      await finishes(at);
    },
    60_000,
  );

  test('given a checkpoint folder that cannot be written, then the failure names that folder, and mended it goes on', async () => {
    const at = await startNode();
    at.drop(mission('c', [task('t', [step('a', gate('g'))])], policies({ auto_revive: 'yes' })));
    await at.waitsAt('c', 'g');
    rmSync(at.path('c', 'checkpoints/lead'), { recursive: true });
    writeFileSync(at.path('c', 'checkpoints/lead'), 'a file where a folder belongs');
    at.open('c', 'g');
    await eventually(() => expect(at.revival('c').status).toBe('pending_approval'), PATIENT);
    const { reason } = at.revival('c');
    expect(reason).toContain('checkpoints/lead');
    expect(reason).not.toContain('/proc/self/fd');
    rmSync(at.path('c', 'checkpoints/lead'));
    await at.tellLazarus('c', { type: 'revival.approve', by: 'me' });
    await eventually(() => expect(at.cell('c').status).toBe('completed'), PATIENT);
    expect(at.counts('c')).toEqual({ 't/a': 1 });
  }, 60_000);

  test('given a full disk under its checkpoints, then the agent has not failed: status and `why` say what it waits for', async ({
    skip,
  }) => {
    const at = await startNode();
    at.drop(mission('c', [task('t', [step('a', gate('g'))])], policies({ auto_revive: 'yes' })));
    await at.waitsAt('c', 'g');
    const folder = at.path('c', 'checkpoints/lead');
    const problem = mountSmallDisk(folder, '64k');
    if (problem !== null) skip(problem);
    let isMounted = true;
    const release = (): void => {
      if (isMounted) unmount(folder);
      isMounted = false;
    };
    onTestFinished(release);
    fillUp(join(folder, 'fill'));
    at.open('c', 'g');
    const complaint = 'work waits for the host: checkpoints/lead cannot be written: ENOSPC';
    await eventually(() => expect(at.agent('c').complaint).toContain(complaint), PATIENT);
    expect(why(at, 't').facts).toContainEqual({
      name: 'not well',
      value: expect.stringContaining('no space left'),
    });
    rmSync(join(folder, 'fill'));
    await eventually(() => expect(at.cell('c').status).toBe('completed'), PATIENT);
    expect(at.node.status().revivals).toEqual([]);
    await at.stop();
    release();
  }, 60_000);

  test('given every checkpoint damaged while no node runs, and its records gone, then the agent is shown as failed and its task as standing still', async () => {
    const at = await startNode();
    at.drop(mission('c', [task('t', [step('a', gate('g')), step('b')])]));
    await at.waitsAt('c', 'g');
    await at.restart({}, () => {
      const folder = at.path('c', 'checkpoints/lead');
      for (const name of readdirSync(folder).filter((known) => known.startsWith('state')))
        writeFileSync(join(folder, name), 'garbage');
      rmSync(at.path('c', '.lazarus/journal'), { recursive: true });
    });
    await eventually(() => expect(at.revival('c').status).toBe('pending_approval'), PATIENT);
    expect(at.agent('c')).toMatchObject({ status: 'failed', health: 'unhealthy', pid: null });
    expect(at.agent('c').reason).toContain('its actor is held');
    expect(at.task('c', 't').blocked_reason).toContain('agent lead failed: its actor is held');
    expect(why(at, 't').answer).toMatch(/^Task t stands still because its agent lead failed/);
    const { choices, story } = at.revival('c');
    expect(choices.map(({ choice }) => choice)).toEqual(['retry', 'give_up']);
    expect(choices[0]?.means).toContain('lazarus fsck');
    const lines = story.map((line) => line.replace(/^\S+ /, ''));
    expect(lines.filter((line, index) => line === lines[index - 1])).toEqual([]);
  }, 60_000);
});

describe('the runtime is killed', () => {
  /** A node that is killed once `file` stands in the mission `c`; resolves with the next one. */
  async function killedWhen(plan: JsonObject, isThere: (missions: string) => boolean) {
    const missions = temporaryMissions();
    const first = await startNodeProcess(missions);
    dropInto(missions, plan);
    await eventually(() => expect(isThere(missions)).toBe(true), PATIENT);
    await first.crash();
    return startNode({}, missions);
  }
  const stands = (path: string) => (missions: string) => existsSync(join(missions, path));

  test('in a backoff: it is waited for to its end, and the agent comes back', async () => {
    // Each death by another signal, so that only the backoff grows.
    const dies = [
      'if [ -e artifacts/open ]; then exit 0; fi',
      'echo x >> artifacts/deaths; set -- KILL ABRT SEGV BUS FPE ILL TRAP SYS XCPU',
      'shift $(($(wc -l < artifacts/deaths) % 9)); kill -$1 $PPID; sleep 5',
    ].join('\n');
    const more = {
      ...policies({ auto_revive: 'yes', max_retries: 50 }),
      restart: { intensity: 100, period: 60 },
    };
    const plan = mission('c', [task('t', [step('a', dies)])], more);
    const deaths = (missions: string): number => {
      const file = join(missions, 'c/artifacts/deaths');
      return existsSync(file) ? readFileSync(file, 'utf8').length / 2 : 0;
    };
    const at = await killedWhen(plan, (missions) => deaths(missions) >= 4);
    writeFileSync(at.path('c', 'artifacts/open'), '');
    await eventually(() => expect(at.cell('c').status).toBe('completed'), PATIENT);
    await eventually(() => expect(at.revival('c')).toMatchObject({ status: 'revived' }), PATIENT);
    expect(at.node.status().in_doubt).toEqual([]);
  }, 90_000);

  test('while a revival is verified: it goes on, says so meanwhile, and ends in the ledger once', async () => {
    const probe =
      'touch artifacts/probing; while [ ! -e artifacts/probed ]; do sleep 0.02; done; exit 1';
    const first = { retry: 'probe', probe: ['sh', '-c', probe] };
    const dies = `if [ ! -e artifacts/died ]; then touch artifacts/died; kill -9 $PPID; sleep 5; fi`;
    const plan = mission(
      'c',
      [task('t', [step('a', dies, first)])],
      policies({ auto_revive: 'yes' }),
    );
    const at = await killedWhen(plan, stands('c/artifacts/probing'));
    await eventually(() => expect(at.agent('c').pid).not.toBeNull(), PATIENT);
    expect(at.revival('c')).toMatchObject({ status: 'pending', needs_person: false });
    expect(at.agent('c').reason).toContain('; revival c.lead.1 is under way (attempt 1)');
    expect(why(at, 'c/lead').next.map(({ what }) => what)).toContain(
      'the revival counts as failed unless it is verified by then (revive_timeout)',
    );
    writeFileSync(at.path('c', 'artifacts/probed'), '');
    await eventually(() => expect(at.cell('c').status).toBe('completed'), PATIENT);
    await eventually(() =>
      expect(at.ledger('c').map((line) => line['outcome'])).toEqual(['revived']),
    );
    expect(at.counts('c')).toEqual({ 't/a': 2 });
  }, 90_000);

  test('while a person is asked: the question stands, and its answer counts', async () => {
    const dies = `if [ ! -e artifacts/died ]; then touch artifacts/died; kill -9 $PPID; sleep 5; fi`;
    const plan = mission('c', [task('t', [step('a', dies)])], policies({ auto_revive: 'ask' }));
    const pending = stands('.lazarus/revivals/pending/c.lead.1.json');
    const at = await killedWhen(plan, pending);
    expect(at.revival('c')).toMatchObject({ status: 'pending_approval', revival_id: 'c.lead.1' });
    expect(pending(at.missions)).toBe(true);
    await at.tellLazarus('c', { type: 'revival.approve', by: 'me' });
    await eventually(() => expect(at.cell('c').status).toBe('completed'), PATIENT);
    await eventually(() =>
      expect(at.ledger('c').map((line) => line['outcome'])).toEqual(['asking', 'revived']),
    );
  }, 90_000);

  test('around a handover: the substitute has the task once, and does it', async () => {
    const dies = `if [ "$LAZARUS_AGENT" = lead ]; then touch artifacts/died; kill -9 $PPID; sleep 5; fi; ${gate('g')}`;
    const plan = mission('c', [task('t', [step('a', dies)], { assigned_to: 'lead' })], {
      ...policies({
        auto_revive: 'yes',
        max_retries: 0,
        handoff_approval: 'auto',
        substitute_agents: ['other'],
      }),
      agents: [agent('lead'), agent('other', { role: 'write' })],
    });
    const at = await killedWhen(plan, stands('c/artifacts/died'));
    await at.waitsAt('c', 'g');
    await finishes(at);
    expect(at.counts('c')).toEqual({ 't/a': expect.any(Number) });
    await at.fileSays('c', 'tasks/t.json', { assigned_to: 'other', status: 'completed' });
    expect(why(at, 't').facts).not.toContainEqual({
      name: 'chosen because',
      value: 'its file names the agent (assigned_to)',
    });
  }, 90_000);
});

describe('a request file', () => {
  async function asked(at: TestNode): Promise<{ pending: string; approved: string }> {
    await atGate(at, policies({ auto_revive: 'ask' }));
    await at.killWorker('c');
    const { revivals } = at.node.layout;
    const pending = join(revivals.pending, 'c.lead.1.json');
    await eventually(() => expect(existsSync(pending)).toBe(true), PATIENT);
    return { pending, approved: join(revivals.approved, 'c.lead.1.json') };
  }
  const errorOf = (path: string): Promise<{ error: string; hint: string }> =>
    eventually(
      () => JSON.parse(readFileSync(`${path}.error`, 'utf8')) as { error: string; hint: string },
    );

  test('whose status a person wrote over, and which was moved, is the answer all the same', async () => {
    const at = await startNode();
    const { pending, approved } = await asked(at);
    const request = JSON.parse(readFileSync(pending, 'utf8')) as JsonObject;
    expect(request).not.toHaveProperty('substitute');
    writeFileSync(pending, JSON.stringify({ ...request, status: 'approved' }));
    renameSync(pending, approved);
    await eventually(() => expect(at.revival('c').status).toBe('revived'), PATIENT);
    await finishes(at);
  }, 60_000);

  test.each([
    ['is no JSON', '{"x":1', 'JSON'],
    [
      'says one thing twice',
      '{"choice":"substitute","substitute":"a","substitute":null}',
      'substitute',
    ],
    ['has a choice that is none', '{"choice":"bananas"}', 'bananas'],
    ['is huge', `{"a":"${'x'.repeat(1 << 20)}"}`, 'bytes'],
  ])(
    'that %s gets an error file with the cause, and the question stays open',
    async (_what, text, cause) => {
      const at = await startNode();
      const { pending, approved } = await asked(at);
      writeFileSync(pending, text);
      renameSync(pending, approved);
      const { error, hint } = await errorOf(approved);
      expect(error).toContain(cause);
      expect(hint).not.toBe('');
      expect(at.revival('c').status).toBe('pending_approval');
      await runVerb(at.node, 'revivals.approve', { revival: 'c/lead' });
      await eventually(() => expect(existsSync(`${approved}.error`)).toBe(false));
      await finishes(at);
    },
    60_000,
  );

  test('that is a folder is no answer', async () => {
    const at = await startNode();
    const { approved } = await asked(at);
    mkdirSync(approved);
    expect((await errorOf(approved)).error).toContain('no file');
    expect(at.revival('c').status).toBe('pending_approval');
    rmSync(approved, { recursive: true });
  }, 60_000);

  test('that a person removed takes nothing away: the status asks on, and the answer counts', async () => {
    const at = await startNode();
    const { pending } = await asked(at);
    rmSync(pending);
    expect(at.node.status().pending_revivals).toBe(1);
    await runVerb(at.node, 'revivals.approve', { revival: 'c/lead' });
    await finishes(at);
  }, 60_000);
});

describe('while an agent is failed', () => {
  async function asks(at: TestNode, first: JsonObject = {}): Promise<void> {
    await atGate(at, policies({ auto_revive: 'ask' }), first);
    await at.killWorker('c');
    await eventually(() => expect(at.revival('c').status).toBe('pending_approval'), PATIENT);
  }

  test('its file is removed: the case is closed, and says so', async () => {
    const at = await startNode();
    await asks(at);
    rmSync(at.path('c', 'agents/lead.json'));
    await eventually(() => expect(at.revival('c').doing).toBe('the agent was removed'), PATIENT);
    expect(at.revival('c')).toMatchObject({ outcome: 'removed', needs_person: false, choices: [] });
    await eventually(() => expect(at.ledger('c').at(-1)).toMatchObject({ outcome: 'removed' }));
  }, 60_000);

  test('its mission is exported: nobody is asked here any more, and an answer is refused', async () => {
    const at = await startNode();
    await asks(at);
    const folder = mkdtempSync(join(tmpdir(), 'lazarus-away-'));
    onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
    await runVerb(at.node, 'cell.export', { cell: 'c', to: join(folder, 'c') });
    expect(at.node.status().pending_revivals).toBe(0);
    expect(at.revival('c')).toMatchObject({ needs_person: false, choices: [] });
    expect(at.revival('c').doing).toBe('its mission is not here any more');
    await expect(runVerb(at.node, 'revivals.approve', { revival: 'c/lead' })).rejects.toMatchObject(
      { code: 'CONFLICT' },
    );
  }, 60_000);

  test('its mission is paused: approved, it comes back, ends its step and takes no other', async () => {
    const at = await startNode();
    await asks(at);
    await at.tell('c', { type: 'cell.pause' });
    await runVerb(at.node, 'revivals.approve', { revival: 'c/lead' });
    await eventually(() => expect(at.revival('c').status).toBe('revived'), PATIENT);
    expect(why(at, 't').answer).toContain('stands still when step a has ended');
    at.open('c', 'g');
    await eventually(() => expect(at.task('c', 't').steps_done).toBe(1), PATIENT);
    expect(at.counts('c')).toEqual({ 't/a': 2 });
    expect(why(at, 't').answer).toContain('stands still: the mission is paused');
    await at.tell('c', { type: 'cell.resume' });
    await eventually(() => expect(at.cell('c').status).toBe('completed'), PATIENT);
  }, 60_000);

  test('there is no earlier checkpoint to go back to: that choice is not offered twice', async () => {
    const at = await startNode();
    await asks(at);
    await runVerb(at.node, 'revivals.approve', {
      revival: 'c/lead',
      choice: 'previous_checkpoint',
    });
    await eventually(
      () => expect(at.revival('c').doing).toContain('no earlier checkpoint'),
      PATIENT,
    );
    expect(at.revival('c').choices.map(({ choice }) => choice)).not.toContain(
      'previous_checkpoint',
    );
  }, 60_000);

  test('its revival is under way: that is said, and not that a person is waited for', async () => {
    const at = await startNode();
    const probe = 'while [ ! -e artifacts/probed ]; do sleep 0.02; done; exit 1';
    await asks(at, { retry: 'probe', probe: ['sh', '-c', probe] });
    await runVerb(at.node, 'revivals.approve', { revival: 'c/lead' });
    await eventually(
      () => expect(at.agent('c').reason).toContain('revival c.lead.1 is under way (attempt 1)'),
      PATIENT,
    );
    expect(at.agent('c').reason).not.toContain('waits for a person');
    await at.fileSays('c', 'agents/lead.json', { status_reason: at.agent('c').reason });
    const shown = await runVerb(at.node, 'agent.show', { agent: 'c/lead' });
    expect(shown).toMatchObject({
      reason: at.agent('c').reason,
      revival: { doing: 'revival c.lead.1 is under way (attempt 1)' },
    });
    expect(why(at, 'c/lead').answer).toContain('has begun to bring it back (attempt 1)');
    expect(why(at, 'c/lead').answer).not.toContain('waits for a person');
    expect(at.task('c', 't').blocked_reason).not.toContain('waits for a person');
    writeFileSync(at.path('c', 'artifacts/probed'), '');
    await finishes(at);
  }, 60_000);
});

describe('a substitute', () => {
  const handover = (other: JsonObject, more: JsonObject = {}): JsonObject => ({
    ...policies({
      auto_revive: 'yes',
      max_retries: 0,
      handoff_approval: 'auto',
      substitute_agents: ['other'],
    }),
    agents: [
      agent('lead', { capabilities: ['cook'] }),
      agent('other', { role: 'write', ...other }),
    ],
    ...more,
  });
  const plan = (first: JsonObject = {}): JsonObject =>
    task('t', [step('a', gate('g'), first)], {
      assigned_to: 'lead',
      requires: { capabilities: ['cook'] },
    });

  async function killed(at: TestNode, file: JsonObject): Promise<void> {
    at.drop(file);
    await at.waitsAt('c', 'g');
    await at.killWorker('c');
  }

  test.each([
    ['lacks a capability', {}, {}, 'agent other lacks cook'],
    [
      'is not permitted',
      { capabilities: ['cook'] },
      { config: { permissions: { lead: { execute: ['t'], handoff_to: [] } } } },
      'lead',
    ],
  ])(
    'that %s is not taken: a person is asked, with the reason',
    async (_what, other, more, reason) => {
      const at = await startNode();
      await killed(at, mission('c', [plan()], handover(other, more)));
      await eventually(() => expect(at.revival('c').status).toBe('pending_approval'), PATIENT);
      expect(at.revival('c').doing).toContain(reason);
      expect(why(at, 'c/lead').needs.map(({ command }) => command)).toContain(
        'lazarus revivals approve c.lead.1',
      );
    },
    60_000,
  );

  test('is not given a step that may have run and may not run twice', async () => {
    const at = await startNode();
    await killed(
      at,
      mission('c', [plan({ retry: 'never' })], handover({ capabilities: ['cook'] })),
    );
    await eventually(() => expect(at.revival('c').status).toBe('pending_approval'), PATIENT);
    expect(at.revival('c').doing).toContain('step a of task t may have run');
    expect(at.counts('c')).toEqual({ 't/a': 1 });
  }, 60_000);

  test('that is busy gets the task when it is free, and until then the task says whom it waits for', async () => {
    const at = await startNode();
    const other = task('u', [step('x', gate('h'))], { assigned_to: 'other' });
    await killed(at, mission('c', [plan(), other], handover({ capabilities: ['cook'] })));
    await eventually(() => expect(at.revival('c').outcome).toBe('substituted'), PATIENT);
    expect(why(at, 't').answer).toContain('waits for its agent other, which is at task u');
    at.open('c', 'h');
    await finishes(at);
    await at.fileSays('c', 'tasks/t.json', { assigned_to: 'other' });
    expect(why(at, 'c/lead').answer).toContain('other took over task t');
  }, 60_000);
});

test('given a task that runs into its timeout in a step that may not run twice, then it says that the step may have run', async () => {
  const at = await startNode();
  const plan = [task('t', [step('a', 'sleep 600', { retry: 'never' })], { timeout: 1 })];
  at.drop(mission('c', plan, policies({ auto_revive: 'yes' })));
  await eventually(() => expect(at.task('c', 't').status).toBe('failed'), PATIENT);
  expect(at.task('c', 't').blocked_reason).toBe(
    'the task ran longer than its timeout of 1 s; its step a was cut off by that and may have run',
  );
}, 60_000);

test('given many agents whose workers are killed in one moment, then all come back, and only few are started at a time', async () => {
  const count = Math.min(64, 8 * availableParallelism()); // four times as many as may start at a time
  const at = await startNode();
  const names = Array.from({ length: count }, (_, index) => `a${index}`);
  at.drop(
    mission(
      'c',
      names.map((name) => task(`t-${name}`, [step('a', gate('g'))], { assigned_to: name })),
      {
        ...policies({ auto_revive: 'yes' }),
        agents: names.map((name) => agent(name)),
        max_agents: count,
      },
    ),
  );
  const pids = await eventually(
    () => {
      const live = at.cell('c').agents.flatMap(({ pid }) => (pid === null ? [] : [pid]));
      expect(live).toHaveLength(count);
      return live;
    },
    { timeoutMs: 60_000 },
  );
  await eventually(() => expect(at.runs('c')).toHaveLength(count), PATIENT);
  for (const pid of pids) process.kill(pid, 'SIGKILL');
  let mostStarting = 0;
  await eventually(
    () => {
      const { starting = 0 } = at.node.status().node['workers'] as { starting?: number };
      mostStarting = Math.max(mostStarting, starting);
      const revived = at.node.status().revivals.filter(({ status }) => status === 'revived');
      expect(revived).toHaveLength(count);
    },
    { timeoutMs: 60_000 },
  );
  expect(mostStarting).toBeLessThanOrEqual(2 * availableParallelism() + STANDBY);
  at.open('c', 'g');
  await eventually(() => expect(at.cell('c').status).toBe('completed'), { timeoutMs: 60_000 });
  expect(at.cell('c').agents.map(({ revivals }) => revivals)).toEqual(names.map(() => 1));
}, 200_000);
