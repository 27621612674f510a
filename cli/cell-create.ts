/** Where a new mission comes from: a name alone, a mission in one file, a folder that is taken as a model, or a template. */
import { randomUUID } from 'node:crypto';
import { existsSync, readFileSync, readdirSync, statSync } from 'node:fs';
import { basename, join, resolve } from 'node:path';
import { createCell, invalid } from '../cells/create.ts';
import type { NewCell, NewFile } from '../cells/create.ts';
import { planBytes } from '../cells/drop-plan.ts';
import { cellPath } from '../cells/layout.ts';
import { readCellFile } from '../cells/load.ts';
import { freshFiles } from '../cells/model.ts';
import { RuntimeError } from '../machines/errors.ts';
import type { JsonObject } from '../machines/json.ts';
import { whoAsks } from './access.ts';
import { makeMissions } from './missions.ts';
import type { Flags } from './output.ts';
import { waitTakenIn, WORDS } from './taken-in.ts';

export interface CreateOptions extends Flags {
  id?: string;
  from?: string;
  template?: string | true;
  autoRevive?: string;
}

const ROOT = join(import.meta.dirname, '..');
const EXAMPLES = join(ROOT, 'examples');
const TEMPLATES = join(ROOT, 'cells/templates');
const BASIC = 'basic';

/** Throws INVALID_ARGUMENT, FILE_INVALID, CELL_DUPLICATE. */
export async function createMission(
  name: string | undefined,
  options: CreateOptions,
): Promise<JsonObject> {
  const missions = makeMissions(options.missions);
  const cell = plan(name, options);
  const path = await createCell(missions.dir, cell);
  const taken = await waitTakenIn(missions, ({ cells }) =>
    cells.some(({ cell_id: id }) => id === cell.cellId),
  );
  return { cell_id: cell.cellId, path, taken_in: taken === 'yes', note: WORDS[taken] };
}

function plan(name: string | undefined, options: CreateOptions): NewCell {
  const { from, template } = options;
  const wish = { name, ...options };
  if (from !== undefined) return fromPath(resolve(from), wish);
  if (template === undefined) return empty(wish);
  const wanted = template === true ? BASIC : template;
  if (wanted === BASIC) return basic(wish);
  const found = [join(EXAMPLES, wanted), join(EXAMPLES, `${wanted}.json`)].find(
    (path) => basename(wanted) === wanted && existsSync(path),
  );
  if (found !== undefined) return fromPath(found, wish);
  throw new RuntimeError(`there is no template ${wanted}`, {
    code: 'INVALID_ARGUMENT',
    hint: `There is ${[BASIC, ...exampleNames()].join(', ')}.`,
  });
}

type Wish = { name: string | undefined } & CreateOptions;

function fromPath(path: string, wish: Wish): NewCell {
  const stats = statSync(path, { throwIfNoEntry: false });
  if (stats === undefined)
    throw new RuntimeError(`there is no ${path}`, { code: 'INVALID_ARGUMENT' });
  return stats.isDirectory() ? fromFolder(path, wish) : fromFile(path, wish);
}

function fromFile(path: string, wish: Wish): NewCell {
  const bytes = readFileSync(path);
  const origin = { name: basename(path), writtenAt: new Date(), cellId: randomUUID() };
  const read = planBytes(bytes, origin);
  if (read.outcome === 'refused') throw invalid(path, read.problems);
  if (read.outcome === 'absent') throw new Error(`${path} was read and is absent`);
  const wished = wishes(wish);
  if (Object.keys(wished).length === 0) return read.plan;
  const value = { ...(JSON.parse(bytes.toString('utf8')) as JsonObject), ...wished };
  if (wish.autoRevive !== undefined) value['policies'] = revive(value, wish.autoRevive);
  const changed = planBytes(Buffer.from(JSON.stringify(value)), origin);
  if (changed.outcome === 'planned') return changed.plan;
  throw invalid(path, changed.outcome === 'refused' ? changed.problems : []);
}

/** The folder's content, with an id of its own and without what an earlier run left. */
function fromFolder(path: string, wish: Wish): NewCell {
  const read = readCellFile(path, cellPath.cell);
  if (read.outcome === 'bad') throw invalid(join(path, cellPath.cell), read.problems);
  if (read.outcome === 'absent')
    throw new RuntimeError(`${path} has no cell.json`, {
      code: 'INVALID_ARGUMENT',
      hint: 'Name the folder of a mission, or a file that holds a whole one.',
    });
  const { files, problems } = freshFiles(path);
  const [problem] = problems;
  if (problem) throw invalid(join(path, problem.path), problem.problems);
  const rest = files.filter((file) => file.path !== cellPath.cell);
  const made = cellOf(read.content, wish);
  const others = rest.map((file) => fileOf(file.path, file.content));
  return { ...made, files: [...made.files, ...others], from: path };
}

function basic(wish: Wish): NewCell {
  const made = cellOf(templateOf('cell'), wish);
  const files: [string, string][] = [
    [cellPath.agent('agent_001'), 'agent'],
    [cellPath.task('task_001'), 'task'],
    [cellPath.isolation, 'isolation'],
    [cellPath.policies, 'policies'],
    [cellPath.permissions, 'permissions'],
  ];
  const rest = files.map(([path, kind]) => fileOf(path, templateOf(kind)));
  return { ...made, files: [...made.files, ...rest] };
}

function empty(wish: Wish): NewCell {
  if (wish.name === undefined)
    throw new RuntimeError('a new mission needs a name', {
      code: 'INVALID_ARGUMENT',
      hint: 'lazarus cell create "Nightly report", or --from FILE, or --template',
    });
  return cellOf({}, wish);
}

function cellOf(model: JsonObject, wish: Wish): NewCell {
  const { _rev: _, status_reason: __, ...content } = model;
  const cellId = wish.id ?? randomUUID();
  const cell: JsonObject = {
    $schema: 'https://lazarus.dev/schemas/cell.json',
    ...content,
    cell_id: cellId,
    created_at: new Date().toISOString(),
    created_by: whoAsks().split(' ')[0] ?? '',
    status: 'active',
    ...wishes(wish),
  };
  if (wish.autoRevive !== undefined) cell['policies'] = revive(cell, wish.autoRevive);
  return { cellId, files: [fileOf(cellPath.cell, cell)] };
}

function wishes({ id, name, autoRevive }: Wish): JsonObject {
  return {
    ...(id === undefined ? {} : { cell_id: id }),
    ...(name === undefined ? {} : { mission_name: name }),
    ...(autoRevive === undefined ? {} : { policies: {} }),
  };
}

function revive({ policies }: JsonObject, autoRevive: string): JsonObject {
  return { ...(policies as JsonObject | undefined), auto_revive: autoRevive };
}

const fileOf = (path: string, content: JsonObject): NewFile => {
  return { path, text: `${JSON.stringify(content, null, 2)}\n` };
};

function templateOf(kind: string): JsonObject {
  return JSON.parse(readFileSync(join(TEMPLATES, `${kind}.json`), 'utf8')) as JsonObject;
}

function exampleNames(): string[] {
  return readdirSync(EXAMPLES, { withFileTypes: true })
    .filter((entry) => entry.isDirectory() || entry.name.endsWith('.json'))
    .map(({ name }) => name.replace(/\.json$/, ''))
    .toSorted();
}
