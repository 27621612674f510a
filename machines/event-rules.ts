/**
 * What a person has settled beforehand about certain events (`event_rules` of the policy): who is told, what is proposed, for how
 * long it is quiet after that, and when it is only a consequence of something that is known already. No model is asked where a rule
 * says what is done; what it says passes the same guardrails.
 *
 * R1 The first rule that fits decides; capitals do not count, as everywhere in the policy.
 * R2 What a rule was asked about is quiet by the type of the event: an alert about one thing does not silence another.
 */
import { happenedAt } from './health-event.ts';
import type { HomelabEvent } from './homelab-events.ts';
import { matchingGlob } from './globs.ts';
import { HOME_ASSISTANT_ALERTS } from './home-assistant.ts';
import { plainText } from './plain-text.ts';
import { touches } from './proposal.ts';
import type { Proposal, ProposedAction } from './remediation.ts';

export interface EventRule {
  name?: string;
  /** Globs of types of events. */
  types: string[];
  /** Globs; left out: all. */
  hosts?: string[];
  services?: string[];
  /** Left out: the model decides. */
  action?: ProposedAction;
  /** Whom the action is about, on the event's host; left out: the event's own service. */
  service?: string;
  /** Seconds for which events of this type are quiet there; left out: as long as after any proposal. */
  cooldown?: number;
  /** `type`, or `service/type` of another one: not looked into while such an event is news there. Globs of types. */
  unless_open?: string[];
  /** Seconds for which it is; default `DEFAULT_YOUNGER`. */
  unless_younger?: number;
}

export const DEFAULT_YOUNGER = 300;

const HA = 'homeassistant';
const WITH_HA = [`${HA}/containers_not_running`];

/** What Home Assistant's diagnosing agent tells. */
export const DEFAULT_EVENT_RULES: EventRule[] = [
  {
    name: 'ha_websocket',
    types: ['ha_websocket_dead'],
    action: 'restart',
    service: HA,
    cooldown: 1800,
    unless_open: WITH_HA,
  },
  {
    name: 'ha_alerts',
    types: [...HOME_ASSISTANT_ALERTS],
    action: 'notify',
    cooldown: 3600,
    unless_open: WITH_HA,
  },
];

export interface FoundRule {
  rule: EventRule;
  /** As answers call it: `rules/<name>`, or its place in the list. */
  name: string;
}

/** R1. Undefined: none fits. */
export function eventRuleFor(
  rules: readonly EventRule[],
  { type, data: { host, service } }: HomelabEvent,
): FoundRule | undefined {
  const fits = (globs: readonly string[] | undefined, name: string): boolean =>
    globs === undefined || matchingGlob(globs, name) !== undefined;
  const at = rules.findIndex(
    (rule) => fits(rule.types, type) && fits(rule.hosts, host) && fits(rule.services, service),
  );
  const rule = rules[at];
  return rule && { rule, name: `rules/${rule.name ?? at}` };
}

/** By type, when it was heard first (epoch ms) in the incident that is open for this service of the event's host. */
export type HeardThere = (service: string) => Readonly<Record<string, number>>;

/** Undefined: the rule leaves it to the model. */
export function proposeByEventRule(
  { rule, name }: FoundRule,
  event: HomelabEvent,
  heard: HeardThere,
): Proposal | undefined {
  const known = whatIsKnown(rule, event, heard);
  const { action } = rule;
  if (known !== undefined)
    return proposal(event, rule, {
      action: 'ignore',
      reason: `By ${name}: not looked into, for ${known}.`,
    });
  if (action === undefined) return undefined;
  const reason = `By ${name}, no model was asked: ${event.type}${said(event)}`;
  return proposal(event, rule, { action, reason });
}

/** In words, what this is taken for a consequence of. */
function whatIsKnown(
  { unless_open: unless = [], unless_younger: seconds = DEFAULT_YOUNGER, ...rule }: EventRule,
  event: HomelabEvent,
  heard: HeardThere,
): string | undefined {
  const own = event.data.service;
  for (const entry of unless) {
    const cut = entry.lastIndexOf('/');
    const services = cut < 0 ? new Set([own, rule.service ?? own]) : [entry.slice(0, cut)];
    for (const service of services)
      for (const [type, at] of Object.entries(heard(service)))
        if (
          matchingGlob([entry.slice(cut + 1)], type) !== undefined &&
          happenedAt(event) - at < seconds * 1000
        )
          return `${service} has had ${type} for less than ${seconds} s`;
  }
  return undefined;
}

const MAX_SAID = 300;
/** People read it instead of a model's reason. */
function said({ data: { severity, payload } }: HomelabEvent): string {
  const told =
    Object.keys(payload).length === 0 ? '' : `: ${plainText(JSON.stringify(payload), MAX_SAID)}`;
  return ` (${severity})${told}`;
}

/** A rule is sure of itself; whether a person is needed for what touches something it does not say. */
const proposal = (
  { data: { host, service } }: HomelabEvent,
  rule: EventRule,
  { action, reason }: Pick<Proposal, 'action' | 'reason'>,
): Proposal => ({
  action,
  service: rule.service ?? service,
  node: host,
  reason,
  confidence: 1,
  requires_human: touches(action),
});
