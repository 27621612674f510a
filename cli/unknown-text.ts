/** Of which hosts and services of a homelab nobody says how they are: why all is not well though nothing drifts. */
import { brief } from './terminal.ts';

const MAX_SHOWN = 5;

/** `keys`: the first ones, hosts before services. Nothing while all is known. */
export function unknownText(keys: readonly string[]): string[] {
  if (keys.length === 0) return [];
  const names = keys.slice(0, MAX_SHOWN).map((key) => brief(key, 60));
  const others = keys.length > MAX_SHOWN ? ' and others' : '';
  return [`nobody says how ${names.join(', ')}${others} ${keys.length === 1 ? 'is' : 'are'}`];
}
