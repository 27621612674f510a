/** Whether two observations of a host are alike. */
import type { ObservedHost, ObservedNode, ObservedService } from './supervision.ts';

export function isSameObservation(a: ObservedHost, b: ObservedHost): boolean {
  return (
    a.servicesKnown === b.servicesKnown &&
    isSameNode(a.node, b.node) &&
    areSame(a.services, b.services, isSameService) &&
    areSame(
      a.deployments,
      b.deployments,
      (one, other) => one.failures === other.failures && one.lastFailedAt === other.lastFailedAt,
    ) &&
    areSameIncidents(a, b)
  );
}

function areSame<T>(
  a: ReadonlyMap<string, T>,
  b: ReadonlyMap<string, T>,
  isSame: (one: T, other: T) => boolean,
): boolean {
  if (a.size !== b.size) return false;
  for (const [name, one] of a) {
    const other = b.get(name);
    if (other === undefined || !isSame(one, other)) return false;
  }
  return true;
}

const isSameNode = (a: ObservedNode | null, b: ObservedNode | null): boolean =>
  a === b ||
  (a !== null &&
    b !== null &&
    a.condition === b.condition &&
    a.seenAt === b.seenAt &&
    a.status === b.status &&
    a.diskPressure === b.diskPressure);

const isSameService = (a: ObservedService, b: ObservedService): boolean =>
  a.condition === b.condition &&
  a.seenAt === b.seenAt &&
  a.status === b.status &&
  a.trigger === b.trigger;

const areSameIncidents = (
  { incidents: a }: ObservedHost,
  { incidents: b }: ObservedHost,
): boolean =>
  a.length === b.length &&
  a.every((one, i) => {
    const other = b[i];
    return (
      other !== undefined &&
      one.id === other.id &&
      one.service === other.service &&
      one.type === other.type &&
      one.occurrences === other.occurrences
    );
  });
