/**
 * What an incident causes: a question to a model, with the guardrails applied to the answer, and event files for other
 * programs. Its actions write their own files.
 *
 * E1 Both are idempotent. A diagnosis that was cut off is asked for again; what comes of it is journaled before anything is
 *    proposed, so however often it is asked, one answer counts.
 * E2 The policy that is applied is the one that holds when the answer is there.
 * E3 So many questions at a time: the rest wait here, where waiting costs no deadline.
 * E4 A fault of this node's own that passes by itself (a held journal) is waited out; it says nothing about the event.
 * E5 What a rule of the policy decides asks no model, and waits behind none.
 */
import { randomBytes } from 'node:crypto';
import type { ReadPolicy } from '../../cells/policy-file.ts';
import { RuntimeError } from '../../machines/errors.ts';
import { eventRuleFor, proposeByEventRule } from '../../machines/event-rules.ts';
import type { FoundRule } from '../../machines/event-rules.ts';
import { applyGuardrails, MAX_REASON } from '../../machines/guardrails.ts';
import type { HomelabEvent } from '../../machines/homelab-events.ts';
import type { DiagnoseInput, WriteEventInput } from '../../machines/incident-actions.ts';
import { asJsonObject } from '../../machines/json.ts';
import { plainText } from '../../machines/plain-text.ts';
import { plannerMessages, PROMPT_VERSION } from '../../machines/planner-prompt.ts';
import type { KnownHost } from '../../machines/planner-prompt.ts';
import { PROPOSAL_SCHEMA, proposalProblems, readProposal } from '../../machines/proposal.ts';
import type { Diagnosis } from '../../machines/proposal.ts';
import type { Proposal } from '../../machines/remediation.ts';
import { eventFile } from '../../machines/remediation-event.ts';
import type { EffectRunner } from '../effects.ts';
import type { Question, RouteOptions, RouteResult } from '../llm/router-types.ts';
import { patiently } from '../patience.ts';
import { writeEventFile } from '../event-files.ts';
import { StartSlots } from '../start-slots.ts';
import type { PlannerLog } from './planner-log.ts';

/** Whoever can ask a model; actors/llm/router.ts does. Throws when none gives an answer that counts. */
export interface Router {
  route(
    question: Question,
    options: RouteOptions,
  ): Promise<Pick<RouteResult, 'content' | 'model'> & { attempts: readonly unknown[] }>;
}

export interface IncidentHost {
  router: Router;
  policy: () => ReadPolicy;
  topology: () => Promise<readonly KnownHost[]>;
  /** What this machine is called in event files. */
  nodeName: string;
  /** Folder of the homelab's event files. */
  events: string;
  /** By type, when it was heard first in the incident that is open there, epoch ms; {}: none is. */
  heard: (host: string, service: string) => Readonly<Record<string, number>>;
  log: PlannerLog;
  /** E3. Default 4. */
  atOnce?: number;
}

const AT_ONCE = 4;
const MAX_OUTPUT_TOKENS = 1024;
const SCHEMA = { id: 'planner-proposal@1', schema: PROPOSAL_SCHEMA };

export function bindIncidentEffects(effects: EffectRunner, host: IncidentHost): void {
  const slots = new StartSlots(host.atOnce ?? AT_ONCE);
  effects.register<DiagnoseInput>('incident', 'diagnose', {
    semantics: 'idempotent',
    async run({ input: { event }, key, signal }) {
      const rule = eventRuleFor(host.policy().policy.event_rules, event);
      const decided = rule && decide(host, event, rule); // E5
      if (decided) return asJsonObject(decided);
      await slots.take(signal);
      try {
        const diagnosis = await diagnose(host, event, { key, signal });
        return asJsonObject({ ...diagnosis, ...(rule && cooldownOf(rule, event)) });
      } finally {
        slots.release();
      }
    },
  });
  effects.register<WriteEventInput>('incident', 'writeEvent', {
    semantics: 'idempotent',
    async run({ input: { announcement }, restarted }) {
      const { events, nodeName } = host;
      const file = eventFile(announcement, nodeName);
      return { path: await writeEventFile(file, { events, restarted }) };
    },
  });
}

/** E5. Undefined: it is for the model. */
function decide(host: IncidentHost, event: HomelabEvent, found: FoundRule): Diagnosis | undefined {
  const heard = (service: string) => host.heard(event.data.host, service);
  const answered = proposeByEventRule(found, event, heard);
  if (answered === undefined) return undefined;
  const { type } = event;
  const subject = { type, host: event.data.host, service: answered.service };
  const { policy, sha256 } = host.policy();
  const { proposal, tightenings } = applyGuardrails(answered, subject, policy);
  const isSkipped = answered.action === 'ignore' && found.rule.action !== 'ignore';
  return {
    proposal,
    answered: bounded(answered),
    guardrails: tightenings,
    model: found.name,
    attempts: 0,
    policySha256: sha256,
    quiets: { type, seconds: isSkipped ? 0 : (found.rule.cooldown ?? null) },
  };
}

/** A rule that leaves the rest to the model. */
function cooldownOf({ rule }: FoundRule, { type }: HomelabEvent): Pick<Diagnosis, 'quiets'> {
  return rule.cooldown === undefined ? {} : { quiets: { type, seconds: rule.cooldown } };
}

/** Throws when there is no answer that counts. */
async function diagnose(
  host: IncidentHost,
  event: HomelabEvent,
  { key, signal }: { key: string; signal: AbortSignal },
): Promise<Diagnosis> {
  const question = await ask(host, event);
  const { severity } = event.data;
  const subject = { type: event.type, host: event.data.host, service: event.data.service };
  const context = { type: subject.type, node: subject.host, service: subject.service, severity };
  const answer = await patiently(
    () => host.router.route(question, { signal, context, askedBy: key }),
    {
      signal,
      onWait: (error) => host.log.warn({ key, error: String(error) }, 'a diagnosis waits'),
    },
  ); // E4
  const answered = readProposal(answer.content);
  if (answered === undefined)
    throw new RuntimeError(`${answer.model} answered with something that is no proposal`, {
      code: 'INVALID_ARGUMENT',
    });
  const { policy, sha256 } = host.policy(); // E2
  const { proposal, tightenings } = applyGuardrails(answered, subject, policy);
  return {
    proposal,
    answered: bounded(answered),
    guardrails: tightenings,
    model: answer.model,
    attempts: answer.attempts.length,
    policySha256: sha256,
  };
}

async function ask({ policy, topology }: IncidentHost, event: HomelabEvent): Promise<Question> {
  const delimiter = `DATA-${randomBytes(12).toString('hex')}`;
  const parts = { event, policy: policy().policy, topology: await topology(), delimiter };
  return {
    messages: plannerMessages(parts),
    schema: SCHEMA,
    check: proposalProblems,
    maxOutputTokens: MAX_OUTPUT_TOKENS,
    promptVersion: PROMPT_VERSION,
  };
}

/** As the model gave it, as far as anybody wants to read. */
function bounded({ service, node, reason, ...rest }: Proposal): Proposal {
  return {
    action: rest.action,
    service: plainText(service, MAX_REASON),
    node: plainText(node, MAX_REASON),
    reason: plainText(reason, MAX_REASON),
    confidence: rest.confidence,
    requires_human: rest.requires_human,
  };
}
