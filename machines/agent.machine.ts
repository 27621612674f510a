/**
 * Life of one agent of a cell: four regions at the same time. `worker` is the process in which its steps run (none at
 * level `none`), `revival` the proof that it is whole again, `work` the task in hand, `clock` the task's active time.
 *
 * A1 At most one step runs: it is the invoke of `stepping`, and leaving that state ends it.
 * A2 The context is written before the first step of an attempt, at pauses, at its end and every `checkpoint_interval`.
 * A3 An attempt ends with exactly one `task.finished`, unless the cell withdrew it.
 * A4 A lost worker leaves the step where it is: its effect waits for the next worker, or stays in doubt.
 * A5 A failure is told to Lazarus once for each loss, in the same commit as the loss itself.
 * A6 The task's timeout counts neither pauses nor the time without a worker, or in which one waits its turn to start, nor that
 *    in which its step is in doubt: a doubt is settled by a person, not by a clock.
 * A7 The cell hears of a status only when it cannot know it: it takes `active` and `idle` from what it assigns and gets.
 * A8 At another node its clocks go on from what they had used, and that node's Lazarus hears of a loss that is not mended.
 * A9 What the cell knows to be done is not done again, whatever the agent remembers.
 * A10 It counts as revived only when that is verified: worker answered and alive, context as it was written, the step that
 *    was cut off settled.
 * A11 One that failed and has no task has no worker either: whoever took the task over is alone with it.
 * A12 While it is brought back, it says so, and Lazarus hears how long its worker had to wait its turn.
 * A13 A worker that is to be ended is ended, also one that answers only after that was asked for.
 */
import { and } from 'xstate';
import { agent, agentActions, SPARE_MS } from './agent-actions.ts';
import { freshAgentContext, taskDeadline } from './agent-context.ts';
import { contextInput, stepInput, verifyInput, workerInput } from './agent-effects.ts';
import { stampOf } from './time.ts';

export const agentMachine = agent.extend({ actions: agentActions }).createMachine({
  id: 'agent@1',
  context: ({ input }) => freshAgentContext(input),
  initial: 'alive',
  states: {
    alive: {
      type: 'parallel',
      on: {
        'agent.configured': { actions: 'configure' },
        'agent.pause': { actions: ['pause', 'report'] },
        'agent.resume': { actions: ['resume', 'report'] },
        'agent.abandoned': { actions: ['abandon', 'report'] },
        'agent.removed': { target: 'removed', actions: 'remove' },
      },
      states: {
        worker: {
          initial: 'off',
          states: {
            off: {
              entry: 'workerStopped',
              always: { guard: 'needsWorker', target: 'running' },
              on: {
                'agent.silent': { actions: 'lose' },
                'agent.recall': { guard: 'isRecalled', actions: 'lose' },
                'agent.revive': [
                  { guard: 'hasNoWorkers', actions: ['startReviving', 'report'] },
                  { target: 'running', actions: ['startReviving', 'report'] },
                ],
                'xstate.error.actor.verify': { actions: 'lose' },
              },
            },
            running: {
              on: {
                'agent.silent': { actions: 'lose' },
                'agent.recall': {
                  guard: 'isRecalled',
                  target: '.condemned',
                  actions: ['recall', 'report'],
                },
                'xstate.error.actor.verify': { target: '.condemned', actions: 'condemn' },
              },
              always: { guard: 'isOut', target: 'off' },
              invoke: {
                id: 'worker',
                src: 'runWorker',
                input: workerInput,
                onDone: { target: 'lost', actions: 'lose' },
                onError: { target: 'lost', actions: 'lose' },
              },
              initial: 'starting',
              states: {
                starting: {
                  on: {
                    'worker.queued': { actions: ['workerQueued', 'report'] },
                    'worker.starting': { actions: ['workerStarting', 'report'] },
                    'worker.started': {
                      target: 'ready',
                      actions: ['workerStarting', 'report', 'workerStarted'],
                    },
                    'agent.revive': { actions: ['startReviving', 'report'] },
                  },
                },
                condemned: {
                  on: { 'worker.started': { target: 'condemned', reenter: true } }, // A13
                  invoke: {
                    id: 'endWorker',
                    src: 'endWorker',
                    input: ({ context: { cellId, agentId } }) => ({ cellId, agentId }),
                    onDone: 'dying',
                    onError: 'dying', // it cannot be ended: whoever waits for the revival hears so from its deadline
                  },
                },
                dying: { on: { 'worker.started': 'condemned' } }, // A13
                ready: {
                  on: {
                    'worker.started': { actions: 'workerStarted' },
                    'agent.revive': { actions: ['startReviving', 'report'] },
                  },
                  initial: 'inUse',
                  states: {
                    inUse: { always: { guard: 'needsNoWorker', target: 'spare' } },
                    spare: {
                      always: { guard: 'keepsWorker', target: 'inUse' },
                      on: { 'node.changed': { target: 'spare', reenter: true } },
                      invoke: {
                        id: 'spareTime',
                        src: 'waitUntil',
                        input: ({ event }) => ({ up: stampOf(event).up + SPARE_MS }),
                        onDone: '#agent@1.alive.worker.off',
                      },
                    },
                  },
                },
              },
            },
            lost: {
              on: {
                'node.changed': { actions: 'callAgain' } as const, // A8
                'agent.revive': [
                  {
                    guard: 'hasNoWorkers',
                    target: 'off',
                    actions: ['startReviving', 'report'], // one that was put back may not have failed before
                  },
                  { target: 'running', actions: ['startReviving', 'report'] },
                ],
              },
            },
          },
        },
        revival: {
          initial: 'none',
          on: {
            'agent.heard': { guard: 'isSilent', target: '.none', actions: ['recovered', 'report'] },
          },
          states: {
            none: { always: { guard: 'canVerify', target: 'verifying' } },
            verifying: {
              always: { guard: 'nothingToVerify', target: 'none' }, // lost again meanwhile
              invoke: {
                id: 'verify',
                src: 'verifyRevival',
                input: verifyInput,
                onDone: { target: 'none', actions: ['revived', 'report'] },
                onError: 'failing',
              },
            },
            failing: { always: { guard: 'nothingToVerify', target: 'none' } },
          },
        },
        work: {
          initial: 'idle',
          on: { 'node.changed': { actions: 'keepAge' } as const },
          states: {
            idle: {
              on: {
                'task.assigned': {
                  target: 'working',
                  actions: ['take', 'report', 'announceTask'],
                },
                'agent.synced': {
                  guard: 'hasTask',
                  target: 'working',
                  actions: ['take', 'report', 'announceTask'],
                },
              },
            },
            working: {
              initial: 'choosing',
              on: {
                'task.withdrawn': {
                  guard: 'isThisTask',
                  target: 'idle',
                  actions: ['drop', 'report'],
                },
                'task.assigned': { actions: 'giveBack' },
                'step.doubted': { actions: 'noteDoubt' },
                'agent.synced': [
                  {
                    guard: and(['isSameAttempt', 'isBehind']),
                    target: '.choosing',
                    actions: 'catchUp',
                  },
                  { guard: 'isSameAttempt' },
                  {
                    guard: 'hasTask',
                    target: 'working',
                    reenter: true,
                    actions: ['take', 'report', 'announceTask'],
                  },
                  { target: 'idle', actions: ['drop', 'report'] },
                ],
                'xstate.done.actor.deadline': { target: 'idle', actions: ['end', 'report'] },
              },
              states: {
                choosing: {
                  always: [
                    { guard: 'isPaused', target: 'resting' },
                    { guard: 'notBegun', target: 'beginning' },
                    { guard: 'stepsLeft', target: 'stepping' },
                    { target: 'saving' },
                  ],
                },
                beginning: {
                  invoke: {
                    id: 'beginContext',
                    src: 'writeContext',
                    input: contextInput,
                    onDone: { target: 'choosing', actions: ['saved', 'begin'] },
                    onError: [
                      {
                        guard: 'checkpointOptional',
                        target: 'choosing',
                        actions: ['notSaved', 'begin'],
                      },
                      { target: 'faulted', actions: 'lose' },
                    ],
                  },
                },
                /** What it knows cannot be written: Lazarus lets it try again, or asks a person. */
                faulted: {
                  on: {
                    'agent.revive': 'choosing',
                    'agent.heard': { guard: 'isSilent', target: 'choosing' },
                  },
                },
                stepping: {
                  entry: 'announceStep',
                  invoke: {
                    id: 'step',
                    src: 'runStep',
                    input: stepInput,
                    onDone: [
                      { guard: 'stepDone', target: 'choosing', actions: 'countStep' },
                      { target: '#agent@1.alive.work.idle', actions: ['end', 'report'] },
                    ],
                    onError: {
                      target: '#agent@1.alive.work.idle',
                      actions: ['end', 'report'],
                    },
                  },
                  initial: 'waiting',
                  states: {
                    waiting: {
                      on: {
                        'node.changed': {
                          target: 'waiting',
                          reenter: true,
                          actions: 'keepAge',
                        } as const,
                      },
                      invoke: {
                        id: 'interval',
                        src: 'waitUntil',
                        input: ({ context }) => ({
                          up: context.savedAt + context.policies.checkpoint_interval * 1000,
                        }),
                        onDone: 'writing',
                      },
                    },
                    writing: {
                      invoke: {
                        id: 'periodicContext',
                        src: 'writeContext',
                        input: contextInput,
                        onDone: { target: 'waiting', actions: 'saved' },
                        onError: { target: 'waiting', actions: 'notSaved' },
                      },
                    },
                  },
                },
                resting: {
                  entry: ['rest', 'announceTask'],
                  exit: 'unrest',
                  always: { guard: 'isRunning', target: 'choosing' },
                  initial: 'saving',
                  states: {
                    saving: {
                      invoke: {
                        id: 'pauseContext',
                        src: 'writeContext',
                        input: contextInput,
                        onDone: { target: 'suspended', actions: 'saved' },
                        onError: { target: 'suspended', actions: 'notSaved' },
                      },
                    },
                    suspended: {},
                  },
                },
                saving: {
                  entry: 'announceTask',
                  invoke: {
                    id: 'endContext',
                    src: 'writeContext',
                    input: contextInput,
                    onDone: { target: 'finishing', actions: 'saved' },
                    onError: [
                      {
                        guard: 'checkpointOptional',
                        target: 'finishing',
                        actions: 'notSaved',
                      },
                      { target: 'faulted', actions: 'lose' },
                    ],
                  },
                },
                finishing: {
                  invoke: {
                    id: 'finish',
                    src: 'finishTask',
                    input: ({ context: { cellId, assignment } }) => ({
                      cellId,
                      taskId: assignment?.taskId ?? '',
                      attempt: assignment?.attempt ?? 0,
                      artifacts: assignment?.artifacts ?? [],
                    }),
                    onDone: {
                      target: '#agent@1.alive.work.idle',
                      actions: ['end', 'report'],
                    },
                    onError: {
                      target: '#agent@1.alive.work.idle',
                      actions: ['end', 'report'],
                    },
                  },
                },
              },
            },
          },
        },
        clock: {
          initial: 'stopped',
          states: {
            stopped: { always: { guard: 'clockRuns', target: 'ticking' } },
            ticking: {
              entry: 'startClock',
              exit: 'stopClock',
              on: { 'node.changed': { target: 'ticking', reenter: true } }, // A8
              always: { guard: 'clockStands', target: 'stopped' },
              invoke: {
                id: 'deadline',
                src: 'waitUntil',
                input: ({ context }) => ({ up: taskDeadline(context) }),
                onDone: 'stopped',
              },
            },
          },
        },
      },
    },
    removed: { on: { 'agent.configured': { target: 'alive', actions: 'configure' } } },
  },
});
