/**
 * How a step of a drift is told to other programs: the content of its event file, as other event files of the homelab are, and
 * its line in `state/agent-events.log`. `node` is who tells it; the host it is about stands in the payload.
 */
import { asJsonObject } from './json.ts';
import type { JsonObject } from './json.ts';
import { fileToken } from './proposal.ts';
import type { EventFile } from './remediation-event.ts';
import type { DriftStep } from './supervision.ts';
import { isoFromEpoch } from './time.ts';

/** As a drift hands it to the effect that tells it. */
export interface Telling {
  step: DriftStep;
  /** No other step has it, also not in another life of the drift. */
  id: string;
  /** Epoch ms. */
  at: number;
}

const SOURCE = 'supervisor';
const MAX_NAME = 80;

const SEVERITY: Readonly<Record<DriftStep['what'], 'info' | 'warning' | 'error'>> = {
  reconcile_required: 'warning',
  reconcile_recommended: 'info',
  reconcile_blocked: 'error',
  drift_resolved: 'info',
  action_proposed: 'info',
  action_approved: 'info',
  action_cancelled: 'info',
  action_ended: 'info',
  remedy_verified: 'info',
  remedy_escalated: 'error',
};

export function stepFile({ step, at }: Telling, nodeName: string): EventFile {
  const time = isoFromEpoch(at);
  const node = fileToken(nodeName, MAX_NAME);
  const service = serviceOf(step);
  const slug = fileToken(service.replaceAll(/[/ ]/g, '-'), MAX_NAME);
  return {
    folder: `${time.slice(0, 10)}/${node}`,
    name: `evt-${node}-${Math.floor(at / 1000)}-${step.what}-${slug}`,
    content: {
      timestamp: `${time.slice(0, 19)}Z`,
      node: nodeName,
      type: step.what,
      severity: SEVERITY[step.what],
      source: SOURCE,
      service,
      correlation_id: step.action_id ?? step.recommendation.id,
      payload: payloadOf(step),
    },
  };
}

/** Of the log that grows; `id` names the step. */
export function stepLine({ step, id, at }: Telling): JsonObject & { id: string } {
  return {
    id,
    timestamp: isoFromEpoch(at),
    source: SOURCE,
    type: step.what,
    severity: SEVERITY[step.what],
    node: step.host,
    service: serviceOf(step),
    payload: payloadOf(step),
  };
}

/** An event about a host is one of the service that bears its name, as other programs read it. */
const serviceOf = ({ host, service }: DriftStep): string => service ?? host;

function payloadOf({ what: _what, host, since, ...step }: DriftStep): JsonObject {
  return { ...asJsonObject(step), node: host, since: since / 1000 };
}
