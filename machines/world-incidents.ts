/** The incidents of `world/incidents.json`, ours or another observer's, as a person reads them. */
import { isJsonObject } from './json.ts';
import type { JsonObject, JsonValue } from './json.ts';
import { plainText } from './plain-text.ts';
import { isoOrNull } from './time.ts';
import { MAX_NAME, eachEntry, nameIn } from './world-forms.ts';
import type { WorldContent } from './world-forms.ts';
import { isActive, timeIn, triggerOf } from './world-words.ts';

/** Times are ISO-8601, null: it does not say. */
export interface WorldIncident extends JsonObject {
  id: string;
  host: string | null;
  /** Null: it is about the host itself. */
  service: string | null;
  active: boolean;
  type: string | null;
  severity: string | null;
  occurrences: number;
  created_at: string | null;
  last_seen: string | null;
  resolved_at: string | null;
  resolved_by: string | null;
}

/** The newest first. Total: any JSON gives a list. */
export function incidentsIn(file: WorldContent | null): WorldIncident[] {
  const found: { incident: WorldIncident; at: number }[] = [];
  eachEntry(file, 'incidents', (key, entry) => {
    const incident = isJsonObject(entry) ? incidentOf(key, entry) : undefined;
    if (incident !== undefined)
      found.push({ incident, at: timeIn(entry as JsonObject, TIMES) ?? 0 });
  });
  const byAge = found.sort((a, b) => b.at - a.at || (a.incident.id < b.incident.id ? -1 : 1));
  return byAge.map(({ incident }) => incident);
}

const SEEN = ['last_seen', 'last_seen_at', 'updated_at'];
const CREATED = ['created_at', 'opened_at', 'first_seen', 'timestamp'];
const TIMES = [...SEEN, ...CREATED];
const TYPE_FIELDS = ['type', 'trigger', 'event_type', 'last_type'];

function incidentOf(key: string | null, entry: JsonObject): WorldIncident | undefined {
  const id = wordsIn(key ?? nameIn(entry, 'id', 'incident_id'));
  if (id === null) return undefined;
  const host = wordsIn(nameIn(entry, 'node', 'host'));
  const service = wordsIn(nameIn(entry, 'service'));
  const timeOf = (fields: readonly string[]): string | null => isoOrNull(timeIn(entry, fields));
  return {
    id,
    host,
    service: service === host ? null : service,
    active: isActive(entry),
    type: typeIn(entry),
    severity: wordsIn(entry['severity']),
    occurrences: countIn(entry),
    created_at: timeOf(CREATED),
    last_seen: timeOf(SEEN),
    resolved_at: timeOf(['resolved_at']),
    resolved_by: wordsIn(entry['resolved_by']),
  };
}

/** What it began with, as a word. */
export function typeIn(entry: JsonObject): string | null {
  let type: string | null = null;
  for (const field of TYPE_FIELDS) type ??= triggerOf(entry[field]);
  return type;
}

/** How often it was heard; once, where it does not say. */
export function countIn(entry: JsonObject): number {
  const { occurrence_count: count = entry['occurrences'] } = entry;
  return typeof count === 'number' && count >= 1 ? Math.floor(Math.min(count, 1e9)) : 1;
}

function wordsIn(value: JsonValue | undefined): string | null {
  const text = typeof value === 'string' ? plainText(value, MAX_NAME) : '';
  return text === '' ? null : text;
}
