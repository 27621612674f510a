/** `lazarus inject`: an event of a public type, sent to a mission or one of its agents. */
import type { Command } from 'commander';
import { RuntimeError } from '../machines/errors.ts';
import { isJsonObject } from '../machines/json.ts';
import type { JsonObject } from '../machines/json.ts';
import { read, write } from './access.ts';
import { field } from './cell.ts';
import { act, verb } from './command.ts';
import { chooseMissions } from './missions.ts';
import { show } from './output.ts';
import { table } from './terminal.ts';

interface Listed {
  events: { type: string; of: string; summary: string; data: JsonObject }[];
}

export function command(): Command {
  const inject = verb(
    'inject',
    'Sends an event to a mission or an agent; without one, lists what may be sent.',
    'lazarus inject cell/<cell_id> \'{"type": "task.retry", "data": {"task_id": "build"}}\'',
  )
    .argument('[address]', 'cell/<cell_id> or cell/<cell_id>/agent/<agent_id>')
    .argument(
      '[event]',
      'JSON: {"type": ..., "data"?: {...}, "id"?: ...}; one with an id is taken once',
    );
  return act(inject, async ([to, text], flags) => {
    const missions = chooseMissions(flags.missions);
    if (to === undefined) {
      const result = await read(missions, 'inject.list', {});
      return show(flags, result, () => listing(result as unknown as Listed));
    }
    const result = await write(missions, 'inject', { to, event: parsed(text) });
    show(flags, result, () => [
      `${field(result, 'to')}: ${(result as JsonObject)['duplicate'] === true ? 'taken before' : 'taken'}, record ${field(result, 'seq')}`,
    ]);
  });
}

const listing = ({ events }: Listed): string[] =>
  table(
    ['TYPE', 'OF', 'DATA', 'WHAT IT DOES'],
    events.map(({ type, of, data, summary }) => [
      type,
      of,
      Object.keys(data['properties'] ?? {}).join(', ') || '-',
      summary,
    ]),
    '',
  );

function parsed(text: string | undefined): JsonObject {
  try {
    const event: unknown = JSON.parse(text ?? '');
    if (isJsonObject(event)) return event;
  } catch {
    // said below, for both
  }
  throw new RuntimeError(
    text === undefined ? 'the event is missing' : 'the event is no JSON object',
    {
      code: 'INVALID_ARGUMENT',
      hint: 'For example \'{"type": "cell.pause"}\'; lazarus inject lists what there is.',
    },
  );
}
