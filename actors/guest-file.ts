/**
 * Which ids registered themselves by a heartbeat, kept over restarts: one that vanished with the runtime's restart would be
 * an agent that nobody misses. Their beats are not kept; nobody knows what came while the runtime was down.
 */
import { readFileSync, renameSync } from 'node:fs';
import { writeWhole } from '../cells/durable.ts';
import { hasCode } from '../cells/inside.ts';
import { ID_PATTERN } from '../machines/addresses.ts';
import { toPlainError } from '../machines/errors.ts';
import { isJsonObject } from '../machines/json.ts';
import type { JsonObject } from '../machines/json.ts';
import type { SystemLog } from './system.ts';

const SAVE_MS = 1000;

type Guests = [agentId: string, metadata: JsonObject][];

export class GuestFile {
  readonly #path: string;
  readonly #log: SystemLog;
  #pending: (() => Guests) | undefined;
  #timer: NodeJS.Timeout | undefined;
  #writing: Promise<void> = Promise.resolve();

  constructor(path: string, log: SystemLog) {
    this.#path = path;
    this.#log = log;
  }

  /** One that cannot be read is set aside and said (P6). */
  load(): Guests {
    let text: string;
    try {
      text = readFileSync(this.#path, 'utf8');
    } catch (error) {
      if (hasCode(error, 'ENOENT')) return [];
      throw error;
    }
    try {
      return parse(text);
    } catch (error) {
      const kept = `${this.#path}.unreadable`;
      renameSync(this.#path, kept);
      this.#log.warn({ kept, error: toPlainError(error) }, 'registered agents cannot be read');
      return [];
    }
  }

  /** Within a second; `guests` is asked when the file is written. */
  save(guests: () => Guests): void {
    this.#pending = guests;
    this.#timer ??= setTimeout(() => void this.flush(), SAVE_MS).unref();
  }

  /** Resolves when everything saved so far is in the file. A failure is logged; the next save tries again. */
  flush(): Promise<void> {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const guests = this.#pending;
    this.#pending = undefined;
    if (guests)
      this.#writing = this.#writing
        .then(() => this.#write(guests()))
        .catch((error: unknown) => {
          this.#log.warn({ error: toPlainError(error) }, 'registered agents not written');
        });
    return this.#writing;
  }

  async #write(guests: Guests): Promise<void> {
    const text = JSON.stringify({ agents: Object.fromEntries(guests) }, null, 2);
    const options = { sync: false, mode: 0o600, what: 'guests' };
    await writeWhole(this.#path, `${text}\n`, options);
  }
}

function parse(text: string): Guests {
  const content: unknown = JSON.parse(text);
  const agents = isJsonObject(content) ? content['agents'] : undefined;
  if (!isJsonObject(agents)) throw new TypeError('it has no "agents"');
  return Object.entries(agents).flatMap(([agentId, metadata]) =>
    ID_PATTERN.test(agentId) ? [[agentId, isJsonObject(metadata) ? metadata : {}]] : [],
  );
}
