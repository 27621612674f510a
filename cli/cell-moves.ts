/** `lazarus cell export|import`: a mission is a folder, and this is how it moves. */
import type { Command } from 'commander';
import { resolve } from 'node:path';
import { isJsonObject } from '../machines/json.ts';
import type { JsonValue } from '../machines/json.ts';
import { write } from './access.ts';
import { act, verb } from './command.ts';
import { chooseMissions, makeMissions } from './missions.ts';
import { show } from './output.ts';
import { paint } from './terminal.ts';

export function exportOne(): Command {
  const leaving = verb(
    'export',
    'Brings a mission to rest as it stands and fences its folder, so that it, or its copy, goes on elsewhere.',
    'lazarus cell export 5c0e6e08 --to /mnt/disk\nlazarus cell export 5c0e6e08   # then copy the folder yourself',
  )
    .argument('<cell>', 'its id, or the first characters of it')
    .option('--to <path>', 'copy it there: a folder to put it into, or a new name');
  return act<{ to?: string }>(leaving, async ([cell = ''], flags) => {
    const to = flags.to === undefined ? {} : { to: resolve(flags.to) };
    const result = await write(chooseMissions(flags.missions), 'cell.export', { cell, ...to });
    show(flags, result, () => {
      const copy = textOf(result, 'to') ?? textOf(result, 'path') ?? '';
      return [
        `cell ${textOf(result, 'cell_id')}: exported, with all of it in ${copy}`,
        'go on elsewhere:  lazarus cell import <that folder> --missions DIR',
        `take it back:     lazarus cell import ${textOf(result, 'path')}`,
      ];
    });
  });
}

export function importOne(): Command {
  const coming = verb(
    'import',
    'Takes in the folder of a mission, or takes back one that was exported from here; it goes on where it was.',
    'lazarus cell import /mnt/disk/5c0e6e08-6d3f-4b6e-9d0c-3f1f6d1c2b7a',
  )
    .argument('<path>', "the mission's folder")
    .option(
      '--accept-loss',
      'go on from what is in the folder, though newer records are elsewhere or gone',
    );
  return act<{ acceptLoss?: true }>(coming, async ([path = ''], flags) => {
    const accept = flags.acceptLoss ? { accept_loss: 'yes' } : {};
    const input = { path: resolve(path), ...accept };
    const result = await write(makeMissions(flags.missions), 'cell.import', input);
    show(flags, result, () => {
      const lost = textOf(result, 'lost');
      return [
        `cell ${textOf(result, 'cell_id')}: ${textOf(result, 'path')}`,
        ...(lost === null ? [] : [`${paint('yellow', 'given up')}: ${lost}`]),
        ...notesOf(result).map((note) => paint('dim', note)),
      ];
    });
  });
}

function textOf(value: JsonValue, name: string): string | null {
  const text = isJsonObject(value) ? value[name] : null;
  return typeof text === 'string' ? text : null;
}

function notesOf(value: JsonValue): string[] {
  const notes = isJsonObject(value) ? value['notes'] : null;
  return Array.isArray(notes) ? notes.filter((note) => typeof note === 'string') : [];
}
