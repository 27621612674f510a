/** Verbs by which a mission leaves this missions folder or comes into it: see cell-export.ts and cell-import.ts. */
import type { JsonObject } from '../../machines/json.ts';
import { exportCell } from '../cell-export.ts';
import { importCell } from '../cell-import.ts';
import type { MissionNode } from '../node.ts';
import { resolveCell } from './ids.ts';
import { byOf, inputOf } from './verb.ts';
import type { VerbInput, WritingVerb } from './verb.ts';

/** They name folders of this machine, so they make no sense from another. */
export const moveVerbs: WritingVerb[] = [
  {
    kind: 'writes',
    name: 'cell.export',
    summary: 'Brings a mission to rest as it stands and fences its folder, so that it can move.',
    remote: false,
    rights: 'operate',
    input: inputOf(['cell'], ['to', 'by']),
    run: exporting,
  },
  {
    kind: 'writes',
    name: 'cell.import',
    summary: 'Takes in the folder of a mission, or takes back one that was exported from here.',
    remote: false,
    rights: 'operate',
    input: inputOf(['path'], ['accept_loss', 'by']),
    run: importing,
  },
];

async function exporting(node: MissionNode, { cell = '', to }: VerbInput): Promise<JsonObject> {
  const { cell_id: cellId } = resolveCell(node.status(), cell);
  const result = await node.move(() => exportCell(node.moves, cellId, { to: to ?? null }));
  return {
    cell_id: cellId,
    path: result.path,
    to: result.to,
    epoch: result.epoch,
    seq: result.seq,
    fenced: true,
  };
}

async function importing(node: MissionNode, input: VerbInput): Promise<JsonObject> {
  const acceptLoss = input['accept_loss'] === 'yes';
  const request = { acceptLoss, by: byOf(input) };
  const result = await node.move(() => importCell(node.moves, input['path'] ?? '', request));
  return {
    cell_id: result.cellId,
    path: result.path,
    from: result.from,
    lost: result.lost,
    source: result.source,
    notes: result.notes,
  };
}
