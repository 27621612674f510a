/** Verbs about language models: how each stands, and asking one again at once that is left out. */
import { LLM_ADDRESS } from '../../machines/addresses.ts';
import { RuntimeError } from '../../machines/errors.ts';
import type { JsonObject, JsonValue } from '../../machines/json.ts';
import { closedUntil } from '../../machines/llm-breaker.ts';
import { NANO } from '../../machines/llm-cost.ts';
import { dayOf } from '../../machines/llm-models.ts';
import type { LlmModels, ModelState } from '../../machines/llm-models.ts';
import { isoFromEpoch } from '../../machines/time.ts';
import { inputOf, byOf } from './verb.ts';
import type { MissionReader, ReadingVerb, VerbInput, WritingVerb } from './verb.ts';

const MODEL: JsonObject = {
  model: { type: 'string', minLength: 1, maxLength: 200, description: 'as the chain names it' },
};

export const modelReadingVerbs: ReadingVerb[] = [
  {
    kind: 'reads',
    name: 'models.list',
    summary: 'Which language models can be asked, why not, and what they cost today.',
    remote: true,
    input: inputOf([]),
    run: (reader) => ({ models: chainOf(reader) ?? knownModels(reader) }),
  },
];

export const modelVerbs: WritingVerb[] = [
  {
    kind: 'writes',
    name: 'models.reset',
    summary: 'Asks a model again at once that is left out after failures; without a name, all.',
    remote: true,
    rights: 'operate',
    idempotent: true,
    input: inputOf([], ['by'], MODEL),
    async run(node, input: VerbInput) {
      const { model = null } = input;
      const by = byOf(input);
      const { system } = node.kernel;
      const known = system.has(LLM_ADDRESS)
        ? Object.keys((system.read(LLM_ADDRESS).snapshot.context as LlmModels).models)
        : [];
      if (model !== null && !known.includes(model))
        throw new RuntimeError(`no model called ${model} was ever asked`, {
          code: 'NOT_FOUND',
          hint: `See \`lazarus models\`${known.length === 0 ? '' : `: ${known.join(', ')}`}.`,
        });
      if (known.length > 0) await system.send(LLM_ADDRESS, { type: 'llm.reset', model, by });
      return { models: model === null ? known : [model], by };
    },
  },
];

/** Of a node that runs. */
function chainOf(reader: MissionReader): JsonValue | undefined {
  const { llm } = reader.status().parts;
  return Array.isArray(llm) && llm.length > 0 ? llm : undefined;
}

/** While none runs, nobody can say who could be asked: only what is on record. */
function knownModels(reader: MissionReader): JsonObject[] {
  const actor = reader.actor(LLM_ADDRESS);
  if (actor === undefined || 'held' in actor) return [];
  const { models } = actor.context as LlmModels;
  const now = reader.clock()?.at ?? Date.now();
  return Object.entries(models).map(([model, state]) => knownModel(model, state, now));
}

function knownModel(model: string, { breaker, calls, failures, today }: ModelState, now: number) {
  const until = closedUntil(breaker);
  const isOut = breaker.state !== 'closed' && until !== null && now < until;
  const reason = isOut
    ? `${breaker.reason ?? 'it failed'}; asked again at ${isoFromEpoch(until)}`
    : 'no node runs';
  const { nanoUsd, tokens } = today.day === dayOf(now) ? today : { nanoUsd: 0, tokens: 0 };
  const spent = { today: { usd: nanoUsd / NANO, tokens } };
  return { model, state: isOut ? 'cooling' : 'unknown', reason, calls, failures, spent };
}
