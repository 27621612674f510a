/**
 * Which hosts the inventory has, and what else they are called, for the observer: what is in no inventory does not belong into
 * the world. A host whose file cannot be understood is in it all the same. Its problems are told by the supervisor, which reads
 * it for more.
 */
import { DesiredSource } from '../supervisor/desired-source.ts';
import type { DesiredLook } from '../supervisor/desired-source.ts';

export interface KnownHosts {
  hosts: ReadonlySet<string>;
  /** To names of hosts. */
  aliases: Record<string, string>;
}
/** Null: there is no inventory, or none that can be read: every host may belong there. */
export type AskInventory = () => Promise<KnownHosts | null>;

const QUIET = { info: () => undefined, warn: () => undefined };

export function askInventory(
  folder: string,
  aliases: Readonly<Record<string, string>>,
): AskInventory {
  const source = new DesiredSource(folder, {
    log: QUIET,
    aliases: new Map(Object.entries(aliases)),
  });
  let last: DesiredLook | undefined;
  let known: KnownHosts | null = null;
  return async () => {
    const look = await source.look(Date.now());
    if (!look.ok || (last?.ok === true && isSame(last, look))) return known;
    last = look;
    const hosts = new Set([...look.value.hosts.keys(), ...look.unread]);
    known = hosts.size === 0 ? null : { hosts, aliases: Object.fromEntries(look.value.aliases) };
    return known;
  };
}

type Looked = Extract<DesiredLook, { ok: true }>;
const isSame = (a: Looked, b: Looked): boolean =>
  a.value === b.value && a.unread.join('/') === b.unread.join('/');
