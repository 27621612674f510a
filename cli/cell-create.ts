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
import { add } from './add.ts';
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
  const wish = { name, ...options };
  const from = origin(wish);
  if (from === null) return add(missions, 'cell.create', empty(wish));
  if ('file' in from) return add(missions, 'cell.create', asked(wish, from.file));
  const cell = fromFolder(from.folder, wish);
  const path = await createCell(missions.dir, cell);
  const taken = await waitTakenIn(missions, ({ cells }) =>
    cells.some(({ cell_id: id }) => id === cell.cellId),
  );
  return { cell_id: cell.cellId, path, taken_in: taken === 'yes', note: WORDS[taken] };
}

type Wish = { name: string | undefined } & CreateOptions;

/** Null: nothing but what was asked for. */
function origin({ from, template }: Wish): { folder: string } | { file: JsonObject } | null {
  if (from !== undefined) return fromPath(resolve(from));
  if (template === undefined) return null;
  const wanted = template === true ? BASIC : template;
  if (wanted === BASIC) return { file: basic() };
  const found = [join(EXAMPLES, wanted), join(EXAMPLES, `${wanted}.json`)].find(
    (path) => basename(wanted) === wanted && existsSync(path),
  );
  if (found !== undefined) return fromPath(found);
  throw new RuntimeError(`there is no template ${wanted}`, {
    code: 'INVALID_ARGUMENT',
    hint: `There is ${[BASIC, ...exampleNames()].join(', ')}.`,
  });
}

function fromPath(path: string): { folder: string } | { file: JsonObject } {
  const stats = statSync(path, { throwIfNoEntry: false });
  if (stats === undefined)
    throw new RuntimeError(`there is no ${path}`, { code: 'INVALID_ARGUMENT' });
  return stats.isDirectory() ? { folder: path } : { file: fileAt(path) };
}

/** Checked here, where its lines are known. */
function fileAt(path: string): JsonObject {
  const bytes = readFileSync(path);
  const read = planBytes(bytes, { name: basename(path), writtenAt: new Date(), cellId: 'new' });
  if (read.outcome === 'refused') throw invalid(path, read.problems);
  return JSON.parse(bytes.toString('utf8').replace(/^\uFEFF/, '')) as JsonObject;
}

function asked({ id, name, autoRevive }: Wish, file: JsonObject = {}): JsonObject {
  return {
    file,
    ...(id === undefined ? {} : { cell_id: id }),
    ...(name === undefined ? {} : { mission_name: name }),
    ...(autoRevive === undefined ? {} : { policies: revive(file, autoRevive) }),
  };
}

function empty(wish: Wish): JsonObject {
  if (wish.name === undefined)
    throw new RuntimeError('a new mission needs a name', {
      code: 'INVALID_ARGUMENT',
      hint: 'lazarus cell create "Nightly report", or --from FILE, or --template',
    });
  return asked(wish);
}

function basic(): JsonObject {
  const { cell_id: _, created_at: __, created_by: ___, ...cell } = templateOf('cell');
  const config = ['isolation', 'policies', 'permissions'].map((kind) => [kind, templateOf(kind)]);
  return {
    ...cell,
    agents: [templateOf('agent')],
    tasks: [{ ...templateOf('task'), created_at: new Date().toISOString() }],
    config: Object.fromEntries(config) as JsonObject,
  };
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
  const { _rev: _, status_reason: __, ...model } = read.content;
  const cellId = wish.id ?? randomUUID();
  const { file: ___, ...wishes } = asked(wish, model);
  const cell: JsonObject = {
    $schema: 'https://lazarus.dev/schemas/cell.json',
    ...model,
    cell_id: cellId,
    created_at: new Date().toISOString(),
    created_by: whoAsks().split(' ')[0] ?? '',
    status: 'active',
    ...wishes,
  };
  const rest = files.filter((file) => file.path !== cellPath.cell);
  const others = rest.map((file) => fileOf(file.path, file.content));
  return { cellId, files: [fileOf(cellPath.cell, cell), ...others], from: path };
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
