/**
 * What the planner makes of an event of the homelab: whether anything has to be done about it, what it says of the service,
 * and how much of it is kept. The names are those of the planner that this one stands in for.
 */
import type { HomelabEvent } from './homelab-events.ts';
import type { JsonObject } from './json.ts';
import { plainText } from './plain-text.ts';

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

export const isBenign = ({ type }: HomelabEvent): boolean =>
  BENIGN.has(type) || troubleEndedBy(type) !== null;

/**
 * `ha_websocket_recovered` ends what a type began that begins with `ha_websocket_`, and nothing else; null: it is no such word. A
 * service that has recovered is well as a whole.
 */
export function troubleEndedBy(type: string): string | null {
  if (WELL.has(type) || !type.endsWith(RECOVERED)) return null;
  const trouble = type.slice(0, -RECOVERED.length);
  return trouble === '' ? null : `${trouble}_`;
}
const RECOVERED = '_recovered';

/** What it says of its service; null: nothing. */
export function healthIn({ type }: HomelabEvent): boolean | null {
  if (WELL.has(type) || troubleEndedBy(type) !== null) return true;
  return BENIGN.has(type) ? null : false;
}

/** It ends the incident it is about; a host that is back online is an incident of the host's own. */
export const isRecovery = ({ type }: HomelabEvent): boolean =>
  WELL.has(type) || type === 'node_online' || troubleEndedBy(type) !== null;

/** Whether it says of a service with this trouble that it is well. */
export function endsTrouble({ type }: HomelabEvent, trouble: string): boolean {
  const ended = troubleEndedBy(type);
  return ended === null ? WELL.has(type) : trouble.startsWith(ended);
}

/** As people know a service: `<host>/<service>`. */
export const serviceKey = (host: string, service: string): string => `${host}/${service}`;

/** When it happened, epoch ms. */
export const happenedAt = ({ at }: HomelabEvent): number => Date.parse(at);

/** Longest payload that goes on from the planner, as JSON, in characters; the bridge's record has all of it. */
export const MAX_PAYLOAD_CHARS = 8000;

const MAX_TAG = 200;
/** Where it is, as its sender calls it; it goes with whatever comes of the event. Undefined: it does not say. */
export function locationTag({ data: { payload } }: HomelabEvent): string | undefined {
  const { location_tag: tag } = payload;
  const text = typeof tag === 'string' ? plainText(tag, MAX_TAG) : '';
  return text === '' ? undefined : text;
}

/** The event with a payload of bounded size: it is written into incidents, checkpoints and questions again and again (P8). */
export function boundedEvent(event: HomelabEvent): HomelabEvent {
  const text = JSON.stringify(event.data.payload);
  if (text.length <= MAX_PAYLOAD_CHARS) return event;
  const tag = locationTag(event);
  const payload: JsonObject = {
    ...(tag !== undefined && { location_tag: tag }),
    cut_off: `the payload has ${text.length} characters; this is how it begins`,
    beginning: text.slice(0, MAX_PAYLOAD_CHARS).toWellFormed(),
  };
  return { ...event, data: { ...event.data, payload } };
}
