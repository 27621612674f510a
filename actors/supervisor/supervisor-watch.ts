/**
 * When the supervisor looks, and what is kept of it: when something changed, when it was asked to, and every so often; its actor is
 * kept told of policy and freeze, and what others read is written.
 *
 * S1 One look at a time. Who asks for one while one is under way gets the next, and all of them the same.
 * S2 A journal that cannot be written just now keeps nothing from opening: it is tried again.
 * S3 Nothing is decided by what an earlier life knew: until this one has told the actor of its policy and made a look, a policy
 *    approves nothing (hold.ts). Of a freeze it is told at once, of its end after a look.
 * S4 Where there is no inventory, and never was, nothing is desired: nobody is told, nothing is written, it is off.
 */
import { existsSync } from 'node:fs';
import { bridgeAddress, GATE, SUPERVISOR } from '../../machines/addresses.ts';
import { toPlainError } from '../../machines/errors.ts';
import { asJsonObject } from '../../machines/json.ts';
import type { JsonObject } from '../../machines/json.ts';
import { valuesIn } from '../../machines/shards.ts';
import { freshSupervisor, whyWaiting } from '../../machines/supervisor-context.ts';
import type { Stood, SupervisorContext } from '../../machines/supervisor-context.ts';
import type { Target } from '../../machines/supervision.ts';
import { isoFromEpoch, isoOrNull } from '../../machines/time.ts';
import type { RuntimeLayout } from '../../cells/runtime-layout.ts';
import type { ActionIndex } from '../actions/action-index.ts';
import type { PlannerLog } from '../planner/planner-log.ts';
import type { PolicySource } from '../planner/policy-source.ts';
import type { ActorSystem, CommittedRecord } from '../system.ts';
import { AutonomyFile } from './autonomy-file.ts';
import { contextIn } from './context-in.ts';
import { DesiredSource } from './desired-source.ts';
import { watchFolders } from './folder-watch.ts';
import { Looker } from './looker.ts';
import type { LookResult } from './looker.ts';
import { SummaryFiles } from './summary-files.ts';
import { Told } from './told.ts';
import { WorldSource } from './world-source.ts';

/** Events of a burst are one look. */
const COALESCE_MS = 100;
const AGAIN_MS = 1000;
const AUTONOMY_POLL_MS = 2000;
const BRIDGES = bridgeAddress('');
const WORLD_CHANNEL = 'world_updates';
const MAX_SHOWN = 20;

export interface SupervisorWatchOptions {
  layout: RuntimeLayout;
  /** Folder of `topology.yaml` and `hosts/`. */
  inventory: string;
  /** What else hosts are called, to their names. */
  aliases: Readonly<Record<string, string>>;
  /** What this machine is called in events of ours. */
  nodeName: string;
  policy: PolicySource;
  /** Between two looks when nothing happens, ms. */
  intervalMs: number;
  /** Where it is to be; null: in `state/`. */
  checkpoint: string | null;
  actions: { index: Pick<ActionIndex, 'all'> };
  log: PlannerLog;
  /** For tests: as in DesiredSource and WorldSource. */
  settleMs?: number;
  pollMs?: number;
}

export class SupervisorWatch {
  readonly #system: ActorSystem;
  readonly #options: SupervisorWatchOptions;
  readonly #desired: DesiredSource;
  readonly #world: WorldSource;
  readonly #looker: Looker;
  readonly #autonomy: AutonomyFile;
  readonly #told: Told;
  readonly #files: SummaryFiles;
  readonly #stopping = new AbortController();
  #turn: Promise<unknown> = Promise.resolve();
  #next: Promise<LookResult> | undefined;
  #timer: NodeJS.Timeout | undefined;
  #soon: NodeJS.Timeout | undefined;
  #unfollow: () => void = () => {};
  #last: LookResult | undefined;
  #lastFound: Extract<LookResult, { ok: true }> | undefined;
  #skippedSince: number | null = null;
  #trouble: string | null = null;

  constructor(system: ActorSystem, options: SupervisorWatchOptions) {
    const { layout, inventory, aliases, policy, actions, log, settleMs, pollMs } = options;
    this.#system = system;
    this.#options = options;
    this.#autonomy = new AutonomyFile(layout.autonomyFile);
    this.#told = new Told(system, policy, this.#autonomy);
    this.#files = new SummaryFiles({
      summary: layout.worldSummary,
      checkpoint: options.checkpoint ?? layout.supervisorCheckpoint,
      refreshMs: options.intervalMs,
    });
    this.#desired = new DesiredSource(inventory, {
      log,
      aliases: new Map(Object.entries(aliases)),
      hadHosts: this.#context().look !== null,
      ...(settleMs !== undefined && { settleMs }),
      ...(pollMs !== undefined && { pollMs }),
    });
    this.#world = new WorldSource(layout.world, { log, ...(pollMs !== undefined && { pollMs }) });
    this.#looker = new Looker({
      system,
      desired: this.#desired,
      world: this.#world,
      policy: () => policy.current.policy.supervisor,
      openActions: function* () {
        for (const entry of actions.index.all()) if (entry.isOpen) yield entry;
      },
    });
  }

  async start(): Promise<void> {
    const { policy, intervalMs } = this.#options;
    this.#system.on('committed', this.#committed); // first: what comes of the first look is heard
    this.#unfollow = policy.onChange(() => this.#lookSoon());
    if (!this.#isOff()) await this.ask(false).catch(() => undefined); // S2: said in the status
    this.#timer = setInterval(() => this.#lookSoon(), intervalMs).unref();
    const { signal } = this.#stopping;
    const look = async (): Promise<void> => {
      if (!this.#isOff()) await this.ask(false);
    };
    this.#desired.watch(look, signal);
    this.#world.watch(look, signal);
    const { layout, log, pollMs = AUTONOMY_POLL_MS } = this.#options;
    const isNews = (): boolean => this.#autonomy.isNews();
    watchFolders({ folders: [layout.state], pollMs, isNews, onChange: look, log }, signal);
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    clearInterval(this.#timer);
    clearTimeout(this.#soon);
    this.#unfollow();
    this.#system.off('committed', this.#committed);
    await this.#turn;
  }

  /** S1. */
  ask(rehearse: boolean): Promise<LookResult> {
    if (rehearse) return this.#inTurn(() => this.#looker.rehearse());
    this.#next ??= this.#inTurn(() => {
      this.#next = undefined;
      return this.#look();
    });
    return this.#next;
  }

  #inTurn(look: () => Promise<LookResult>): Promise<LookResult> {
    const turn = this.#turn.then(look);
    this.#turn = turn.catch(() => undefined); // told to whoever asked for it
    return turn;
  }

  inventory(): JsonObject {
    return this.#desired.view();
  }

  dependantsOf(target: Target): readonly string[] | undefined {
    return this.#desired.dependantsOf(target);
  }

  unknownTargets(): readonly string[] {
    return this.#lastFound?.reconciled.unknown ?? [];
  }

  status(): JsonObject {
    if (this.#isOff())
      return { state: 'off', reason: `there is no inventory: ${this.#options.inventory}` };
    const context = this.#context();
    const { at } = this.#system.clock.now();
    const { row, granted, frozen, refused } = context;
    const found = this.#lastFound;
    return {
      state: this.#trouble === null && this.#last?.ok === true ? 'up' : 'down',
      ...this.#reason(),
      summary: found?.reconciled.summary ?? 'unknown',
      looked_at: found === undefined ? null : isoFromEpoch(found.at),
      counts: asJsonObject(found?.reconciled.counts ?? {}),
      unknown: [...this.unknownTargets()],
      drifts: context.standing.size,
      not_looked_after: (found?.look.beyond ?? 0) + refused,
      doubt: found?.look.doubt ?? null,
      stale_since: isoOrNull(found?.look.staleSince ?? null),
      under_way: Object.values(granted).map(({ actionId }) => actionId),
      waiting: row.slice(0, MAX_SHOWN).map(({ key, actionId }) => ({
        key,
        action_id: actionId,
        reason: whyWaiting(context, key, at),
      })),
      frozen,
      inventory: this.#desired.view(),
      world: this.#world.view(),
      autonomy_problem: this.#autonomy.problem,
    };
  }

  /** S4. */
  #isOff(): boolean {
    return this.#context().look === null && !existsSync(this.#options.inventory);
  }

  #reason(): JsonObject {
    if (this.#trouble !== null) return { reason: this.#trouble };
    return this.#last?.ok === false ? { reason: this.#last.reason } : {};
  }

  #context(): SupervisorContext {
    return contextIn(this.#system) ?? freshSupervisor();
  }

  async #look(): Promise<LookResult> {
    if (this.#isOff()) return this.#looker.rehearse(); // S4
    try {
      await this.#told.beforeLook(); // S3
      const result = await this.#looker.look();
      await this.#told.ofFreeze(); // S3
      this.#note(result);
      const problem = await this.#writeFiles(result);
      if (problem === null) this.#trouble = null;
      else this.#fail(problem);
      return result;
    } catch (error) {
      this.#fail(toPlainError(error).message);
      throw error;
    }
  }

  #note(result: LookResult): void {
    const { log } = this.#options;
    this.#last = result;
    this.#skippedSince = result.ok ? null : (this.#skippedSince ?? result.at);
    if (!result.ok) return;
    this.#lastFound = result;
    const { opened, changed, closed, counts } = result.look;
    if (opened.length + changed.length + closed.length > 0)
      log.info(
        {
          opened: opened.length,
          changed: changed.length,
          closed: closed.length,
          state: result.reconciled.summary,
          services: counts.services,
        },
        'reconciled',
      );
  }

  /** S2. */
  #fail(problem: string): void {
    if (this.#trouble !== problem)
      this.#options.log.warn({ problem }, 'the supervisor cannot do its work yet');
    this.#trouble = problem;
    if (!this.#stopping.signal.aborted) this.#lookSoon(AGAIN_MS);
  }

  #writeFiles(result: LookResult): Promise<string | null> {
    return this.#files.write({
      at: result.at,
      nodeName: this.#options.nodeName,
      reconciled: this.#lastFound?.reconciled ?? null,
      skipped: result.ok ? null : { reason: result.reason, since: this.#skippedSince ?? result.at },
      observedAt: this.#lastFound?.observedAt ?? null,
      standing: valuesIn(this.#context().standing).sort(byKey),
    });
  }

  #lookSoon(afterMs = COALESCE_MS): void {
    this.#soon ??= setTimeout(() => {
      this.#soon = undefined;
      if (this.#isOff()) return;
      void this.ask(false).catch(() => undefined); // said in the status, and tried again
    }, afterMs).unref();
  }

  /** What others say, and what became of actions, may change what is to be done. */
  readonly #committed = ({ address, event }: CommittedRecord): void => {
    const isFreeze = address === GATE && event.type === 'gate.freeze';
    if (isFreeze && this.#system.has(SUPERVISOR)) void this.#told.ofFreeze().catch(() => undefined); // S3; the look tries again
    const isWorld = event['channel'] === WORLD_CHANNEL && address.startsWith(BRIDGES);
    const isUnfreeze = address === GATE && event.type === 'gate.unfreeze';
    const isOwn = address === SUPERVISOR && OWN_NEWS.has(event.type);
    const isAction = event.type === 'action.became';
    if (isWorld || isFreeze || isUnfreeze || isOwn || isAction) this.#lookSoon();
  };
}

const byKey = ({ drift: { key: a } }: Stood, { drift: { key: b } }: Stood): number =>
  a < b ? -1 : a > b ? 1 : 0;

/** After these the files say something else. */
const OWN_NEWS = new Set(['drift.moved', 'remedy.ended', 'autonomy.revoked', 'autonomy.cleared']);
