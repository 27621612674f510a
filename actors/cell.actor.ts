/** What a cell causes: a run of the commands that its success criteria name. */
import type { CheckCriteriaInput } from '../machines/cell.machine.ts';
import type { CellPlaces } from './cell-places.ts';
import type { EffectRunner } from './effects.ts';
import { runStep } from './step-runner.ts';

/** Seconds a criterion without a `timeout` of its own may take. */
const DEFAULT_TIMEOUT_S = 300;

export function bindCellEffects(
  effects: EffectRunner,
  { nodeId, places }: { nodeId: string; places: CellPlaces },
): void {
  effects.register<CheckCriteriaInput>('cell', 'checkCriteria', {
    semantics: 'idempotent',
    async run({ input, key, signal }) {
      const { cellId, criteria } = input;
      const cellDir = places.folderOf(cellId) ?? '';
      const results: { name: string; ok: boolean; detail: string }[] = [];
      for (const [index, { name, run, timeout = DEFAULT_TIMEOUT_S }] of criteria.entries()) {
        const outcome = await runStep(
          {
            cellId,
            cellDir,
            nodeId,
            name,
            run: run ?? [],
            stepIndex: index,
            key: `${key}#${index}`,
            agentId: '_cell',
            taskId: '_criteria',
            timeoutMs: timeout * 1000,
            kind: 'criterion',
          },
          { signal },
        );
        const ended = outcome.signal === null ? `exit ${outcome.exit_code}` : outcome.signal;
        const detail = `${ended}${outcome.timed_out ? ', timed out' : ''}`;
        results.push({ name, ok: outcome.exit_code === 0, detail });
      }
      return results;
    },
  });
}
