/**
 * What the planner makes of an event of the homelab: whether anything has to be done about it, what it says of the service,
 * and how much of it is kept. The names are those of the planner that this one stands in for.
 */
import type { HomelabEvent } from './homelab-events.ts';
import type { JsonObject } from './json.ts';

/** Nothing has to be done about these. */
const BENIGN: ReadonlySet<string> = new Set([
  'service_healthy',
  'service_recovered',
  'node_online',
  'deployment_completed',
  'deployment_started',
  'remediation_started',
  'remediation_completed',
]);
/** Of these, the ones by which a service says that it is well. */
const WELL: ReadonlySet<string> = new Set(['service_healthy', 'service_recovered']);

export const isBenign = ({ type }: HomelabEvent): boolean => BENIGN.has(type);

/** What it says of its service; null: nothing. */
export function healthIn({ type }: HomelabEvent): boolean | null {
  if (WELL.has(type)) return true;
  return BENIGN.has(type) ? null : false;
}

/** It ends the incident it is about; a host that is back online is an incident of the host's own. */
export const isRecovery = ({ type }: HomelabEvent): boolean =>
  WELL.has(type) || type === 'node_online';

/** As people know a service: `<host>/<service>`. */
export const serviceKey = (host: string, service: string): string => `${host}/${service}`;

/** When it happened, epoch ms. */
export const happenedAt = ({ at }: HomelabEvent): number => Date.parse(at);

/** Longest payload that goes on from the planner, as JSON, in characters; the bridge's record has all of it. */
export const MAX_PAYLOAD_CHARS = 8000;

/** The event with a payload of bounded size: it is written into incidents, checkpoints and questions again and again (P8). */
export function boundedEvent(event: HomelabEvent): HomelabEvent {
  const text = JSON.stringify(event.data.payload);
  if (text.length <= MAX_PAYLOAD_CHARS) return event;
  const payload: JsonObject = {
    cut_off: `the payload has ${text.length} characters; this is how it begins`,
    beginning: text.slice(0, MAX_PAYLOAD_CHARS).toWellFormed(),
  };
  return { ...event, data: { ...event.data, payload } };
}
