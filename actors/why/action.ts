/** Why an action is as it is: what happened, what the model and the rules made of it, who approved what, what came of it. */
import type { ActionContext } from '../../machines/action-context.ts';
import { actionKey } from '../../machines/supervision.ts';
import { actionAddress } from '../../machines/addresses.ts';
import { isJsonObject } from '../../machines/json.ts';
import type { JsonObject, JsonValue } from '../../machines/json.ts';
import { actionLine } from '../actions/action-view.ts';
import type { ActionLine } from '../actions/action-view.ts';
import { standingOf } from '../actions/action-waits.ts';
import type { WhyReader } from './explanation.ts';
import { isoOf, NO_FOCUS, sentence } from './explanation.ts';
import type { Explanation, Fact, Need } from './explanation.ts';
import { waitsOf } from './waits.ts';

/** Undefined: its actor is held, or not there. */
export function explainAction(
  reader: WhyReader,
  id: string,
): Omit<Explanation, 'cell_id' | 'path'> | undefined {
  const address = actionAddress(id);
  const actor = reader.actor(address);
  if (actor === undefined || 'held' in actor) return undefined;
  const context = actor.context as ActionContext;
  const standing = standingOf(reader);
  const line = actionLine(context, actor.state, standing);
  const isInDoubt = line.state !== 'settled' && standing.inDoubt.has(id);
  const addresses = context.origin === null ? [address] : [address, context.origin];
  return {
    kind: 'action',
    id: address,
    answer: isInDoubt ? doubtAnswer(line) : answerOf(context, line),
    facts: [...proposalFacts(context), ...approvalFacts(context), ...runFacts(context)],
    policies: [],
    next: isInDoubt ? [] : waitsOf(reader, actor),
    needs: needsOf(context, line, isInDoubt),
    story: context.story,
    focus: { ...NO_FOCUS, addresses, askers: context.origin === null ? [] : [context.origin] },
  };
}

const doubtAnswer = ({ action_id: id, type, host, service }: ActionLine): string =>
  sentence(
    `action ${id} (${type} of ${actionKey({ host, service })}) is in doubt: it may have run, and nobody knows how it ended`,
  );

function answerOf({ by, reason }: ActionContext, line: ActionLine): string {
  const { action_id: id, type, host, service, status, waits, state } = line;
  const what = `action ${id} (${type} of ${actionKey({ host, service })})`;
  if (waits !== null) return sentence(`${what} is ${status}: ${waits.replace(/^held: /, '')}`);
  const now = state === status || state === 'settled' ? '' : `, ${state}`;
  const why = reason === null ? '' : `: ${reason}`;
  return sentence(`${what} is ${status}${now}${why}`, `(by ${by})`);
}

const fact = (name: string, value: JsonValue | undefined): Fact[] =>
  value === undefined || value === null || value === '' ? [] : [{ name, value }];

function proposalFacts({ content, facts, place, origin, actionId }: ActionContext): Fact[] {
  const from: JsonObject = content ?? {};
  const { incident } = from;
  const seen = isJsonObject(incident) ? incident['occurrences'] : undefined;
  const answered = isJsonObject(from['answered']) ? JSON.stringify(from['answered']) : undefined;
  return [
    ...fact('description', facts?.description),
    ...fact('event', from['source_event']),
    ...fact('heard so often', seen),
    ...fact('proposed by', origin ?? undefined),
    ...fact('model', from['llm_model']),
    ...fact('attempts of models', from['llm_attempts']),
    ...fact('confidence', from['confidence']),
    ...fact('the model answered', answered),
    ...guardrails(from['guardrails']),
    ...fact('risk', facts?.risk),
    ...fact('needs a person', facts?.requiresHuman),
    ...fact('file', place === null ? undefined : `actions/${place.status}/${actionId}.json`),
  ];
}

/** Each change that a rule made. */
function guardrails(list: JsonValue | undefined): Fact[] {
  if (!Array.isArray(list)) return [];
  return list.filter(isJsonObject).map((one) => {
    const { rule, field, from, to, because } = one;
    const change = `${word(field)} ${word(from)} -> ${word(to)}`;
    return { name: `rule ${word(rule)}`, value: `${change}: ${word(because)}` };
  });
}

const word = (value: JsonValue | undefined): string =>
  typeof value === 'string' ? value : (JSON.stringify(value) ?? '?');

function approvalFacts({ approval }: ActionContext): Fact[] {
  if (approval === null) return [];
  const { by, door, sha256, at, expiresAt, usedAt } = approval;
  return [
    ...fact('approved by', `${by}, by ${door}, at ${isoOf(at)}`),
    ...fact('approved content', `sha256 ${sha256}`),
    usedAt === null
      ? { name: 'approval lapses', value: isoOf(expiresAt) }
      : { name: 'approval used', value: isoOf(usedAt) },
  ];
}

function runFacts({ plan, outcome, startedAt, verification, gate }: ActionContext): Fact[] {
  const how = plan && `${plan.driver}, ${plan.via} (${plan.semantics}): ${plan.shown.join('; ')}`;
  return [
    ...fact('gate', gate?.reason),
    ...fact('runs by', how ?? undefined),
    ...fact('began', startedAt === null ? undefined : isoOf(startedAt)),
    ...fact('ended', outcome === null ? undefined : endOf(outcome)),
    ...fact(
      'verified',
      verification &&
        `${verification.verified ? `by ${verification.by ?? '?'}` : 'no'}, ${isoOf(verification.at)}`,
    ),
  ];
}

function endOf({ ok, reason, exit_code: code, signal }: NonNullable<ActionContext['outcome']>) {
  const how = signal ?? (code === null ? null : `exit code ${code}`);
  return [ok ? 'well' : 'badly', reason, how].filter((part) => part !== null).join(', ');
}

function needsOf(
  { actionId: id }: ActionContext,
  { status }: ActionLine,
  isInDoubt: boolean,
): Need[] {
  if (status === 'pending' || status === 'held')
    return [
      { what: 'let it run', command: `lazarus actions approve ${id}` },
      { what: 'say no', command: `lazarus actions reject ${id}` },
    ];
  if (status === 'approved')
    return [{ what: 'take it back', command: `lazarus actions cancel ${id}` }];
  if (!isInDoubt) return [];
  const what = `look at what it did (state/lazarus/actions/${id}/, and the service), then say how it ended`;
  return [{ what, command: `lazarus doubt done|retry|fail ${id}` }];
}
