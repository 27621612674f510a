/**
 * What an action should bring about: which drift it should remove, and what depends on its target. The supervisor writes that into
 * the actions it proposes; of any other action it is what stands at the moment.
 */
import { driftAddress, SUPERVISOR } from '../../machines/addresses.ts';
import type { ActionContext } from '../../machines/action-context.ts';
import type { DriftContext } from '../../machines/drift-context.ts';
import { isJsonObject } from '../../machines/json.ts';
import type { JsonObject } from '../../machines/json.ts';
import { inShards } from '../../machines/shards.ts';
import { targetKey } from '../../machines/supervision.ts';
import type { Target } from '../../machines/supervision.ts';
import type { Stood, SupervisorContext } from '../../machines/supervisor-context.ts';
import type { MissionReader } from '../verbs/verb.ts';

export interface ExpectedEffect {
  /** `<kind> <host>/<service>`; null: nothing stands that it could remove. */
  removes: string | null;
  /** Targets that cannot do without its own; null: nobody knows. */
  dependants: string[] | null;
  /** `proposal`: as the action itself says. `now`: as things stand. */
  as_of: 'proposal' | 'now';
}

type Reader = Pick<MissionReader, 'actor' | 'dependantsOf'>;

const MAX_SHOWN = 50;

/** Null: it names no host. */
export function expectedEffect(
  reader: Reader,
  { content, facts }: Pick<ActionContext, 'content' | 'facts'>,
): ExpectedEffect | null {
  const said = saidIn(content);
  if (said !== null) return said;
  if (facts === null || facts.host === '') return null;
  const { host, service } = facts;
  const own: Target = { host, service: null };
  const targets = service === '' ? [own] : [{ host, service }, ...(service === host ? [own] : [])];
  const stood = targets.map((target) => stoodAt(reader, target)).find((one) => one !== undefined);
  const target = stood === undefined ? (targets.at(-1) ?? own) : stood.drift;
  const dependants = dependantsOf(reader, target);
  return {
    removes: stood === undefined ? null : `${stood.drift.kind} ${stood.drift.key}`,
    dependants: dependants && dependants.slice(0, MAX_SHOWN),
    as_of: 'now',
  };
}

function saidIn(content: JsonObject | null): ExpectedEffect | null {
  const said = content?.['expected_effect'];
  if (!isJsonObject(said)) return null;
  const { removes = null, dependants } = said;
  const names = Array.isArray(dependants)
    ? dependants.filter((one) => typeof one === 'string').slice(0, MAX_SHOWN)
    : null;
  return {
    removes: typeof removes === 'string' ? removes : null,
    dependants: names,
    as_of: 'proposal',
  };
}

function stoodAt(reader: Reader, target: Target): Stood | undefined {
  const actor = reader.actor(SUPERVISOR);
  if (actor === undefined || 'held' in actor) return undefined;
  return inShards((actor.context as SupervisorContext).standing, targetKey(target));
}

/** By the inventory of the node that runs; else as the drift was told last. */
function dependantsOf(reader: Reader, target: Target): string[] | null {
  const known = reader.dependantsOf?.(target);
  if (known !== undefined) return [...known];
  const actor = reader.actor(driftAddress(target.host, target.service));
  if (actor === undefined || 'held' in actor) return null;
  return (actor.context as DriftContext).dependants;
}
