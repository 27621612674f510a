/** The traps of XState's persistence (found by experiment), each turned into an error at the earliest moment. */
import { describe, expect, test } from 'vitest';
import { assign, fromPromise, raise, sendTo, setup } from 'xstate';
import type { AnyStateMachine } from 'xstate';
import { machineRegistry } from '../../actors/node.ts';
import { MachineRegistry } from '../../actors/logic.ts';
import type { Output } from '../../actors/logic.ts';
import { isJsonObject } from '../../machines/json.ts';
import type { JsonObject, JsonValue } from '../../machines/json.ts';
import { counterMachine } from '../support/kernel.ts';

const register = (machine: unknown): MachineRegistry =>
  new MachineRegistry().register({ machine: machine as AnyStateMachine });
const idle = { initial: 'idle', states: { idle: {} } } as const;

describe('what cannot survive a restart is refused when it is registered', () => {
  test('a machine without a version', () => {
    expect(() => register(setup({}).createMachine({ id: 'nameless', ...idle }))).toThrow(
      /name@version/,
    );
  });

  test('a delayed transition', () => {
    const machine = setup({}).createMachine({
      id: 'x@1',
      initial: 'a',
      states: { a: { after: { 1000: 'b' } }, b: {} },
    });
    expect(() => register(machine)).toThrow(/after/);
  });

  test('inline logic', () => {
    const machine = setup({}).createMachine({
      id: 'x@1',
      initial: 'a',
      states: { a: { invoke: { src: fromPromise(() => Promise.resolve(1)) } } },
    } as never);
    expect(() => register(machine)).toThrow(/unnamed logic/);
  });
});

describe('what a replay would lose is refused when it happens', () => {
  const go = (action: unknown): (() => unknown) => {
    const machine = setup({}).createMachine({
      id: 'x@1',
      initial: 'idle',
      states: { idle: { on: { go: { actions: action } } } },
    } as never);
    const logic = register(machine).latest('x');
    const snapshot = logic.init({}, []);
    return () => logic.apply(snapshot, { type: 'go' }, []);
  };

  test.each([
    ['a delayed raise', raise({ type: 'later' }, { delay: 10 })],
    ['sendTo', sendTo(({ self }) => self, { type: 'later' })],
  ])('%s', (_name, action) => {
    expect(go(action)).toThrow(/durable/);
  });
});

describe('a stored snapshot that does not fit is refused', () => {
  const logic = register(counterMachine).latest('counter');
  const stored = (): Record<string, unknown> => {
    const first = logic.init({ self: 'cell/x' }, []);
    const working = logic.apply(first, { type: 'work', job: 'j' } as never, []);
    return JSON.parse(JSON.stringify(logic.persist(working))) as Record<string, unknown>;
  };

  test('as it is, it is restored with its pending effect', () => {
    expect(Object.keys(logic.restore(stored() as never).children)).toEqual(['job']);
  });

  test.each([
    ['an unknown state', { value: 'gone' }],
    ['a lost pending effect', { children: {} }],
    ['no value', { value: undefined }],
    ['an error', { status: 'error', error: {} }],
  ])('%s', (_name, change) => {
    const broken = JSON.parse(JSON.stringify({ ...stored(), ...change })) as never;
    expect(() => logic.restore(broken)).toThrow(
      expect.objectContaining({ code: 'CHECKPOINT_CORRUPT' }),
    );
  });
});

test('a context that was stored in an older form is brought into the present one before anything sees it', () => {
  const machine = setup({ types: { context: {} as { all: number[] } } }).createMachine({
    id: 'x@1',
    context: { all: [] },
    on: { add: { actions: assign({ all: ({ context: { all } }) => [...all, 1] }) } },
  });
  const upcast = (context: JsonValue): JsonValue =>
    isJsonObject(context) && 'one' in context ? { all: [context['one'] ?? null] } : context;
  const logic = new MachineRegistry().register({ machine, upcast }).latest('x');
  const stored = logic.persist(logic.init({}, [])) as JsonObject;
  const restored = logic.restore({ ...stored, context: { one: 7 } });
  expect(logic.apply(restored, { type: 'add' }, []).context).toEqual({ all: [7, 1] });
  expect(logic.restore({ ...stored, context: { all: [2] } }).context).toEqual({ all: [2] });
});

test('an event that throws leaves the snapshot usable, and a later event counts from it', () => {
  const machine = setup({ types: { context: {} as { n: number } } }).createMachine({
    id: 'x@1',
    context: { n: 0 },
    on: {
      add: { actions: assign({ n: ({ context }) => context.n + 1 }) },
      boom: {
        actions: assign({
          n: () => {
            throw new Error('boom');
          },
        }),
      },
    },
  });
  const logic = register(machine).latest('x');
  const one = logic.apply(logic.init({}, []), { type: 'add' }, []);
  expect(() => logic.apply(one, { type: 'boom' }, [])).toThrow('boom');
  expect(logic.apply(one, { type: 'add' }, []).context).toEqual({ n: 2 });
});

test('outputs come in the order in which the machine asked for them', () => {
  const logic = register(counterMachine).latest('counter');
  const outputs: Output[] = [];
  const first = logic.init({ self: 'cell/x' }, []);
  const working = logic.apply(first, { type: 'work', job: 'j' } as never, outputs);
  logic.apply(working, { type: 'cancel' }, outputs);
  expect(outputs.map((output) => output.kind)).toEqual(['invoke', 'abort']);
});

test('each machine version keeps its definition: change one only together with its version and a migration', () => {
  const pinned = Object.fromEntries(
    machineRegistry()
      .all()
      .map(({ id, hash }) => [id, hash.slice(0, 16)]),
  );
  expect(pinned).toMatchInlineSnapshot(`
    {
      "action@1": "d9b08ead8f36cf40",
      "agent@1": "a19c0c7daa29a810",
      "bridge@1": "75ecfb57e4f47e6a",
      "cell@1": "bc96b12792435561",
      "drift@1": "757ae553ea68f891",
      "gate@1": "22f57129d1b346ce",
      "incident@1": "d30d7f790ceb61bf",
      "incident@2": "848d675c8bdaef6e",
      "lazarus@1": "eb52c6c1fdfea4e8",
      "llm@1": "2c853ee17110667c",
      "observed-host@1": "fde27288c1d817e9",
      "observer@1": "769cabf8a0a87982",
      "planner@1": "73fac65dff5653b7",
      "supervisor@1": "33f67b1606765940",
    }
  `);
});

test('what looks like an actor in a context is only what a person wrote', () => {
  const machine = setup({
    types: { input: {} as { written: unknown }, context: {} as { written: unknown } },
  }).createMachine({ id: 'x@1', context: ({ input }) => ({ written: input.written }), ...idle });
  const logic = register(machine).latest('x');
  const written = [
    { xstate$$type: 1, id: 'nobody' },
    { sessionId: 'x', send: 1, ref: 2, id: 'y' },
  ];
  const text = JSON.stringify(logic.persist(logic.init({ written }, [])));
  const restored = logic.restore(JSON.parse(text));
  expect(restored.context).toEqual({ written });
  expect(JSON.stringify(logic.persist(restored))).toBe(text);
});
