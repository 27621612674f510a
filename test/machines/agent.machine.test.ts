import { describe, expect, test } from 'vitest';
import { agentMachine } from '../../machines/agent.machine.ts';
import type { Assignment } from '../../machines/events.ts';
import { DEFAULT_POLICIES, DEFAULT_RESTART } from '../../machines/mission.ts';
import type { IsolationLevel, Policies } from '../../machines/mission.ts';
import { readAgent } from '../../machines/mission-defaults.ts';
import { MachineDriver } from '../support/machine-driver.ts';
import type { Reaction } from '../support/machine-driver.ts';
import { EXIT_0, EXIT_2, SAVED, SMOOTH } from '../support/machine-world.ts';

interface Setting {
  level?: IsolationLevel;
  policies?: Partial<Policies>;
}

function agentAt({ level = 'level_1', policies = {} }: Setting = {}): MachineDriver {
  const agent = new MachineDriver(agentMachine, { cellId: 'c', agentId: 'a', level });
  tell(agent, 'agent.configured', { ...configuration(policies), level });
  return agent;
}

const configuration = (policies: Partial<Policies>) => ({
  agent: readAgent({ agent_id: 'a', name: 'A', role: 'lead' }),
  policies: { ...DEFAULT_POLICIES, ...policies },
  restart: DEFAULT_RESTART,
});

const tell = (agent: MachineDriver, type: string, fields: object = {}): Reaction =>
  agent.deliver(Object.assign({ type }, fields));

function assignment(change: Partial<Assignment> = {}): Assignment {
  return {
    taskId: 't',
    title: 'T',
    description: '',
    attempt: 1,
    steps: ['one', 'two'].map((name) => ({ name, run: [name], retry: 'safe' })),
    timeout: 100,
    artifacts: ['out.txt'],
    stepsDone: 0,
    ...change,
  };
}

/** An agent whose first step runs. */
function stepping(setting: Setting = {}, change: Partial<Assignment> = {}): MachineDriver {
  const agent = agentAt(setting);
  tell(agent, 'task.assigned', { assignment: assignment(change) });
  if (setting.level !== 'none') tell(agent, 'worker.started', { pid: 41 });
  agent.done('beginContext', SAVED);
  return agent;
}

const types = ({ sent }: Reaction): string[] => sent.map(({ event }) => event.type);
const work = (agent: MachineDriver): unknown => agent.snapshot.value['alive']?.work;
const worker = (agent: MachineDriver): unknown => agent.snapshot.value['alive']?.worker;

describe('one task from assignment to end', () => {
  test('the context is written before the first step (A2), and the cell hears first', () => {
    const agent = agentAt();
    const reaction = tell(agent, 'task.assigned', { assignment: assignment() });
    expect(reaction.sent).toEqual([
      {
        to: 'cell/c',
        event: {
          type: 'task.progressed',
          agentId: 'a',
          taskId: 't',
          attempt: 1,
          stepsDone: 0,
          step: null,
        },
      },
    ]);
    expect(reaction.started.map(({ src }) => src).sort()).toEqual([
      'runWorker',
      'waitUntil',
      'writeContext',
    ]);
    expect(agent.running.has('step')).toBe(false);
  });

  test('steps run one after the other, then the end (A1, A3)', () => {
    const agent = stepping();
    expect(agent.running.get('step')?.input).toMatchObject({
      stepIndex: 0,
      attempt: 1,
      level: 'level_1',
    });
    expect(types(agent.done('step', EXIT_0))).toEqual(['task.progressed']);
    expect(agent.running.get('step')?.input).toMatchObject({ stepIndex: 1 });
    agent.done('step', EXIT_0);
    expect(agent.running.has('step')).toBe(false);
    agent.done('endContext', SAVED);
    const { sent } = agent.done('finish', { artifacts: ['out.txt'], missing: [] });
    expect(sent).toEqual([
      {
        to: 'cell/c',
        event: expect.objectContaining({
          type: 'task.finished',
          outcome: 'completed',
          result: { stepsDone: 2, exitCode: 0, artifacts: ['out.txt'] },
          error: null,
        }),
      },
    ]);
    expect(work(agent)).toBe('idle');
  });

  test('steps that an earlier attempt did are not run again', () => {
    const agent = stepping({}, { stepsDone: 1 });
    expect(agent.running.get('step')?.input).toMatchObject({ stepIndex: 1, step: { name: 'two' } });
  });

  test.each([
    [{ ...EXIT_2 }, 'step one exited with code 2'],
    [{ ...EXIT_0, exitCode: null, signal: 'SIGSEGV' }, 'step one was ended by SIGSEGV'],
    [
      { ...EXIT_0, exitCode: null, signal: 'SIGKILL', timedOut: true },
      'step one ran longer than its timeout',
    ],
  ])('given a step that ends with %j, the attempt fails and says so', (output, message) => {
    const { sent } = stepping().done('step', output);
    expect(sent[0]?.event).toMatchObject({
      type: 'task.finished',
      outcome: 'failed',
      retryable: true,
      error: { code: 'STEP_FAILED', message },
    });
  });

  test('given one step that is not safe, a failure is not retryable', () => {
    const steps = [{ name: 'one', run: ['x'], retry: 'never' as const }];
    const { sent } = stepping({}, { steps }).done('step', EXIT_2);
    expect(sent[0]?.event).toMatchObject({ retryable: false });
  });

  test('missing artifacts fail the attempt and are named', () => {
    const agent = stepping({}, { stepsDone: 2 });
    agent.done('endContext', SAVED);
    const { sent } = agent.done('finish', { artifacts: [], missing: ['out.txt'] });
    expect(sent[0]?.event).toMatchObject({
      outcome: 'failed',
      error: { message: 'declared artifacts are missing: out.txt' },
    });
  });

  test('a second task while one is in hand goes back to the cell', () => {
    const { sent } = tell(stepping(), 'task.assigned', { assignment: assignment({ taskId: 'u' }) });
    expect(sent[0]?.event).toMatchObject({
      type: 'task.finished',
      taskId: 'u',
      outcome: 'cancelled',
    });
  });

  test('a withdrawn task ends its step and says nothing; another task’s withdrawal does nothing', () => {
    const agent = stepping();
    tell(agent, 'task.withdrawn', { taskId: 'other', reason: 'x' });
    expect(agent.running.has('step')).toBe(true);
    const reaction = tell(agent, 'task.withdrawn', { taskId: 't', reason: 'x' });
    expect(reaction.sent).toEqual([]);
    expect(agent.running.has('step')).toBe(false);
  });

  test.each([
    ['beginContext', true, { working: 'faulted' }],
    ['endContext', true, { working: 'faulted' }],
    ['beginContext', false, { working: { stepping: 'waiting' } }],
    ['endContext', false, { working: 'finishing' }],
  ])('%s that cannot be written, with checkpoint_required %s: %j', (write, required, state) => {
    const agent = agentAt({ policies: { checkpoint_required: required } });
    const isEnd = write === 'endContext';
    tell(agent, 'task.assigned', { assignment: assignment({ stepsDone: isEnd ? 2 : 0 }) });
    tell(agent, 'worker.started', { pid: 41 });
    if (isEnd) agent.done('beginContext', SAVED);
    const { sent } = agent.fails(write, 'read-only file system', 'EROFS');
    expect(work(agent)).toEqual(state);
    const failure = sent.find(({ event }) => event.type === 'agent.failed')?.event['failure'];
    if (required)
      expect(failure).toMatchObject({
        reason: 'effect_error',
        signature: isEnd ? 'effect_error:EROFS@t/end' : 'effect_error:EROFS@t/one',
      });
    else expect(failure).toBeUndefined();
  });

  test('revived after that, it writes again, and counts as whole only when that is written (A10)', () => {
    const agent = agentAt();
    tell(agent, 'task.assigned', { assignment: assignment() });
    tell(agent, 'worker.started', { pid: 41 });
    agent.fails('beginContext', 'read-only file system');
    tell(agent, 'agent.revive', { revivalId: 'r' });
    expect(agent.running.has('verify')).toBe(false);
    agent.done('beginContext', SAVED);
    expect(agent.running.get('verify')?.input).toMatchObject({ contextHash: SAVED.context_hash });
    const { sent } = agent.done('verify', SMOOTH.verify);
    expect(sent.map(({ event }) => event.type)).toEqual(['agent.revived', 'agent.reported']);
  });

  test('the context is written again at every checkpoint_interval while a step runs (A2)', () => {
    const agent = stepping({ policies: { checkpoint_interval: 10 } });
    const due = agent.running.get('interval')?.input['up'];
    expect(due).toBe(agent.clock.up + 10_000);
    agent.pass(10_000).done('interval');
    agent.pass(5).done('periodicContext', SAVED);
    expect(agent.running.get('interval')?.input['up']).toBe(agent.clock.up + 10_000);
    expect(agent.running.has('step')).toBe(true);
  });
});

describe('pause', () => {
  test('the step under way finishes, then it waits; resuming goes on with the next step', () => {
    const agent = stepping();
    expect(tell(agent, 'agent.pause').sent[0]?.event).toMatchObject({ status: 'paused' });
    expect(agent.running.has('step')).toBe(true);
    const { sent } = agent.done('step', EXIT_0);
    expect(sent.at(-1)?.event).toMatchObject({ type: 'task.progressed', stepsDone: 1, step: null });
    agent.done('pauseContext', SAVED);
    expect(work(agent)).toEqual({ working: { resting: 'suspended' } });
    expect(tell(agent, 'agent.resume').sent[0]?.event).toMatchObject({ status: 'active' });
    expect(agent.running.get('step')?.input).toMatchObject({ stepIndex: 1 });
  });

  test('an idle agent pauses at once, and is idle again after', () => {
    const agent = agentAt();
    expect(tell(agent, 'agent.pause').sent[0]?.event).toMatchObject({ status: 'paused' });
    expect(tell(agent, 'agent.pause').sent).toEqual([]);
    expect(tell(agent, 'agent.resume').sent[0]?.event).toMatchObject({ status: 'idle' });
  });

  test('the task’s clock stands still while it rests and while the worker is lost (A6)', () => {
    const agent = stepping();
    const due = (): unknown => agent.running.get('deadline')?.input['up'];
    const start = agent.clock.up;
    expect(due()).toBe(start + 100_000);
    tell(agent.pass(10_000), 'agent.pause');
    agent.done('step', EXIT_0);
    expect(due()).toBeUndefined();
    tell(agent.pass(500_000), 'agent.resume');
    expect(due()).toBe(agent.clock.up + 90_000);
    agent.pass(20_000).done('worker', { code: 1, signal: null });
    expect(due()).toBeUndefined();
    tell(agent.pass(500_000), 'agent.revive', { revivalId: 'r' });
    tell(agent, 'worker.started', { pid: 42 });
    expect(due()).toBeUndefined();
    agent.done('verify', SMOOTH.verify);
    expect(due()).toBe(agent.clock.up + 70_000);
  });

  test('when the task’s time is up the step is ended and the attempt fails', () => {
    const agent = stepping();
    const { sent } = agent.pass(100_000).done('deadline');
    expect(agent.running.has('step')).toBe(false);
    expect(sent[0]?.event).toMatchObject({
      outcome: 'failed',
      error: { message: 'the task ran longer than its timeout of 100 s' },
    });
    expect(agent.running.has('deadline')).toBe(false);
  });
});

describe('the worker', () => {
  test('starts with the first task, is kept for a while after the last, then stopped', () => {
    const agent = agentAt();
    expect(worker(agent)).toBe('off');
    tell(agent, 'task.assigned', { assignment: assignment() });
    tell(agent, 'worker.started', { pid: 41 });
    tell(agent, 'task.withdrawn', { taskId: 't', reason: 'x' });
    expect(agent.running.get('spareTime')?.input['up']).toBe(agent.clock.up + 30_000);
    const { ended } = agent.pass(30_000).done('spareTime');
    expect(ended).toContain('worker');
    expect(worker(agent)).toBe('off');
    expect(agent.sent.some(({ event }) => event.type === 'agent.failed')).toBe(false);
  });

  test('a task within that while keeps it', () => {
    const agent = stepping();
    tell(agent, 'task.withdrawn', { taskId: 't', reason: 'x' });
    tell(agent, 'task.assigned', { assignment: assignment({ taskId: 'u' }) });
    expect(agent.running.has('spareTime')).toBe(false);
    expect(agent.running.has('worker')).toBe(true);
  });

  test('level none has none', () => {
    const agent = stepping({ level: 'none' });
    expect(agent.running.has('worker')).toBe(false);
    expect(agent.running.has('step')).toBe(true);
  });

  test.each([
    ['is killed', { code: null, signal: 'SIGKILL' }, 'worker_exit:SIGKILL@t/one'],
    ['exits', { code: 1, signal: null }, 'worker_exit:1@t/one'],
  ])(
    'when it %s the cell and Lazarus hear of it, and the step waits (A4, A5)',
    (_, output, signature) => {
      const agent = stepping();
      const reaction = agent.done('worker', output);
      expect(types(reaction)).toEqual(['agent.reported', 'agent.failed']);
      expect(reaction.sent[0]?.event).toMatchObject({ status: 'failed', currentTask: 't' });
      expect(reaction.sent[1]).toMatchObject({
        to: 'system/lazarus/c/a',
        event: {
          failure: { reason: 'worker_exit', signature, taskId: 't', step: 'one', progress: 0 },
        },
      });
      expect(reaction.spawned[0]).toMatchObject({
        address: 'system/lazarus/c/a',
        machine: 'lazarus',
      });
      expect(agent.running.has('step')).toBe(true);
    },
  );

  test('when it never starts, the failure says worker_start', () => {
    const agent = agentAt();
    tell(agent, 'task.assigned', { assignment: assignment() });
    const { sent } = agent.fails('worker', 'spawn failed', 'EAGAIN');
    expect(sent[1]?.event['failure']).toMatchObject({ signature: 'worker_start:EAGAIN@t/one' });
  });

  test('revived: the new worker answers, that is verified, Lazarus and the cell hear, finished steps are told from then on (A10)', () => {
    const agent = stepping({ policies: { progress_timeout: 9 } });
    agent.done('worker', { code: 1, signal: null });
    tell(agent, 'agent.revive', { revivalId: 'c.a.1' });
    expect(agent.running.get('worker')?.input).toEqual({
      cellId: 'c',
      agentId: 'a',
      revivalId: 'c.a.1',
      progressTimeout: 9,
    });
    expect(tell(agent, 'worker.started', { pid: 42 }).sent).toEqual([]);
    expect(agent.running.get('verify')?.input).toEqual({
      cellId: 'c',
      agentId: 'a',
      revivalId: 'c.a.1',
      pid: 42,
      contextHash: SAVED.context_hash,
      context: { cellId: 'c', agentId: 'a', taskId: 't', attempt: 1, stepsDone: 0, step: 'one' },
    });
    const repaired = ['checkpoints/a/context.json'];
    const { sent } = agent.done('verify', { repaired, contextHash: 'new' });
    expect(sent.map(({ event }) => event)).toEqual([
      { type: 'agent.revived', revivalId: 'c.a.1', pid: 42, repaired },
      { type: 'agent.reported', agentId: 'a', status: 'active', reason: null, currentTask: 't' },
    ]);
    expect(agent.snapshot.context).toMatchObject({ contextHash: 'new', lost: null, revivals: 1 });
    expect(types(agent.done('step', EXIT_0))).toContain('agent.progressed');
  });

  test('not whole: its worker is ended, and when that is gone it has failed as unverified, once (A5, A10)', () => {
    const agent = stepping();
    agent.done('worker', { code: 1, signal: null });
    tell(agent, 'agent.revive', { revivalId: 'c.a.1' });
    tell(agent, 'worker.started', { pid: 42 });
    expect(agent.fails('verify', 'the context cannot be mended', 'EIO').sent).toEqual([]);
    expect(agent.running.has('endWorker')).toBe(true);
    agent.done('endWorker');
    const { sent } = agent.done('worker', { code: null, signal: 'SIGKILL' });
    expect(sent.map(({ event }) => event.type)).toEqual(['agent.reported', 'agent.failed']);
    expect(sent[1]?.event['failure']).toMatchObject({
      reason: 'unverified',
      signature: 'unverified:EIO@t/one',
      message: 'the context cannot be mended during task t, step one',
    });
  });

  test.each(['silence', 'a context that cannot be written'])(
    'while its worker is being ended, %s is not told: it has failed when that is gone, once (A5)',
    (what) => {
      const agent = stepping({}, { stepsDone: 2 });
      agent.done('worker', { code: 1, signal: null });
      tell(agent, 'agent.revive', { revivalId: 'c.a.1' });
      tell(agent, 'worker.started', { pid: 42 });
      agent.fails('verify', 'damaged');
      if (what === 'silence')
        expect(tell(agent, 'agent.silent', { message: 'no sign of life' }).sent).toEqual([]);
      else expect(agent.fails('endContext', 'read-only file system').sent).toEqual([]);
      const { sent } = agent.done('worker', { code: null, signal: 'SIGKILL' });
      expect(sent[1]?.event['failure']).toMatchObject({ reason: 'unverified' });
      tell(agent, 'agent.revive', { revivalId: 'c.a.1' });
      expect(agent.running.has('endContext')).toBe(true);
    },
  );

  test('given a level that changed meanwhile, one that is not whole is ended all the same', () => {
    const agent = stepping();
    agent.done('worker', { code: 1, signal: null });
    tell(agent, 'agent.revive', { revivalId: 'c.a.1' });
    tell(agent, 'agent.configured', { ...configuration({}), level: 'none' });
    agent.fails('verify', 'damaged');
    agent.done('endWorker');
    const { sent } = agent.done('worker', { code: null, signal: 'SIGKILL' });
    expect(sent[1]?.event['failure']).toMatchObject({ reason: 'unverified' });
    tell(agent, 'agent.revive', { revivalId: 'c.a.1' });
    expect(agent.running.has('verify')).toBe(true);
  });

  test('a worker that cannot be ended is no fault of the machine: it stays condemned until it is gone', () => {
    const agent = stepping();
    agent.done('worker', { code: 1, signal: null });
    tell(agent, 'agent.revive', { revivalId: 'c.a.1' });
    tell(agent, 'worker.started', { pid: 42 });
    agent.fails('verify', 'damaged');
    agent.fails('endWorker', 'not permitted', 'EPERM');
    expect(worker(agent)).toEqual({ running: 'dying' });
    agent.restore();
    expect(types(agent.done('worker', { code: 0, signal: null }))).toContain('agent.failed');
  });

  test('at level none there is no worker to end: what is not whole is lost at once', () => {
    const agent = agentAt({ level: 'none' });
    tell(agent, 'task.assigned', { assignment: assignment() });
    agent.fails('beginContext', 'read-only file system');
    tell(agent, 'agent.revive', { revivalId: 'c.a.1' });
    agent.done('beginContext', SAVED);
    expect(agent.running.get('verify')?.input).toMatchObject({ pid: null });
    const { sent } = agent.fails('verify', 'the context cannot be mended');
    expect(sent[1]?.event['failure']).toMatchObject({ reason: 'unverified' });
    expect(agent.running.has('verify')).toBe(false);
  });

  test('a silent agent that is to be revived counts as revived when it is heard, not before', () => {
    const agent = stepping({ level: 'none' });
    tell(agent, 'agent.silent', { message: 'no sign of life for 300 s' });
    tell(agent, 'agent.revive', { revivalId: 'c.a.1' });
    expect(agent.running.has('verify')).toBe(false);
    const { sent } = tell(agent, 'agent.heard');
    expect(sent[0]?.event).toMatchObject({ type: 'agent.revived', revivalId: 'c.a.1' });
  });

  test.each([
    [
      'hung',
      { cause: 'hung', detail: 'no heartbeat for 3.1 s' },
      'worker_hung',
      'worker_hung:hung@t/one',
      'the worker was hung (no heartbeat for 3.1 s)',
    ],
    [
      'stuck',
      { cause: 'stuck', detail: 'no output for 60 s' },
      'no_progress',
      'no_progress:stuck@t/one',
      'the worker was stuck (no output for 60 s)',
    ],
  ])(
    'a worker that was %s and killed for it says so, without figures in its signature',
    (_, why, reason, signature, text) => {
      const { sent } = stepping().done('worker', { code: null, signal: 'SIGKILL', ...why });
      const message = `${text} during task t, step one`;
      expect(sent[1]?.event['failure']).toMatchObject({ reason, signature, message });
    },
  );

  test('a silent agent that is heard again has recovered by itself, and nobody revived it', () => {
    const agent = agentAt();
    expect(types(tell(agent, 'agent.silent', { message: 'no sign of life' }))).toEqual([
      'agent.reported',
      'agent.failed',
    ]);
    const { sent } = tell(agent, 'agent.heard');
    expect(sent.map(({ event }) => event.type)).toEqual(['agent.recovered', 'agent.reported']);
    expect(sent[1]?.event).toMatchObject({ status: 'idle', reason: null });
    expect(tell(agent, 'agent.heard').sent).toEqual([]);
  });

  test('silent on top of a context that cannot be written: when it is heard it tries that again', () => {
    const agent = agentAt();
    tell(agent, 'task.assigned', { assignment: assignment() });
    tell(agent, 'worker.started', { pid: 41 });
    agent.fails('beginContext', 'read-only file system');
    tell(agent, 'agent.silent', { message: 'no sign of life' });
    tell(agent, 'agent.heard');
    expect(work(agent)).toEqual({ working: 'beginning' });
  });

  test('failed and without a task it has no worker either, and comes back with a new one (A11)', () => {
    const agent = agentAt();
    tell(agent, 'task.assigned', { assignment: assignment() });
    tell(agent, 'worker.started', { pid: 41 });
    agent.fails('beginContext', 'read-only file system');
    expect(agent.running.has('worker')).toBe(true);
    tell(agent, 'task.withdrawn', { taskId: 't', reason: 'it was handed over to b' });
    expect(agent.running.has('worker')).toBe(false);
    tell(agent, 'agent.revive', { revivalId: 'c.a.1' });
    tell(agent, 'worker.started', { pid: 42 });
    expect(types(agent.done('verify', SMOOTH.verify))).toContain('agent.revived');
  });

  test('the spare time of a worker begins when its agent is verified', () => {
    const agent = stepping();
    agent.done('worker', { code: 1, signal: null });
    tell(agent, 'task.withdrawn', { taskId: 't', reason: 'x' });
    tell(agent, 'agent.revive', { revivalId: 'c.a.1' });
    tell(agent, 'worker.started', { pid: 42 });
    expect(agent.running.has('spareTime')).toBe(false);
    agent.done('verify', SMOOTH.verify);
    expect(agent.running.get('spareTime')?.input['up']).toBe(agent.clock.up + 30_000);
  });

  test.each(['starting', 'verifying'])(
    'recalled while %s: its worker is ended, and it has failed as it had before',
    (when) => {
      const agent = stepping();
      const [, first] = agent.done('worker', { code: 1, signal: null }).sent;
      const failure = first?.event['failure'];
      tell(agent, 'agent.revive', { revivalId: 'c.a.1' });
      if (when === 'verifying') tell(agent, 'worker.started', { pid: 42 });
      tell(agent, 'agent.recall', { revivalId: 'c.a.1', failure });
      expect(agent.running.has('verify')).toBe(false);
      tell(agent, 'agent.recall', { revivalId: 'c.a.1', failure });
      agent.done('endWorker');
      const { sent } = agent.done('worker', { code: null, signal: 'SIGKILL' });
      expect(sent.map(({ event }) => event.type)).toEqual(['agent.reported', 'agent.failed']);
      expect(sent[1]?.event['failure']).toEqual(failure);
    },
  );

  test('a worker that answers only after it was to be ended is ended as well (A13)', () => {
    const agent = stepping();
    const [, first] = agent.done('worker', { code: 1, signal: null }).sent;
    const failure = first?.event['failure'];
    tell(agent, 'agent.revive', { revivalId: 'c.a.1', attempt: 1 });
    tell(agent, 'agent.recall', { revivalId: 'c.a.1', failure });
    const early = tell(agent, 'worker.started', { pid: 42 });
    expect([early.ended, early.started.map(({ id }) => id)]).toEqual([
      ['endWorker'],
      ['endWorker'],
    ]);
    agent.done('endWorker');
    expect(tell(agent, 'worker.started', { pid: 42 }).started).toMatchObject([{ id: 'endWorker' }]);
    agent.done('endWorker');
    agent.done('worker', { code: null, signal: 'SIGKILL' });
    expect(worker(agent)).toBe('lost');
  });

  test('while it is brought back it says so, and how often that was tried (A12)', () => {
    const agent = stepping();
    agent.done('worker', { code: 1, signal: null });
    tell(agent, 'agent.abandoned', { reason: 'waits for a person' });
    const reasons = (reaction: Reaction): unknown[] =>
      reaction.sent.map(({ event }) => event['reason']);
    const failure = 'the worker exited with code 1 during task t, step one';
    const revive = { revivalId: 'c.a.1', attempt: 2 };
    expect(reasons(tell(agent, 'agent.revive', revive))).toEqual([
      `${failure}; revival c.a.1 is under way (attempt 2)`,
    ]);
    const again = agent.done('worker', { code: 1, signal: null });
    expect(again.sent[0]?.event['reason']).toBe(failure);
    tell(agent, 'agent.revive', { ...revive, attempt: 3 });
    tell(agent, 'worker.started', { pid: 43 });
    expect(agent.done('verify', SMOOTH.verify).sent.at(-1)?.event).toMatchObject({
      type: 'agent.reported',
      reason: null,
    });
  });

  test('what a person is asked meanwhile is not talked over by the revival that goes on', () => {
    const agent = stepping();
    agent.done('worker', { code: 1, signal: null });
    tell(agent, 'agent.revive', { revivalId: 'c.a.1', attempt: 1 });
    tell(agent, 'agent.abandoned', { reason: 'waits for a person' });
    tell(agent, 'worker.queued');
    tell(agent, 'worker.starting');
    expect(agent.snapshot.context.lost.reason).toBe('waits for a person');
  });

  describe('its worker waits its turn to start', () => {
    const reviving = (): MachineDriver => {
      const agent = stepping();
      agent.done('worker', { code: 1, signal: null });
      tell(agent, 'agent.revive', { revivalId: 'c.a.1', attempt: 1 });
      return agent;
    };
    const toLazarus = (reaction: Reaction): unknown[] =>
      reaction.sent.filter(({ to }) => to.startsWith('system/')).map(({ event }) => event);
    const queued = { type: 'agent.queued', revivalId: 'c.a.1' };
    const starting = { type: 'agent.starting', revivalId: 'c.a.1' };

    test('Lazarus and the cell hear of it, once, and when it is its turn (A12)', () => {
      const agent = reviving();
      const first = tell(agent, 'worker.queued');
      expect(toLazarus(first)).toEqual([queued]);
      expect(first.sent.at(-1)?.event['reason']).toContain(
        'revival c.a.1 waits for its turn to start a worker (attempt 1)',
      );
      expect(tell(agent, 'worker.queued').sent).toEqual([]); // the effect runs again after a restart
      const turn = tell(agent, 'worker.starting');
      expect(toLazarus(turn)).toEqual([starting]);
      expect(turn.sent.at(-1)?.event['reason']).toContain('is under way');
      expect(toLazarus(tell(agent, 'worker.started', { pid: 42 }))).toEqual([]);
    });

    test('given a restart after which nobody waits, then its answer says that it was its turn', () => {
      const agent = reviving();
      tell(agent, 'worker.queued');
      expect(toLazarus(tell(agent, 'worker.started', { pid: 42 }))).toEqual([starting]);
      expect(agent.snapshot.context.queued).toBe(false);
    });

    test('given Lazarus that asks anew, then it hears that the worker still waits', () => {
      const agent = reviving();
      tell(agent, 'worker.queued');
      const again = tell(agent, 'agent.revive', { revivalId: 'c.a.1', attempt: 2 });
      expect(toLazarus(again)).toEqual([queued]);
    });

    test('given a start that fails, then it waits no more', () => {
      const agent = reviving();
      tell(agent, 'worker.queued');
      expect(types(agent.fails('worker', 'no process'))).toEqual([
        'agent.reported',
        'agent.failed',
      ]);
      expect(agent.snapshot.context.queued).toBe(false);
    });

    test('a task that waits for its first worker does not use up its time (A6)', () => {
      const agent = agentAt();
      tell(agent, 'task.assigned', { assignment: assignment() });
      expect(toLazarus(tell(agent, 'worker.queued'))).toEqual([]);
      expect(agent.running.has('deadline')).toBe(false);
      tell(agent.pass(500_000), 'worker.starting');
      expect(agent.running.get('deadline')?.input['up']).toBe(agent.clock.up + 100_000);
    });
  });

  test('recalled from a revival that is over, it goes on', () => {
    const agent = stepping();
    const [, first] = agent.done('worker', { code: 1, signal: null }).sent;
    tell(agent, 'agent.revive', { revivalId: 'c.a.1' });
    tell(agent, 'worker.started', { pid: 42 });
    agent.done('verify', SMOOTH.verify);
    const recall = { revivalId: 'c.a.1', failure: first?.event['failure'] };
    expect(tell(agent, 'agent.recall', recall).sent).toEqual([]);
    expect(worker(agent)).toEqual({ running: { ready: 'inUse' } });
  });

  test('lost again while it is being revived: that is a failure of its own', () => {
    const agent = stepping();
    agent.done('worker', { code: 1, signal: null });
    tell(agent, 'agent.revive', { revivalId: 'c.a.1' });
    const { sent } = agent.done('worker', { code: 1, signal: null });
    expect(sent.map(({ event }) => event.type)).toEqual(['agent.reported', 'agent.failed']);
    expect(worker(agent)).toBe('lost');
  });

  test('given up: the cell hears why it stands still', () => {
    const agent = stepping();
    agent.done('worker', { code: 1, signal: null });
    const { sent } = tell(agent, 'agent.abandoned', { reason: 'auto_revive is no' });
    expect(sent[0]?.event).toMatchObject({ status: 'failed', reason: 'auto_revive is no' });
  });

  test('an effect that ran again after a restart just names the new pid', () => {
    const agent = stepping();
    expect(tell(agent, 'worker.started', { pid: 99 }).sent).toEqual([]);
    expect(agent.snapshot.context.pid).toBe(99);
  });

  test('removed: everything ends, Lazarus hears if it ever knew of it', () => {
    const agent = stepping();
    agent.done('worker', { code: 1, signal: null });
    expect(types(tell(agent, 'agent.removed'))).toEqual(['agent.removed']);
    expect(agent.running.size).toBe(0);
    expect(tell(agent, 'task.assigned', { assignment: assignment() }).started).toEqual([]);
  });
});
