/**
 * Subjects of the bus. General to specific, one token for each name, so that `nats sub 'missions.<cell>.>'` does what one
 * expects.
 *
 *   missions.<cell>.events                     what a mission's own actor took in
 *   missions.<cell>.agents.<agent>.events      what an agent's actor took in
 *   missions.<system cell>.<part>....events    what the runtime's own actors took in: `lazarus.<cell>.<agent>`, `bridge.redis`
 *   ops.inject.<cell>[.<agent>]                events for a mission or an agent, from outside
 *   svc.lazarus.<verb>                         requests; outside every stream, since a stream would answer them first
 *   homelab.health_events.<host>.<service>, homelab.world_updates.<host>.<service|_>
 *   homelab.reconcile.<host>.<service|_>       what the supervisor says of a service, or a host
 *   actions.<id>.<status>                      what became of an action; <status> may be `held` too
 *   dlq.>                                      what was refused, and why
 */
import { nameToken, SYSTEM_CELL_ID } from '../machines/addresses.ts';

export const INJECT_PREFIX = 'ops.inject';
export const SERVICE_PREFIX = 'svc.lazarus';

/** A name as one token. An empty name is `_`. */
export const subjectToken = (name: string): string => (name === '' ? '_' : nameToken(name));

/** The name that a token stands for; undefined when it is none of ours. */
export function nameOfToken(token: string): string | undefined {
  if (token === '' || !/^(?:[A-Za-z0-9_-]|%[0-9A-Fa-f]{2})+$/.test(token)) return undefined;
  try {
    return decodeURIComponent(token);
  } catch {
    return undefined; // bytes that are no UTF-8
  }
}

/** Where what an actor took in is published. */
export function eventsSubject(address: string): string {
  const [kind, ...names] = address.split('/').map(subjectToken);
  const [cellId, member, agentId] = names;
  if (kind !== 'cell' || cellId === undefined)
    return ['missions', SYSTEM_CELL_ID, ...names, 'events'].join('.');
  if (member === 'agent' && agentId !== undefined)
    return `missions.${cellId}.agents.${agentId}.events`;
  return ['missions', ...names, 'events'].join('.');
}

/** To whom an injected event goes: `ops.inject.<cell>[.<agent>]`. Undefined when the subject is none of these. */
export function injectTarget(
  subject: string,
): { cellId: string; agentId: string | null } | undefined {
  if (!subject.startsWith(`${INJECT_PREFIX}.`)) return undefined;
  const tokens = subject.slice(INJECT_PREFIX.length + 1).split('.');
  const [cellId, agentId] = tokens.map(nameOfToken);
  if (cellId === undefined || tokens.length > 2) return undefined;
  if (tokens.length === 2 && agentId === undefined) return undefined;
  return { cellId, agentId: agentId ?? null };
}

/** `homelab.health_events.<host>.<service>`; an update that names no service has `_` in its place. */
export function homelabSubject({
  channel,
  host,
  service,
}: {
  channel: string;
  host: string;
  service: string;
}): string {
  const kind = channel.replace(/^homelab:/, ''); // the stream `homelab:events`
  return ['homelab', kind, host, service].map(subjectToken).join('.');
}

/** `actions.<id>.<status>` */
export const actionSubject = (id: string, status: string): string =>
  ['actions', id, status].map(subjectToken).join('.');

/** `dlq.redis.<channel>`: what the bridge at that address refused. */
export function deadLetterSubject(bridge: string, channel: string): string {
  const [, , name = ''] = bridge.split('/');
  return ['dlq', name, channel].map(subjectToken).join('.');
}
