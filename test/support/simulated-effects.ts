/**
 * What the effects of drifts and actions come to: after a while, well or not. What was cut off by a kill may have come about
 * all the same; what nobody knows of a run a person has to say.
 */
import type {
  ActionContext,
  MoveInput,
  Runnable,
  RunOutcome,
} from '../../machines/action-context.ts';
import { GATE } from '../../machines/addresses.ts';
import { whyNotAnyMore } from '../../machines/gate-rules.ts';
import type { GateContext } from '../../machines/gate.machine.ts';
import type { JsonObject } from '../../machines/json.ts';
import { ACTING_REMEDIES } from '../../machines/supervision.ts';
import { BADLY, PLAN, WELL } from './action.ts';
import type { Chance } from './simulated-chance.ts';
import type { SimulatedFiles } from './simulated-files.ts';
import type { SimulatedFleet } from './simulated-fleet.ts';
import type { Course, SimulatedKernel, Work } from './simulated-kernel.ts';

type Outcome = { output: unknown } | { error: string } | undefined;

/** How likely things go wrong; all are 0 once it is calm. */
export interface Trouble {
  /** A file is not written or moved, a step not told. */
  disk: number;
  /** It takes far longer. */
  slow: number;
  /** A run ends badly, or not at all. */
  run: number;
}

const HEALTH_EVERY_MS = 10_000;
const HANGS_MS = 60_000;
const SLOW = 60;

export class SimulatedEffects {
  readonly trouble: Trouble;
  /** Runs that nobody knows the outcome of. */
  readonly inDoubt: Work[] = [];
  /** Begun, in the order in which they were. */
  runs = 0;
  readonly #outcomes = new Map<string, RunOutcome>();
  readonly #kernel: SimulatedKernel;
  readonly #files: SimulatedFiles;
  readonly #fleet: SimulatedFleet;
  readonly #chance: Chance;

  constructor(
    {
      kernel,
      files,
      fleet,
    }: { kernel: SimulatedKernel; files: SimulatedFiles; fleet: SimulatedFleet },
    chance: Chance,
    trouble: Trouble,
  ) {
    this.#kernel = kernel;
    this.#files = files;
    this.#fleet = fleet;
    this.#chance = chance;
    this.trouble = trouble;
  }

  begin(work: Work): Course {
    const { src } = work.effect;
    switch (src) {
      case 'tell':
        return this.#course(300, this.trouble.disk, () => ({ output: null }));
      case 'writePending':
        return this.#onDisk(work, ({ actionId, content }) =>
          this.#files.write(String(actionId), content as JsonObject),
        );
      case 'moveFile':
        return this.#onDisk(work, (input) => this.#move(work, input as unknown as MoveInput));
      case 'planRun':
        return this.#course(500, this.trouble.disk, () => ({ output: this.#plan(work) }));
      case 'runAction':
        return this.#run(work);
      case 'awaitHealthy':
        return this.#health(work);
      case 'escalate':
        return this.#course(300, 0, () => ({ output: null }));
      default:
        throw new Error(`nobody knows the effect ${src}`);
    }
  }

  #course(meanMs: number, trouble: number, end: () => Outcome): Course {
    const isWell = !this.#chance.is(trouble);
    const slow = this.#chance.is(this.trouble.slow) ? SLOW : 1;
    return {
      afterMs: this.#chance.span(meanMs * slow),
      end: () => (isWell ? end() : { error: 'no space left on device' }),
    };
  }

  /** It may have come about, though nobody was told. */
  #onDisk({ effect: { input } }: Work, act: (input: JsonObject) => unknown): Course {
    const end = (): Outcome => {
      try {
        return { output: act(input) };
      } catch (error) {
        return { error: String(error) };
      }
    };
    const comesAbout = this.#chance.is(0.5);
    return {
      ...this.#course(300, this.trouble.disk, end),
      cutOff: () => void (comesAbout && end()),
    };
  }

  #move({ actor, key }: Work, input: MoveInput): unknown {
    const { clock } = this.#kernel;
    return this.#files.move(input, key, () => {
      if (input.move.kind !== 'claim') return undefined;
      const { actionId, facts, approval } = actor.driver.snapshot.context as ActionContext;
      if (approval === null || approval.expiresAt <= clock.at) return 'its approval has lapsed';
      const { host = '', service = '' } = facts ?? {};
      const gate = this.#kernel.actors.get(GATE)?.driver.snapshot.context as GateContext;
      return whyNotAnyMore(gate, { actionId, host, service }, clock.at);
    });
  }

  #plan({ effect: { input } }: Work): unknown {
    const { type } = input['run'] as unknown as Runnable;
    const isActing = ACTING_REMEDIES.some((remedy) => remedy === type);
    return { ...PLAN, verifies: isActing && type !== 'disk_cleanup' && this.#chance.is(0.7) };
  }

  #run(work: Work): Course {
    const { key, restarted } = work;
    const known = this.#outcomes.get(key);
    if (known !== undefined) return { afterMs: 100, end: () => ({ output: known }) };
    if (restarted) {
      this.inDoubt.push(work);
      return { afterMs: 100, end: () => undefined };
    }
    this.runs += 1;
    const isBad = this.#chance.is(this.trouble.run);
    const hangs = isBad && this.#chance.is(0.3);
    const isSeen = this.#chance.is(0.5);
    const end = (): Outcome => ({ output: this.#ran(work, isBad) });
    return {
      afterMs: hangs ? HANGS_MS : this.#chance.span(15_000),
      end,
      cutOff: () => void (isSeen && end()), // it went on to its end, and wrote that down
    };
  }

  #ran({ key, effect: { input } }: Work, isBad: boolean): RunOutcome {
    const { type, host, service } = input['run'] as unknown as Runnable;
    const { at } = this.#kernel.clock;
    const isActing = ACTING_REMEDIES.some((remedy) => remedy === type);
    const reason = isBad
      ? 'exit code 1'
      : isActing
        ? this.#fleet.remedy(type, { host, service })
        : null;
    const target = this.#fleet.service(`${host}/${service}`);
    if (type === 'redeploy' && target !== undefined) {
      if (reason !== null) target.failedAt.push(at);
      else Object.assign(target, { failedAt: [], deployedAt: at });
    }
    const outcome = reason === null ? WELL : { ...BADLY, reason };
    this.#outcomes.set(key, outcome);
    return outcome;
  }

  #health({ effect: { input } }: Work): Course {
    const { run, until } = input as unknown as { run: Runnable; until: number };
    const { clock } = this.#kernel;
    const isWell = this.#fleet.isWell(`${run.host}/${run.service}`);
    const left = until - clock.at;
    const afterMs = Math.max(0, Math.min(left, this.#chance.span(HEALTH_EVERY_MS)));
    return {
      afterMs,
      end: () =>
        isWell || this.#fleet.isWell(`${run.host}/${run.service}`)
          ? { output: { by: 'its driver' } }
          : { error: 'not seen healthy in time' },
    };
  }
}
