/**
 * Effects that an earlier life of the node began and that have no outcome in the journal. A running node finds out by
 * itself what became of them; a visit and the reading verbs of a node that is down only look: one that left an outcome
 * file is known, the rest is in doubt.
 */
import type { RunStepInput } from '../machines/agent-effects.ts';
import type { JsonValue } from '../machines/json.ts';
import type { CellPlaces } from './cell-places.ts';
import type { DoubtfulEffect } from './effects.ts';
import { requestOf } from './agent.actor.ts';
import { effectKey } from './records.ts';
import type { Invokes } from './records.ts';
import { readOutcome } from './step-runner.ts';

export type CutOffEffect = Omit<DoubtfulEffect, 'since'>;

/** Those for which it matters: only `verify` and `at_most_once` effects have a record that they began (P4). */
export function cutOffEffects(address: string, invokes: Invokes): CutOffEffect[] {
  return Object.entries(invokes)
    .filter(([, { started }]) => started === true)
    .map(([invoke, { src, input, seq }]) => {
      return { key: effectKey(address, seq, invoke), address, invoke, src, input };
    });
}

/** Whether the worker wrote down how it ended: the next start adopts that. */
export async function hasOutcome(
  node: { places: CellPlaces; nodeId: string },
  { key, src, input }: CutOffEffect,
): Promise<boolean> {
  if (src !== 'runStep' || !isRunStep(input)) return false;
  if (node.places.folderOf(input.cellId) === undefined) return false;
  return (await readOutcome(requestOf(node, { key, input }, 'step'))) !== null;
}

function isRunStep(input: JsonValue): input is JsonValue & RunStepInput {
  return typeof input === 'object' && input !== null && 'cellId' in input && 'step' in input;
}
