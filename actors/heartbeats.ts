/**
 * Signs of life of every agent: of local ones from their workers' own channel, of remote ones and of guests (ids that no
 * mission has) from beats over HTTP and from polls of their gateways. Held in memory only: after a restart nobody has been
 * heard yet, which is `unknown` and not `unhealthy` (machines/heartbeats.ts T2). Which guests there are is kept in a file.
 *
 * H1 A local agent's beat counts over its worker's channel alone; what comes by HTTP in its name changes nothing.
 * H2 Ids, metadata and their sum are bounded (P8).
 * H3 An id means the agent of a mission before a guest; a guest whose id a mission takes is forgotten.
 */
import { RuntimeError } from '../machines/errors.ts';
import { healthView, REMOTE_INTERVAL_MS } from '../machines/heartbeats.ts';
import type { AgentHealth, HealthView, Watched } from '../machines/heartbeats.ts';
import type { JsonObject } from '../machines/json.ts';
import type { AgentDirectory, KnownAgent } from './agent-directory.ts';
import { onlyItsOwnChannel, resolveAgent, unknownAgent } from './agent-lookup.ts';
import { MetadataBudget } from './beat-metadata.ts';
import type { GuestFile } from './guest-file.ts';
import { Guests } from './guests.ts';
import { localHealth } from './local-health.ts';
import type { WorkerSource } from './local-health.ts';
import { freshSigns, signsHealth, watchedOf } from './signs-of-life.ts';
import type { Listening, Signs } from './signs-of-life.ts';

/** `at`: epoch ms, as the host's clock shows it. `up`: monotonic ms, for spans. */
export interface HealthClock {
  now(): { at: number; up: number };
}

export const hostClock: HealthClock = {
  now: () => ({ at: Date.now(), up: performance.now() }),
};

export interface HeartbeatOptions {
  directory: AgentDirectory;
  workers: WorkerSource;
  guests: GuestFile;
  clock?: HealthClock;
  /** Default 10,000. */
  maxGuests?: number;
  /** An answer of a gateway stands for this long: two polls. */
  pollIntervalMs(): number;
}

export class Heartbeats {
  readonly #options: HeartbeatOptions;
  readonly #directory: AgentDirectory;
  readonly #clock: HealthClock;
  readonly #remote = new Map<string, Signs>();
  readonly #guests: Guests;
  readonly #budget = new MetadataBudget();
  #watchingSince: number;

  constructor(options: HeartbeatOptions) {
    this.#options = options;
    this.#directory = options.directory;
    this.#clock = options.clock ?? hostClock;
    this.#watchingSince = this.#clock.now().up;
    this.#guests = new Guests(options.guests, options.maxGuests ?? 10_000);
    for (const [agentId, metadata] of options.guests.load()) {
      const signs = freshSigns(this.#watchingSince);
      if (this.#budget.fits(signs, metadata)) this.#budget.merge(signs, metadata);
      this.#guests.restore(agentId, signs);
    }
  }

  /** Resolves when every agent of the missions is known. */
  ready(): Promise<void> {
    return this.#directory.ready();
  }

  /**
   * Counts a beat. Throws RuntimeError CONFLICT for a local agent (H1), AMBIGUOUS_ID, NOT_FOUND when the named cell has no
   * such agent, INVALID_ARGUMENT for what cannot be an id, BUSY when a bound is reached (H2).
   */
  beat(
    agentId: string,
    { cellId, metadata, responseTimeMs }: BeatInput,
  ): { atMs: number; intervalMs: number } {
    const agent = resolveAgent(this.#directory, agentId, cellId);
    if (agent && !agent.isRemote) throw onlyItsOwnChannel(agent);
    const now = this.#clock.now();
    const signs = agent
      ? this.#signsOf(agent)
      : (this.#guests.get(agentId) ?? this.#guests.newcomer(now.up));
    if (metadata !== undefined) this.#budget.merge(signs, metadata);
    if (!agent) this.#guests.register(agentId, signs);
    signs.last = now;
    signs.respondedAt = now.at;
    signs.responseTimeMs = responseTimeMs;
    return { atMs: now.at, intervalMs: REMOTE_INTERVAL_MS };
  }

  /** A gateway answered for one of its agents; `ageMs`: how long ago it heard of it, null: never. */
  polled(agent: KnownAgent, answer: { ageMs: number | null; responseTimeMs: number }): void {
    const signs = this.#signsOf(agent);
    const now = this.#clock.now();
    signs.poll = { answeredUp: now.up, error: null };
    signs.respondedAt = now.at;
    signs.responseTimeMs = answer.responseTimeMs;
    if (answer.ageMs === null) return;
    const heard = { at: now.at - answer.ageMs, up: now.up - answer.ageMs };
    if (signs.last === null || heard.up > signs.last.up) signs.last = heard;
  }

  pollFailed(agent: KnownAgent, error: string): void {
    const signs = this.#signsOf(agent);
    signs.poll = { answeredUp: signs.poll?.answeredUp ?? Number.NEGATIVE_INFINITY, error };
  }

  /** Throws RuntimeError NOT_FOUND, AMBIGUOUS_ID, INVALID_ARGUMENT. */
  agent(agentId: string, cellId?: string): AgentHealth {
    const agent = resolveAgent(this.#directory, agentId, cellId);
    if (agent) return this.healthOf(agent);
    const guest = this.#guests.get(agentId);
    if (guest) return this.#guestHealth(agentId, guest);
    throw unknownAgent(agentId);
  }

  all(): HealthView {
    const agents: Record<string, AgentHealth> = {};
    for (const { key, health } of this.each()) agents[key] = health;
    return healthView(agents, this.#clock.now().at);
  }

  /** Every agent under a key that no other has: its id, and with its cell where the id stands in several. */
  *each(): Generator<{ key: string; health: AgentHealth; gateway: string | null }> {
    for (const agent of this.#directory.all()) {
      const { agentId, cellId, gateway } = agent;
      const key = this.#directory.isUnique(agentId) ? agentId : `${cellId}/${agentId}`;
      yield { key, health: this.healthOf(agent), gateway };
    }
    for (const [agentId, signs] of this.#guests.all())
      if (this.#directory.withId(agentId).length === 0)
        yield { key: agentId, health: this.#guestHealth(agentId, signs), gateway: null };
  }

  healthOf(agent: KnownAgent): AgentHealth {
    const { cellId, agentId, isExpected, hasFailed, reason } = agent;
    if (!agent.isRemote) return localHealth(agent, this.#options.workers.get(cellId, agentId));
    const health: AgentHealth = {
      agent_id: agentId,
      cell_id: cellId,
      kind: 'remote',
      ...this.#remoteHealth(this.#signsOf(agent)),
    };
    if (hasFailed)
      return {
        ...health,
        status: 'unhealthy',
        consecutive_failures: Math.max(1, health.consecutive_failures),
        error_message: reason ?? health.error_message,
      };
    const isSilent = health.status === 'degraded' || health.status === 'unhealthy';
    return !isExpected && isSilent // T3
      ? { ...health, status: 'unknown', consecutive_failures: 0, error_message: null }
      : health;
  }

  /** When a remote agent was last heard, and since when somebody listens; it is watched from the first time it is asked for. */
  silenceOf(agent: KnownAgent): Pick<Watched, 'lastBeatAt' | 'since'> & Pick<Signs, 'told'> {
    const signs = this.#signsOf(agent);
    const { lastBeatAt, since } = watchedOf(signs, this.#listening());
    return { lastBeatAt, since, told: signs.told };
  }

  told(agent: KnownAgent, what: 'silent' | 'heard'): void {
    this.#signsOf(agent).told = { what, at: this.#clock.now().up };
  }

  now(): { at: number; up: number } {
    return this.#clock.now();
  }

  /** This process did not run for a while, so nobody could be heard: everybody's silence counts from now. */
  overslept(): void {
    this.#watchingSince = this.#clock.now().up;
  }

  /** Forgets a guest. Throws RuntimeError NOT_FOUND, and CONFLICT for the agent of a mission. */
  unregister(agentId: string): void {
    const [agent] = this.#directory.withId(agentId);
    if (agent)
      throw new RuntimeError(`agent ${agentId} belongs to cell ${agent.cellId}`, {
        code: 'CONFLICT',
        hint: `Remove agents/${agentId}.json from the cell to take it out of the mission.`,
      });
    if (!this.#forgetGuest(agentId)) throw unknownAgent(agentId);
  }

  /** What is kept of agents that are no longer in any mission is let go. */
  sweep(): void {
    for (const key of this.#remote.keys()) {
      const cut = key.indexOf('/');
      const agent = this.#directory.find(key.slice(0, cut), key.slice(cut + 1));
      if (agent?.isRemote) continue;
      this.#budget.release(this.#remote.get(key));
      this.#remote.delete(key);
    }
    for (const [agentId] of this.#guests.all())
      if (this.#directory.withId(agentId).length > 0) this.#forgetGuest(agentId); // H3
  }

  #signsOf({ cellId, agentId }: KnownAgent): Signs {
    const key = `${cellId}/${agentId}`;
    let signs = this.#remote.get(key);
    if (signs === undefined) this.#remote.set(key, (signs = freshSigns(this.#clock.now().up)));
    return signs;
  }

  #forgetGuest(agentId: string): boolean {
    const signs = this.#guests.remove(agentId);
    this.#budget.release(signs);
    return signs !== undefined;
  }

  #guestHealth(agentId: string, signs: Signs): AgentHealth {
    return { agent_id: agentId, cell_id: null, kind: 'guest', ...this.#remoteHealth(signs) };
  }

  #remoteHealth(signs: Signs): ReturnType<typeof signsHealth> {
    return signsHealth(signs, this.#listening());
  }

  #listening(): Listening {
    const pollIntervalMs = this.#options.pollIntervalMs();
    return { since: this.#watchingSince, now: this.#clock.now().up, pollIntervalMs };
  }
}

export interface BeatInput {
  /** The cell that the sender named. */
  cellId?: string | undefined;
  metadata?: JsonObject | undefined;
  responseTimeMs: number;
}
