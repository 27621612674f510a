/**
 * Events from people and programs on the bus: `ops.inject.<cell>[.<agent>]`. What was published while no node ran is there
 * when one does, and each is taken once: by its own id, or by where it stands in the stream.
 *
 * J1 Acknowledged after the journal's commit, never before; not after the work.
 * J2 What cannot be taken goes to `dlq.inject` with the reason and the text, and then it is done: a bad message must not come
 *    back for ever. What cannot be taken now (BUSY, a journal that is held) comes again.
 */
import type { Bus, BusLog, Handled, Incoming } from '../bus/bus.ts';
import { parseBytes } from '../bus/json-body.ts';
import { OPS } from '../bus/streams.ts';
import { injectTarget, INJECT_PREFIX } from '../bus/subjects.ts';
import { toWireError } from '../bus/wire-error.ts';
import { faultPoint } from '../cells/durable.ts';
import { agentAddress, cellAddress } from '../machines/addresses.ts';
import { RuntimeError } from '../machines/errors.ts';
import { refuseDeep } from '../machines/input-depth.ts';
import type { JsonValue } from '../machines/json.ts';
import { injectEvent } from './inject.ts';
import type { ActorSystem } from './system.ts';

export interface InjectionOptions {
  bus: Bus;
  system: ActorSystem;
  nodeId: string;
  log: BusLog;
}

const MAX_BYTES = 1024 * 1024;
/** Of a refused message's own text, in its dead letter. */
const MAX_KEPT = 16 * 1024;

export class Injection {
  readonly #options: InjectionOptions;
  #taken = 0;
  #refused = 0;

  constructor(options: InjectionOptions) {
    this.#options = options;
  }

  start(): void {
    const { bus, nodeId } = this.#options;
    bus.consume(
      OPS.name,
      { durable: `lazarus-${nodeId}`, subject: `${INJECT_PREFIX}.>` },
      (message) => this.#take(message),
    );
  }

  view(): { taken: number; refused: number } {
    return { taken: this.#taken, refused: this.#refused };
  }

  async #take(message: Incoming): Promise<Handled> {
    const { system, log } = this.#options;
    try {
      const { to, event } = read(message);
      const { duplicate } = await injectEvent(system, to, event, { stream: message.position });
      faultPoint('inject.after-commit');
      if (!duplicate) this.#taken += 1;
      return 'done';
    } catch (error) {
      if (error instanceof RuntimeError && error.retryable) return 'later';
      if (!(error instanceof RuntimeError))
        log.warn({ subject: message.subject, error: String(error) }, 'an injected event failed');
      return this.#refuse(message, error);
    }
  }

  /** J2. */
  async #refuse({ subject, data, position }: Incoming, error: unknown): Promise<Handled> {
    const { bus, log } = this.#options;
    const { stream, created, seq } = position;
    const letter = {
      id: `${stream}:${created}:${seq}`,
      type: 'message.refused',
      at: new Date().toISOString(),
      source: subject,
      data: { error: { ...toWireError(error) }, bytes: data.length, ...keptText(data) },
    };
    try {
      await bus.tell('dlq.inject', letter, `dlq:${letter.id}`);
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
  const start = Buffer.from(data.subarray(0, MAX_KEPT));
  const text = start.toString('utf8');
  return text.includes('\uFFFD') ? { base64: start.toString('base64') } : { text };
}
