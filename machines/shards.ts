/**
 * Many things by name in a context that is never changed but copied: they stand in shards, so that a change copies one shard
 * and not all. Any text is a name (`__proto__` too).
 */
export interface Shards<T> {
  size: number;
  /** By shard, by name. */
  by: Readonly<Record<string, Readonly<Record<string, T>>>>;
}

const COUNT = 32;

export const noShards = <T>(): Shards<T> => ({ size: 0, by: {} });

export function inShards<T>({ by }: Shards<T>, name: string): T | undefined {
  const shard = by[shardOf(name)];
  return shard !== undefined && Object.hasOwn(shard, name) ? shard[name] : undefined;
}

export function withEntry<T>(shards: Shards<T>, name: string, value: T): Shards<T> {
  const key = shardOf(name);
  const shard = shards.by[key] ?? {};
  const size = Object.hasOwn(shard, name) ? shards.size : shards.size + 1;
  return { size, by: { ...shards.by, [key]: { ...shard, [name]: value } } };
}

/** Each shard is copied once, however many of its entries change. */
export function withEntries<T>(
  { size, by }: Shards<T>,
  entries: Iterable<readonly [name: string, value: T]>,
): Shards<T> {
  const changes = Map.groupBy(entries, ([name]) => shardOf(name));
  const changed = [...changes].map(([key, some]): [string, Readonly<Record<string, T>>] => [
    key,
    { ...by[key], ...Object.fromEntries(some) },
  ]);
  const sizes = changed.map(([key, shard]) => sizeOf(shard) - sizeOf(by[key] ?? {}));
  return {
    size: sizes.reduce((sum, more) => sum + more, size),
    by: { ...by, ...Object.fromEntries(changed) },
  };
}

const sizeOf = (shard: Readonly<Record<string, unknown>>): number => Object.keys(shard).length;

export function withoutEntry<T>(shards: Shards<T>, name: string): Shards<T> {
  if (inShards(shards, name) === undefined) return shards;
  const key = shardOf(name);
  const { [name]: _, ...rest } = shards.by[key] ?? {};
  const { [key]: __, ...others } = shards.by;
  const isEmpty = Object.keys(rest).length === 0;
  return { size: shards.size - 1, by: isEmpty ? others : { ...others, [key]: rest } };
}

export const namesIn = <T>({ by }: Shards<T>): string[] =>
  Object.values(by).flatMap((shard) => Object.keys(shard));

export const valuesIn = <T>({ by }: Shards<T>): T[] =>
  Object.values(by).flatMap((shard) => Object.values(shard));

export function entriesIn<T>({ by }: Shards<T>): [name: string, value: T][] {
  return Object.values(by).flatMap((shard) => Object.entries(shard));
}

/** Any spread will do. */
function shardOf(name: string): string {
  let sum = 0;
  for (let i = 0; i < name.length; i += 1) sum = (sum * 31 + name.charCodeAt(i)) | 0;
  return String((sum >>> 0) % COUNT);
}
