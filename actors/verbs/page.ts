/** A part of a long list, for callers who cannot take it whole: so many, after the one that the last answer ended with. */
import type { JsonObject } from '../../machines/json.ts';

const MAX_LIMIT = 1000;

/** Fields of a verb's input. */
export const PAGE_FIELDS: JsonObject = {
  limit: { type: 'integer', minimum: 1, maximum: MAX_LIMIT, description: 'Most in an answer.' },
  after: {
    type: 'string',
    maxLength: 200,
    description: '`next` of the answer before: goes on behind it.',
  },
};

export type PageInput = { limit?: number; after?: string };

/**
 * `keyOf` gives each item another key; the list is brought into the order of the keys, so that what comes and goes between
 * two pages makes nothing appear twice. Without `limit` the list is whole. `next` is there when there is more.
 */
export function pageOf<T>(
  items: readonly T[],
  keyOf: (item: T) => string,
  { limit, after }: PageInput,
): { items: readonly T[]; next?: string } {
  if (limit === undefined && after === undefined) return { items };
  const rest = items
    .map((item) => ({ item, key: keyOf(item) }))
    .filter(({ key }) => after === undefined || key > after)
    .toSorted((a, b) => (a.key < b.key ? -1 : 1));
  const page = rest.slice(0, limit ?? rest.length);
  const last = page.at(-1);
  const next = last && page.length < rest.length ? { next: last.key } : {};
  return { items: page.map(({ item }) => item), ...next };
}
