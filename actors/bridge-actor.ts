/** A bridge's actor as those see it who feed it: where it stands, who listens to it, and the events on their way to it. */
import { hasListeners, listeners } from '../machines/bridge-context.ts';
import type { BridgeContext, BridgeEvent } from '../machines/bridge-context.ts';
import { RuntimeError } from '../machines/errors.ts';
import type { JsonObject } from '../machines/json.ts';
import type { Answer, Outgoing } from './ordered-sender.ts';
import { SubscriberPace } from './subscriber-pace.ts';
import type { ActorSystem } from './system.ts';

export interface BridgeLog {
  info(fields: Record<string, unknown>, message: string): void;
  warn(fields: Record<string, unknown>, message: string): void;
}

/** Refused messages are logged one by one, but no more often than this, ms; all are counted and in the journal. */
const LOG_EVERY_MS = 10_000;

/** It is plain JSON, though its type has no index signature. */
const asEvent = (event: BridgeEvent): { type: string } & JsonObject =>
  event as unknown as { type: string } & JsonObject;

export class BridgeActor {
  readonly system: ActorSystem;
  readonly address: string;
  /** Of this life of the node: begins the ids of events that have none. */
  readonly instance: string;
  readonly log: BridgeLog;
  duplicates = 0;
  readonly #pace: SubscriberPace;
  #events = 0;
  #loggedAt = -LOG_EVERY_MS;
  #unlogged = 0;

  constructor(parts: Pick<BridgeActor, 'system' | 'address' | 'instance' | 'log'>) {
    this.system = parts.system;
    this.address = parts.address;
    this.instance = parts.instance;
    this.log = parts.log;
    this.#pace = new SubscriberPace(parts.system.limits);
  }

  /** Starts it unless it lives. */
  async ensure(): Promise<void> {
    if (!this.system.has(this.address)) await this.system.spawn(this.address, 'bridge', {});
  }

  /** As of the last commit; undefined while it is held, or not there. */
  context(): BridgeContext | undefined {
    try {
      return this.system.read(this.address).snapshot.context as BridgeContext;
    } catch (error) {
      if (error instanceof RuntimeError) return undefined; // the sender's trouble has the reason
      throw error;
    }
  }

  nextId(channel: string): string {
    return `redis:${channel}:${this.instance}:${(this.#events += 1)}`;
  }

  outgoing(event: BridgeEvent, settled: () => void = () => {}, id?: string): Outgoing {
    const done = (answer: Answer): void => {
      this.#note(event, answer);
      settled();
    };
    const outgoing = { event: asEvent(event), done };
    return id === undefined ? outgoing : { ...outgoing, id };
  }

  /** Somebody is told of what is heard. */
  isHeardBySome(): boolean {
    const context = this.context();
    return context === undefined || hasListeners(context);
  }

  waitMs({ event }: Outgoing): number {
    const heard = event as unknown as BridgeEvent;
    if (heard.type !== 'bridge.heard') return 0;
    const context = this.context();
    if (context === undefined || !hasListeners(context)) return 0;
    const { host, event: inner } = heard;
    const to = listeners(context, { host, type: inner.type });
    return this.#pace.waitMs(to, this.system.clock.now().up);
  }

  #note(event: BridgeEvent, answer: Answer): void {
    if (answer.kind === 'durable' && answer.isDuplicate) this.duplicates += 1;
    if (answer.kind === 'refused') {
      const fields = { type: event.type, error: answer.error.message };
      this.log.warn(fields, 'an event of the bridge was not taken');
    } else if (event.type === 'bridge.refused') this.#logRefused(event);
  }

  #logRefused({ channel, reason, raw }: Extract<BridgeEvent, { type: 'bridge.refused' }>): void {
    const now = performance.now();
    if (now - this.#loggedAt < LOG_EVERY_MS) return void (this.#unlogged += 1);
    const fields = { channel, reason, preview: raw.slice(0, 120), unlogged: this.#unlogged };
    this.log.warn(fields, 'malformed_message');
    this.#loggedAt = now;
    this.#unlogged = 0;
  }
}
