/**
 * Events from people and programs on the bus: `ops.inject.<cell>[.<agent>]`. What was published while no node ran is there
 * when one does, and each is taken once: by its own id, or by where it stands in the stream. Several nodes may read one
 * stream; each takes what is for its own missions.
 *
 * J1 Acknowledged after the journal's commit, never before; not after the work.
 * J2 What cannot be taken goes to `dlq.inject.<seq>` with the reason and the text, and then it is done: a bad message must not
 *    come back for ever. However many nodes refuse it, and however often, its dead letter is there once. What cannot be taken
 *    now (BUSY, a journal that is held) comes again.
 * J3 A refusal and its dead letter are two writes. Who was killed between them finds the message again, and what became of it
 *    in the journal.
 * J4 An event for a mission that is not here is a dead letter only when no node has it (unclaimed.ts). Until that is known it
 *    waits, and what comes for that mission waits behind it.
 */
import type { Bus, BusLog, Handled, Incoming, StreamPlace } from '../bus/bus.ts';
import { parseBytes } from '../bus/json-body.ts';
import { DEAD_LETTERS, OPS } from '../bus/streams.ts';
import { injectTarget, INJECT_PREFIX } from '../bus/subjects.ts';
import { toWireError } from '../bus/wire-error.ts';
import { faultPoint } from '../cells/durable.ts';
import { agentAddress, cellAddress } from '../machines/addresses.ts';
import { RuntimeError } from '../machines/errors.ts';
import { refuseDeep } from '../machines/input-depth.ts';
import type { JsonObject, JsonValue } from '../machines/json.ts';
import { injectEvent } from './inject.ts';
import { refusalOf } from './injection-refusal.ts';
import { InjectionPlace } from './injection-place.ts';
import { readerName } from './peers.ts';
import type { Claim, Peers } from './peers.ts';
import type { ActorSystem } from './system.ts';
import { GIVEN_UP_MS, Unclaimed } from './unclaimed.ts';
import { utf8Text } from './utf8-text.ts';
import type { HistorySource } from './why/newest-first.ts';

export interface InjectionOptions {
  bus: Bus;
  system: ActorSystem;
  nodeId: string;
  peers: Peers;
  /** Where it keeps how far it has come. */
  placeFile: string;
  /** What the journal says of a mission. */
  historyOf: (cellId: string) => HistorySource;
  log: BusLog;
}

const MAX_BYTES = 1024 * 1024;
/** Of a refused message's own text, in its dead letter. */
const MAX_KEPT = 16 * 1024;
const DAY_MS = 24 * 3600 * 1000;
/** A node that is away for longer is taken to be gone for good; it goes on from its own file when it does come back. */
const FORGOTTEN_AFTER_MS = 14 * DAY_MS;

export class Injection {
  readonly #options: InjectionOptions;
  readonly #unclaimed: Unclaimed;
  readonly #place: InjectionPlace;
  /** Why nothing is read (P6). */
  #held: string | null = null;
  #scanned: Promise<void> | undefined;
  #isScanned = false;
  #taken = 0;
  #refused = 0;

  constructor(options: InjectionOptions) {
    this.#options = options;
    this.#place = new InjectionPlace(options.placeFile);
    this.#unclaimed = new Unclaimed({
      bus: options.bus,
      peers: options.peers,
      place: this.#place,
      isHere: (cellId) => this.#isHere(cellId),
      take: (message) => this.#attempt(message),
      refuse: (message, error) => this.#refuse(message, error),
      log: options.log,
    });
  }

  /** `scanned`: all missions that were in the folder at the start are known. */
  start(scanned: Promise<void>): void {
    const { bus, nodeId, log } = this.#options;
    try {
      this.#place.load();
    } catch (error) {
      this.#held = error instanceof Error ? error.message : String(error);
      return log.warn({ reason: this.#held }, 'no events are taken from the bus');
    }
    this.#scanned = scanned.then(() => void (this.#isScanned = true));
    bus.consume(OPS.name, {
      durable: readerName(nodeId),
      subject: `${INJECT_PREFIX}.>`,
      forgottenAfterMs: FORGOTTEN_AFTER_MS,
      begin: (place) => this.#begin(place),
      handle: (message) => this.#take(message),
    });
    this.#unclaimed.start();
  }

  view(): { taken: number; refused: number; waiting: number; held: string | null } {
    const waiting = this.#place.waiting.length;
    return { taken: this.#taken, refused: this.#refused, waiting, held: this.#held };
  }

  /** For other nodes. */
  claimTo(cellId: string): Claim {
    const { nodeId } = this.#options;
    const isSure = this.#isScanned && this.#place.isBegun;
    const has = isSure ? this.#isHere(cellId) : null;
    return { node: nodeId, has, from: this.#place.from, upTo: this.#place.upTo(cellId) };
  }

  async close(): Promise<void> {
    await this.#unclaimed.close();
    await this.#place.save();
  }

  #begin({ readers, ...stream }: StreamPlace): Promise<number> {
    const { peers } = this.#options;
    if (this.#place.isAnew(stream)) peers.expect(this.#place.others);
    return this.#place.begin(stream, peers.noteReaders(readers));
  }

  #isHere(cellId: string): boolean {
    return this.#options.system.has(cellAddress(cellId));
  }

  async #take(message: Incoming): Promise<Handled> {
    const handled = await this.#takeOrWait(message);
    if (handled === 'done') await this.#place.passed(message.position.seq);
    return handled;
  }

  /** J4. */
  async #takeOrWait(message: Incoming): Promise<Handled> {
    const cellId = injectTarget(message.subject)?.cellId;
    const { seq } = message.position;
    if (cellId === undefined || !this.#place.isWaited(cellId)) {
      const handled = await this.#attempt(message);
      if (handled !== 'nobody') return handled;
      await this.#scanned;
      const again = await this.#attempt(message);
      if (again !== 'nobody') return again;
      try {
        const others = await this.#options.peers.others();
        if (others.length === 0) return await this.#refuse(message, nobodyAt(message.subject));
      } catch (error) {
        this.#options.log.warn({ error: String(error) }, 'the nodes on the bus are not known');
        return 'later';
      }
    }
    return (await this.#unclaimed.wait(seq, cellId ?? '')) ? 'done' : 'later';
  }

  /** `nobody`: it is sound, and its mission is not here. */
  async #attempt(message: Incoming): Promise<Handled | 'nobody'> {
    const { system, log } = this.#options;
    try {
      const { to, event } = read(message);
      if (await this.#isGivenUp(message)) return 'done';
      const { duplicate } = await injectEvent(system, to, event, { stream: message.position });
      faultPoint('inject.after-commit');
      if (duplicate) return await this.#takenBefore(message);
      this.#taken += 1;
      return 'done';
    } catch (error) {
      if (!(error instanceof RuntimeError))
        log.warn({ subject: message.subject, error: String(error) }, 'an injected event failed');
      else if (error.retryable) return 'later';
      else if (error.code === 'ACTOR_UNKNOWN') return 'nobody';
      faultPoint('inject.after-refusal');
      return this.#refuse(message, error);
    }
  }

  /** Another node has waited for us so long that it wrote the dead letter (unclaimed.ts, O2). */
  async #isGivenUp({ at, position }: Incoming): Promise<boolean> {
    if (Date.now() - at < GIVEN_UP_MS || this.#options.peers.known.length === 0) return false;
    const letter = await this.#options.bus.newest(DEAD_LETTERS.name, letterSubject(position));
    return letter !== undefined && letter.at >= at;
  }

  /** J3. */
  async #takenBefore(message: Incoming): Promise<Handled> {
    const cellId = injectTarget(message.subject)?.cellId;
    if (!message.isAgain || cellId === undefined) return 'done';
    const { position } = message;
    const source = this.#options.historyOf(cellId);
    const refusal = refusalOf(source, { address: cellAddress(cellId), position });
    return refusal === undefined ? 'done' : this.#refuse(message, refusal);
  }

  /** J2. */
  async #refuse(message: Incoming, error: unknown): Promise<Handled> {
    const { bus, log } = this.#options;
    const { subject, position } = message;
    try {
      const letter = letterOf(message, error);
      if (await bus.tellOnce(DEAD_LETTERS.name, letterSubject(position), letter))
        this.#refused += 1;
      return 'done';
    } catch (failure) {
      log.warn(
        { subject, error: String(failure) },
        'a dead letter was not written; it is tried again',
      );
      return 'later';
    }
  }
}

const letterSubject = ({ seq }: Incoming['position']): string => `dlq.inject.${seq}`;

const nobodyAt = (subject: string): RuntimeError =>
  new RuntimeError(`no actor lives at ${cellAddress(injectTarget(subject)?.cellId ?? '')}`, {
    code: 'ACTOR_UNKNOWN',
    hint: 'List them with `lazarus status`.',
  });

function letterOf(
  { subject, data, position: { stream, created, seq } }: Incoming,
  error: unknown,
): JsonObject & { id: string } {
  return {
    id: `${stream}:${created}:${seq}`,
    type: 'message.refused',
    at: new Date().toISOString(),
    source: subject,
    data: { error: { ...toWireError(error) }, bytes: data.length, ...keptText(data) },
  };
}

function read({ subject, data }: Incoming): { to: string; event: JsonValue } {
  const target = injectTarget(subject);
  if (target === undefined)
    throw new RuntimeError(`${subject.slice(0, 200)} names no mission`, {
      code: 'INVALID_ARGUMENT',
      hint: `Publish to ${INJECT_PREFIX}.<cell_id> or ${INJECT_PREFIX}.<cell_id>.<agent_id>.`,
    });
  if (data.length > MAX_BYTES)
    throw new RuntimeError(`an event of ${data.length} bytes; ${MAX_BYTES} are the most`, {
      code: 'TOO_LARGE',
    });
  const event = parseBytes(data);
  refuseDeep(event, 'the event is');
  const { cellId, agentId } = target;
  return { to: agentId === null ? cellAddress(cellId) : agentAddress(cellId, agentId), event };
}

function keptText(data: Uint8Array): { text: string } | { base64: string } {
  const start = data.subarray(0, MAX_KEPT);
  const text = utf8Text(start, { isCut: data.length > MAX_KEPT });
  return text === undefined ? { base64: Buffer.from(start).toString('base64') } : { text };
}
