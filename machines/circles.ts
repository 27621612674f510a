/** Things that need one another in a circle. */

type Keys = readonly string[];

/**
 * Strongly connected components of more than one member, or of one that needs itself, in what the roots reach; sorted. Without
 * recursion. Source: Tarjan, "Depth-first search and linear graph algorithms" (1972).
 */
export function circlesFrom(roots: Iterable<string>, needsOf: (key: string) => Keys): Keys[] {
  const circles: Keys[] = [];
  const visits = new Map<string, Visit>();
  const open: Visit[] = [];
  const path: Visit[] = [];
  const enter = (key: string): void => {
    const needs = needsOf(key);
    if (needs.length === 0) return; // in no circle
    const order = visits.size;
    const visit = { key, needs, next: 0, order, low: order, isOpen: true };
    visits.set(key, visit);
    open.push(visit);
    path.push(visit);
  };
  const close = (visit: Visit): void => {
    const members = open.splice(open.lastIndexOf(visit));
    for (const member of members) member.isOpen = false;
    if (members.length > 1 || visit.needs.includes(visit.key))
      circles.push(members.map(({ key }) => key).sort());
  };
  for (const root of roots) {
    if (!visits.has(root)) enter(root);
    for (let visit = path.at(-1); visit !== undefined; visit = path.at(-1)) {
      const need = visit.needs[visit.next];
      visit.next += 1;
      const other = need === undefined ? undefined : visits.get(need);
      if (need === undefined) {
        path.pop();
        const parent = path.at(-1);
        if (parent !== undefined) parent.low = Math.min(parent.low, visit.low);
        if (visit.low === visit.order) close(visit);
      } else if (other === undefined) enter(need);
      else if (other.isOpen) visit.low = Math.min(visit.low, other.order);
    }
  }
  return circles;
}

interface Visit {
  key: string;
  needs: Keys;
  /** Index of the need that is looked at next. */
  next: number;
  order: number;
  low: number;
  isOpen: boolean;
}
