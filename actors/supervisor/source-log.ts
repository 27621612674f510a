/** How a source of files tells what it could not take: each problem once when it appears, and that it is over. */
import type { JsonObject } from '../../machines/json.ts';

type Line = (fields: Record<string, unknown>, message: string) => void;
export interface SourceLog {
  info: Line;
  warn: Line;
}

export interface Told {
  /** Equal ids: the same problem. */
  id: string;
  fields: JsonObject;
}

/** Lines for one look; the rest is counted. */
const MAX_LINES = 20;

export class TellOnce {
  readonly #log: SourceLog;
  readonly #texts: { bad: string; mended: string };
  #known = new Map<string, Told>();

  constructor(log: SourceLog, texts: { bad: string; mended: string }) {
    this.#log = log;
    this.#texts = texts;
  }

  /** All that is wrong now. */
  update(now: readonly Told[]): void {
    const before = this.#known;
    this.#known = new Map(now.map((told) => [told.id, told]));
    const news = [...this.#known.values()].filter(({ id }) => !before.has(id));
    for (const { fields } of news.slice(0, MAX_LINES)) this.#log.warn(fields, this.#texts.bad);
    if (news.length > MAX_LINES) this.#log.warn({ more: news.length - MAX_LINES }, this.#texts.bad);
    const over = [...before.values()].filter(({ id }) => !this.#known.has(id));
    for (const { fields } of over.slice(0, MAX_LINES)) this.#log.info(fields, this.#texts.mended);
  }
}
