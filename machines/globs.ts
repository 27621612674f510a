/** Globs as people write them into the policy: names of hosts, services, types of events. */

/** The first of the globs that fits the name; undefined: none does. */
export const matchingGlob = (globs: readonly string[], name: string): string | undefined =>
  globs.find((glob) => globMatches(glob, name));

/**
 * `*` stands for any characters, `?` for one; case does not count, so that `Chelsty-HA` does not slip through `chelsty-*`.
 * Never goes back further than the last `*`: no pattern takes more than length times length steps.
 */
export function globMatches(glob: string, name: string): boolean {
  const [pattern, text] = [Array.from(glob.toLowerCase()), Array.from(name.toLowerCase())];
  let [p, t, star, mark] = [0, 0, -1, 0];
  while (t < text.length) {
    if (pattern[p] === '*') [star, mark, p] = [p, t, p + 1];
    else if (p < pattern.length && (pattern[p] === '?' || pattern[p] === text[t]))
      [p, t] = [p + 1, t + 1];
    else if (star >= 0) [p, mark, t] = [star + 1, mark + 1, mark + 1];
    else return false;
  }
  while (pattern[p] === '*') p += 1;
  return p === pattern.length;
}

/**
 * Whether whatever fits the one fits the other too. Never wrongly so; of globs with several stars in a row of unlike parts it may
 * say no where it could say yes.
 */
export function globCovers(wide: string, narrow: string): boolean {
  const [pattern, text] = [Array.from(wide.toLowerCase()), Array.from(narrow.toLowerCase())];
  let [p, t, star, mark] = [0, 0, -1, 0];
  while (t < text.length) {
    if (pattern[p] === '*') [star, mark, p] = [p, t, p + 1];
    else if (p < pattern.length && fitsOne(pattern[p], text[t])) [p, t] = [p + 1, t + 1];
    else if (star >= 0) [p, mark, t] = [star + 1, mark + 1, mark + 1];
    else return false;
  }
  while (pattern[p] === '*') p += 1;
  return p === pattern.length;
}

/** Comparisons that are left. Lists from outside may be long: where none is left, the answer is no. */
export interface Budget {
  left: number;
}

/** Whether whatever one of the narrow ones fits is fitted by one of the wide; a list that is left out fits all. */
export function globsCover(
  wide: readonly string[] | undefined,
  narrow: readonly string[] | undefined,
  budget: Budget,
): boolean {
  if (wide === undefined) return true;
  return (narrow ?? ['*']).every((glob) =>
    wide.some((other) => {
      budget.left -= 1;
      return budget.left > 0 && globCovers(other, glob);
    }),
  );
}

/** One character of what is narrow; `?` stands for any one, and a star for none that is known. */
const fitsOne = (wide: string | undefined, narrow: string | undefined): boolean =>
  narrow !== '*' && (wide === '?' || wide === narrow);
