/** A kernel on a temp folder, with a small machine of its own; `reopen` is a new life on the same disk. */
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { assign, enqueueActions, fromPromise, setup } from 'xstate';
import { CellStore } from '../../cells/checkpoint.ts';
import { homeCell } from '../../machines/addresses.ts';
import type { SendParams, SpawnParams, StopParams, Stamp } from '../../machines/events.ts';
import { Kernel } from '../../actors/kernel.ts';
import type { KernelOptions } from '../../actors/kernel.ts';
import { MachineRegistry } from '../../actors/logic.ts';

export type CounterEvent =
  | { type: 'add'; n: number }
  | { type: 'forward'; to: string; n: number }
  | { type: 'chain'; to: string[] }
  | { type: 'work'; job: string }
  | { type: 'cancel' }
  | { type: 'sleep'; ms: number }
  | { type: 'nap'; until: number }
  | { type: 'ping-self' }
  | { type: 'boom' };

interface CounterContext {
  self: string;
  total: number;
  done: string[];
  failed: string[];
  times: number[];
}

const later = (): never => {
  throw new Error('bound by the test');
};

export const counterMachine = setup({
  types: {
    input: {} as { self: string },
    context: {} as CounterContext,
    events: {} as CounterEvent & Partial<Stamp>,
  },
  actors: {
    job: fromPromise<string, { job: string }>(later),
    waitUntil: fromPromise<void, { up: number } | { at: number }>(later),
  },
  actions: {
    send: (_args, _params: SendParams) => undefined,
    spawn: (_args, _params: SpawnParams) => undefined,
    stop: (_args, _params: StopParams) => undefined,
  },
}).createMachine({
  id: 'counter@1',
  context: ({ input }) => ({ self: input.self, total: 0, done: [], failed: [], times: [] }),
  initial: 'idle',
  on: {
    add: {
      actions: assign({
        total: ({ context, event }) => context.total + event.n,
        times: ({ context, event }) => [...context.times, event.at ?? -1].slice(-3),
      }),
    },
    forward: {
      actions: {
        type: 'send',
        params: ({ event }) => ({ to: event.to, event: { type: 'add', n: event.n } }),
      },
    },
    chain: {
      actions: enqueueActions(({ enqueue, event }) => {
        enqueue.assign({ total: ({ context }) => context.total + 1 });
        const [to, ...rest] = event.to;
        if (to !== undefined)
          enqueue({ type: 'send', params: { to, event: { type: 'chain', to: rest } } });
      }),
    },
    'ping-self': {
      actions: {
        type: 'send',
        params: ({ context }) => ({ to: context.self, event: { type: 'ping-self' } }),
      },
    },
    boom: {
      actions: assign({
        total: () => {
          throw new Error('boom');
        },
      }),
    },
  },
  states: {
    idle: {
      on: {
        work: 'working',
        sleep: 'sleeping',
        nap: 'napping',
      },
    },
    working: {
      on: { cancel: 'idle' },
      invoke: {
        id: 'job',
        src: 'job',
        input: ({ event }) => ({ job: event.type === 'work' ? event.job : '' }),
        onDone: {
          target: 'idle',
          actions: assign({ done: ({ context, event }) => [...context.done, event.output] }),
        },
        onError: {
          target: 'idle',
          actions: assign({
            failed: ({ context, event }) => [...context.failed, (event.error as Error).message],
          }),
        },
      },
    },
    sleeping: {
      on: { cancel: 'idle' },
      invoke: {
        id: 'timer',
        src: 'waitUntil',
        input: ({ event }) => ({ up: (event.up ?? 0) + (event.type === 'sleep' ? event.ms : 0) }),
        onDone: {
          target: 'idle',
          actions: assign({ done: ({ context }) => [...context.done, 'slept'] }),
        },
      },
    },
    napping: {
      invoke: {
        id: 'nap',
        src: 'waitUntil',
        input: ({ event }) => ({ at: event.type === 'nap' ? event.until : 0 }),
        onDone: {
          target: 'idle',
          actions: assign({ done: ({ context }) => [...context.done, 'napped'] }),
        },
      },
    },
  },
});

export const silent = { info: () => undefined, warn: () => undefined };

export interface KernelFixture {
  folder: string;
  kernel: Kernel;
  warnings: { message: string; fields: Record<string, unknown> }[];
  /** A new life on the same disk. `crash` leaves the old one unclosed, as a killed process would. */
  reopen(
    how: 'clean' | 'crash',
    change?: Partial<KernelOptions>,
    /** Done to the disk while no life has it. */
    meanwhile?: () => void,
  ): Promise<Kernel>;
  dispose(): Promise<void>;
}

/** `root`: where the fixture's folder is made. */
export async function openKernel(
  options: Partial<KernelOptions> = {},
  root = tmpdir(),
): Promise<KernelFixture> {
  const folder = mkdtempSync(join(root, 'lazarus-kernel-'));
  const warnings: KernelFixture['warnings'] = [];
  let epoch = 0;
  const start = async (change: Partial<KernelOptions> = {}): Promise<Kernel> => {
    return Kernel.open({
      registry: new MachineRegistry().register({ machine: counterMachine }),
      store: folderStore(folder),
      journalFolder: join(folder, 'journal'),
      indexFile: join(folder, 'index.json'),
      uptimeFile: join(folder, 'uptime.json'),
      nodeId: 'test-node',
      raiseEpoch: (atLeast) => Promise.resolve((epoch = Math.max(epoch, atLeast) + 1)),
      log: {
        info: () => undefined,
        warn: (fields, message) => warnings.push({ message, fields }),
      },
      ...options,
      ...change,
    });
  };
  const fixture: KernelFixture = {
    folder,
    warnings,
    kernel: await start(),
    async reopen(how, change, meanwhile = () => undefined) {
      if (how === 'clean') await fixture.kernel.close();
      else await abandon(fixture.kernel);
      meanwhile();
      fixture.kernel = await start(change);
      return fixture.kernel;
    },
    async dispose() {
      await fixture.kernel.close().catch(() => undefined);
      rmSync(folder, { recursive: true, force: true });
    },
  };
  return fixture;
}

/** What a killed process leaves: nothing more happens, nothing is tidied. */
async function abandon(kernel: Kernel): Promise<void> {
  kernel.system.timers.stop();
  kernel.system.attachJournal({
    pendingRecords: 0,
    pendingBytes: 0,
    flush: () => undefined,
    append: () => {
      throw new Error('this life of the node is over');
    },
  });
  await kernel.halt();
}

/** Each cell a folder below `folder`, made on first use. */
export function folderStore(folder: string): CellStore {
  return new CellStore(
    {
      folderOf: (cellId) => {
        const path = join(folder, 'cells', cellId);
        mkdirSync(path, { recursive: true });
        return path;
      },
    },
    silent,
  );
}

export const counterAddress = (n: number): string => `cell/c${n}`;
export { homeCell };
