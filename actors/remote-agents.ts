/**
 * Supervision of agents that run elsewhere. Whoever of them gave no sign of life for `timeout` is told to its actor as
 * silent, which is a failure like a lost worker; the first sign after that is told too. Signs are beats over HTTP, and
 * what their gateways say when the configuration gives a URL to poll.
 *
 * V1 What is told follows from the present state (machines/heartbeats.ts), so a lost message or a restart mends itself.
 * V2 When this process itself stood still, or its machine slept, silence is counted anew: nobody could be heard.
 * V3 Polls are bounded in number, time and size, and spread by chance, so that no gateway meets all of them at once; one
 *    that does not answer is not asked for the rest of its agents until the next round.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { agentAddress } from '../machines/addresses.ts';
import { RuntimeError, toPlainError } from '../machines/errors.ts';
import { superviseRemote } from '../machines/heartbeats.ts';
import type { AgentDirectory, KnownAgent } from './agent-directory.ts';
import { pollAgent } from './gateway-poll.ts';
import type { Heartbeats } from './heartbeats.ts';
import { inParallel } from './in-parallel.ts';
import type { SystemLog } from './system.ts';

/** What the daemon's configuration says about it. */
export interface RemoteConfig {
  pollIntervalMs: number;
  /** Silence after which a remote agent has failed. */
  timeoutMs: number;
  /** Name to URL; agents of other gateways are supervised by their beats alone. */
  gateways: Readonly<Record<string, string>>;
}

/** The part of the actor system that is needed. */
export interface Teller {
  has(address: string): boolean;
  send(address: string, event: { type: string; message?: string }): Promise<unknown>;
}

export interface RemoteOptions {
  directory: AgentDirectory;
  heartbeats: Heartbeats;
  system: Teller;
  log: SystemLog;
  config: () => RemoteConfig;
  /** How often silence is looked for. Default 5,000. */
  tickMs?: number;
}

const GATEWAYS_AT_ONCE = 8;
const POLLS_AT_ONCE = 8;
const POLL_TIMEOUT_MS = 10_000;
/** Polls in a row without any answer after which a gateway is left alone for this round. */
const MAX_UNANSWERED = 3;
/** Events of one look; the rest follows with the next. */
const MAX_TOLD = 500;

export class RemoteAgents {
  readonly #options: RemoteOptions;
  readonly #stop = new AbortController();
  #lastTick: number;
  #ticking: NodeJS.Timeout | undefined;
  #looking = false;
  #polling: Promise<void> = Promise.resolve();

  constructor(options: RemoteOptions) {
    this.#options = options;
    this.#lastTick = options.heartbeats.now().up;
  }

  begin(): void {
    const { tickMs = 5000 } = this.#options;
    this.#lastTick = this.#options.heartbeats.now().up;
    this.#ticking = setInterval(() => void this.look(), tickMs).unref();
    this.#polling = this.#pollOnAndOn();
  }

  async close(): Promise<void> {
    clearInterval(this.#ticking);
    this.#stop.abort();
    await this.#polling;
  }

  /** V1. Never rejects. */
  async look(): Promise<void> {
    const { heartbeats, tickMs = 5000 } = this.#options;
    const now = heartbeats.now().up;
    if (now - this.#lastTick > 3 * tickMs) heartbeats.overslept(); // V2
    this.#lastTick = now;
    if (this.#looking) return;
    this.#looking = true;
    try {
      await Promise.all(this.#due(now));
    } finally {
      this.#looking = false;
    }
  }

  #due(now: number): Promise<void>[] {
    const { directory, heartbeats, config } = this.#options;
    const { timeoutMs } = config();
    const due: Promise<void>[] = [];
    for (const agent of directory.all()) {
      if (!agent.isRemote) continue;
      const { lastBeatAt, since, told } = heartbeats.silenceOf(agent);
      const { isExpected, hasFailed } = agent;
      const seen = { lastBeatAt, since, now, timeoutMs, isExpected, hasFailed, told };
      const what = superviseRemote(seen);
      if (what === null) continue;
      const silentMs = now - Math.max(lastBeatAt ?? since, since);
      due.push(this.#tell(agent, what, `no sign of life for ${Math.round(silentMs / 1000)} s`));
      if (due.length >= MAX_TOLD) break;
    }
    return due;
  }

  async #tell(agent: KnownAgent, what: 'silent' | 'heard', message: string): Promise<void> {
    const { system, heartbeats, log } = this.#options;
    const { cellId, agentId } = agent;
    const address = agentAddress(cellId, agentId);
    if (!system.has(address)) return; // its cell has not started it
    try {
      const event = what === 'silent' ? { type: 'agent.silent', message } : { type: 'agent.heard' };
      await system.send(address, event);
      heartbeats.told(agent, what);
      if (what === 'silent') log.warn({ cellId, agentId, message }, 'remote agent is silent');
      else log.info({ cellId, agentId }, 'remote agent is heard again');
    } catch (error) {
      if (!(error instanceof RuntimeError)) throw error;
      log.warn(
        { cellId, agentId, error: toPlainError(error) },
        'remote agent not told; tried again',
      );
    }
  }

  async #pollOnAndOn(): Promise<void> {
    const { signal } = this.#stop;
    await this.#options.directory.fill();
    while (!signal.aborted) {
      const { pollIntervalMs } = this.#options.config();
      const startedAt = performance.now();
      await this.poll();
      const spread = pollIntervalMs * (0.9 + 0.2 * Math.random()); // V3
      const restMs = Math.max(0, spread - (performance.now() - startedAt));
      await sleep(restMs, undefined, { signal, ref: false }).catch(() => undefined); // aborted: the loop ends
    }
  }

  /** One round: every remote agent whose gateway has a URL is asked for. Never rejects. */
  async poll(): Promise<void> {
    const { directory, config } = this.#options;
    const { gateways } = config();
    const asked = new Map<string, KnownAgent[]>();
    if (Object.keys(gateways).length === 0) return;
    for (const agent of directory.all()) {
      const { gateway, isRemote } = agent;
      if (!isRemote || gateway === null || !Object.hasOwn(gateways, gateway)) continue;
      const group = asked.get(gateway);
      if (group) group.push(agent);
      else asked.set(gateway, [agent]);
    }
    await inParallel([...asked], GATEWAYS_AT_ONCE, ([name, agents]) =>
      this.#pollGateway(name, gateways[name] ?? '', agents),
    );
  }

  async #pollGateway(name: string, url: string, agents: KnownAgent[]): Promise<void> {
    const { heartbeats } = this.#options;
    const { signal } = this.#stop;
    let unanswered = 0;
    await inParallel(shuffled(agents), POLLS_AT_ONCE, async (agent) => {
      if (signal.aborted) return;
      if (unanswered >= MAX_UNANSWERED)
        return heartbeats.pollFailed(agent, `gateway ${name} does not answer`); // V3
      const answer = await pollAgent(url, agent.agentId, { signal, timeoutMs: POLL_TIMEOUT_MS });
      if (signal.aborted) return;
      unanswered = answer.kind === 'unreachable' ? unanswered + 1 : 0;
      if (answer.kind === 'answered') heartbeats.polled(agent, answer);
      else heartbeats.pollFailed(agent, `gateway ${name}: ${answer.message}`);
    });
  }
}

function shuffled<T>(items: readonly T[]): T[] {
  return items
    .map((item) => ({ item, key: Math.random() }))
    .toSorted((a, b) => a.key - b.key)
    .map(({ item }) => item);
}
