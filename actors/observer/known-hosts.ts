/**
 * Which hosts the inventory has, and what else they are called, for the observer: what is in no inventory does not belong into
 * the world. Its problems are told by the supervisor, which reads it for more.
 */
import type { Desired } from '../../machines/supervision.ts';
import { DesiredSource } from '../supervisor/desired-source.ts';

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
  let last: Desired | undefined;
  let known: KnownHosts | null = null;
  return async () => {
    const look = await source.look(Date.now());
    if (!look.ok || look.value === last) return known;
    last = look.value;
    const { hosts } = last;
    known =
      hosts.size === 0
        ? null
        : { hosts: new Set(hosts.keys()), aliases: Object.fromEntries(last.aliases) };
    return known;
  };
}
