/**
 * The event files by which the planner tells other programs of the homelab what it does: that an action was proposed, and
 * what became of it. `events/<day>/<node>/evt-<node>-<unix seconds>-<type>-<service>.json`, `node` being who tells it.
 */
import type { JsonObject } from './json.ts';
import { executorType, fileToken } from './proposal.ts';
import type { Diagnosis } from './proposal.ts';
import type { ActionStatus, ProposedAction } from './remediation.ts';
import { isoFromEpoch } from './time.ts';

interface Common extends JsonObject {
  service: string;
  /** The action it is about. */
  actionId: string;
  /** Epoch ms. */
  at: number;
}
export interface Started extends Common {
  type: 'remediation_started';
  severity: 'info';
  payload: {
    action: ProposedAction;
    executor_type: string;
    node: string;
    action_id: string;
    requires_human: boolean;
    confidence: number;
    llm_model: string;
    location_tag?: string;
  };
}
export interface Completed extends Common {
  type: 'remediation_completed';
  severity: 'info' | 'error';
  payload: { action_id: string; status: ActionStatus; reason: string | null };
}
/** As incidents hand it to the effect that writes the file. */
export type Announcement = Started | Completed;

interface About {
  host: string;
  service: string;
  actionId: string;
  at: number;
  /** Of the event. */
  locationTag?: string | undefined;
}

export function started(
  { host, service, actionId, at, locationTag }: About,
  { proposal, model }: Pick<Diagnosis, 'proposal' | 'model'>,
): Started {
  const { action, requires_human, confidence } = proposal;
  return {
    type: 'remediation_started',
    severity: 'info',
    service,
    actionId,
    at,
    payload: {
      action,
      executor_type: executorType(action).type,
      node: host,
      action_id: actionId,
      requires_human,
      confidence,
      llm_model: model,
      ...(locationTag !== undefined && { location_tag: locationTag }),
    },
  };
}

export function completed(
  { service, actionId, at }: Omit<About, 'host'>,
  { status, reason }: { status: ActionStatus; reason: string | null },
): Completed {
  return {
    type: 'remediation_completed',
    severity: status === 'completed' ? 'info' : 'error',
    service,
    actionId,
    at,
    payload: { action_id: actionId, status, reason },
  };
}

export interface EventFile {
  /** Below the folder of events. */
  folder: string;
  /** Without `.json`, for one that is taken gets a number behind it. */
  name: string;
  content: JsonObject;
}

const MAX_NAME = 80;

export function eventFile(announcement: Announcement, nodeName: string): EventFile {
  const { type, severity, service, actionId, at, payload } = announcement;
  const time = isoFromEpoch(at);
  const node = fileToken(nodeName, MAX_NAME);
  const slug = fileToken((service === '' ? 'planner' : service).replaceAll(/[/ ]/g, '-'), MAX_NAME);
  return {
    folder: `${time.slice(0, 10)}/${node}`,
    name: `evt-${node}-${Math.floor(at / 1000)}-${type}-${slug}`,
    content: {
      timestamp: `${time.slice(0, 19)}Z`,
      node: nodeName,
      type,
      severity,
      source: 'planner-agent',
      service,
      correlation_id: actionId,
      payload,
    },
  };
}
