/** Events, answers and an incident of a homelab, for tests of the planner. */
import { incidentMachine } from '../../machines/incident.machine.ts';
import type { IncidentContext } from '../../machines/incident-context.ts';
import type { HomelabEvent } from '../../machines/homelab-events.ts';
import { asJsonObject } from '../../machines/json.ts';
import type { JsonObject } from '../../machines/json.ts';
import type { Diagnosis } from '../../machines/proposal.ts';
import type { ActionEvent, Proposal } from '../../machines/remediation.ts';
import { isoFromEpoch } from '../../machines/time.ts';
import { MachineDriver } from './machine-driver.ts';
import type { Clock, Reaction } from './machine-driver.ts';

export const HOST = 'piha';
export const SERVICE = 'mosquitto';
export const COOLDOWN_S = 300;

/** `at`: epoch ms. */
export function homelabEvent(
  at: number,
  type = 'service_unhealthy',
  more: JsonObject = {},
): HomelabEvent {
  return {
    id: `e${at}`,
    type,
    at: isoFromEpoch(at),
    source: 'redis:health_events',
    data: {
      host: HOST,
      service: SERVICE,
      severity: 'error',
      payload: {},
      channel: 'health_events',
      ...more,
    },
  };
}

export const proposal = (more: Partial<Proposal> = {}): Proposal => ({
  action: 'restart',
  service: SERVICE,
  node: HOST,
  reason: 'Container is stopped',
  confidence: 0.9,
  requires_human: false,
  ...more,
});

export function diagnosis(more: Partial<Proposal> = {}): Diagnosis {
  return {
    proposal: proposal(more),
    answered: proposal(more),
    guardrails: [],
    model: 'ollama/qwen2.5:7b',
    attempts: 1,
    policySha256: null,
  };
}

/** One incident, and what a test does to it. */
export class IncidentDriver {
  readonly machine: MachineDriver;

  constructor(clock?: Clock) {
    this.machine = new MachineDriver(incidentMachine, { host: HOST, service: SERVICE }, clock);
  }

  get context(): IncidentContext {
    return this.machine.snapshot.context as IncidentContext;
  }

  get life(): string {
    return (this.machine.value as { life: string }).life;
  }

  get at(): number {
    return this.machine.clock.at;
  }

  /** An event that happens now. */
  hears(type?: string, cooldownSeconds = COOLDOWN_S): Reaction {
    const event = homelabEvent(this.at, type);
    return this.deliver({
      type: 'incident.event',
      channel: 'health_events',
      event,
      cooldownSeconds,
    });
  }

  recovers(type = 'service_recovered'): Reaction {
    return this.deliver({ type: 'incident.recovered', event: homelabEvent(this.at, type) });
  }

  answers(more: Partial<Proposal> = {}): Reaction {
    return this.machine.done('diagnosis', diagnosis(more));
  }

  /** As a rule of the policy answers, about the event that is looked into. */
  isRuled(more: Partial<Proposal> = {}, seconds: number | null = null): Reaction {
    const type = this.context.current?.event.type ?? '';
    const byRule = { model: 'rules/r', attempts: 0, quiets: { type, seconds } };
    return this.machine.done('diagnosis', { ...diagnosis(more), ...byRule });
  }

  deliver(event: { type: string; [more: string]: unknown }): Reaction {
    return this.machine.deliver(asJsonObject(event) as { type: string });
  }

  /** The action that was proposed last. */
  get proposed(): Extract<ActionEvent, { type: 'action.propose' }> {
    const sent = this.machine.sent.findLast(({ event }) => event.type === 'action.propose');
    if (sent === undefined) throw new Error('nothing was proposed');
    return sent.event as unknown as Extract<ActionEvent, { type: 'action.propose' }>;
  }

  get actionId(): string {
    return this.proposed.content['action_id'] as string;
  }

  isDurable(actionId = this.actionId): Reaction {
    const path = `/opt/homelab/actions/pending/${actionId}.json`;
    return this.deliver({ type: 'proposal.durable', actionId, path });
  }

  /** Of each action that was ever proposed. */
  proposedIds(): string[] {
    return this.machine.sent
      .filter(({ event }) => event.type === 'action.propose')
      .map(({ event }) => (event as { content?: JsonObject }).content?.['action_id'] as string);
  }

  /** What was proposed, whole. */
  contents(): string[] {
    return this.machine.sent
      .filter(({ event }) => event.type === 'action.propose')
      .map(({ event }) => JSON.stringify(event));
  }
}
