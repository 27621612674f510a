/** fsck on folders with a past: a healthy one is clean, each kind of damage is found and named, what is safe is mended. */
import { hash } from 'node:crypto';
import {
  appendFileSync,
  chmodSync,
  copyFileSync,
  cpSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { fsck } from '../../actors/fsck/fsck.ts';
import type { FsckReport } from '../../actors/fsck/fsck.ts';
import { lockMissions } from '../../cells/lock.ts';
import { encodeBatch, scanBatches, decodeSegmentHeader } from '../../cells/journal-format.ts';
import { recoverJournal } from '../../cells/journal-reader.ts';
import type { JsonObject } from '../../machines/json.ts';
import { bytesOf, CELL_ID, copyOf, makeLivedFolders } from '../support/lived-folder.ts';
import type { LivedFolders } from '../support/lived-folder.ts';
import { agent, mission, startNode, step, task } from '../support/node.ts';

let lived: LivedFolders;
beforeAll(async () => {
  lived = await makeLivedFolders();
}, 60_000);
afterAll(() => lived.remove());

const codesOf = ({ findings }: FsckReport): string[] => [
  ...new Set(findings.map(({ code }) => code)),
];
const cellFile = (missions: string, path: string): string => join(missions, CELL_ID, path);
const edit = (file: string, change: (value: JsonObject) => JsonObject): void =>
  writeFileSync(
    file,
    `${JSON.stringify(change(JSON.parse(readFileSync(file, 'utf8')) as JsonObject), null, 2)}\n`,
  );

/** One bit, as far into the file as `share` says. */
function flip(file: string, share = 0.5): void {
  const bytes = readFileSync(file);
  const at = Math.floor(bytes.length * share);
  bytes[at] = (bytes[at] ?? 0) ^ 1;
  writeFileSync(file, bytes);
}

/** None that is sound is left of the agent. */
function spoilCheckpoints(missions: string): void {
  const folder = cellFile(missions, 'checkpoints/lead');
  for (const name of readdirSync(folder)) {
    if (/^state\.\d+\.json$/.test(name)) rmSync(join(folder, name));
    else if (name === 'state.json') flip(join(folder, name));
  }
}

const segmentOf = (missions: string): string => {
  const folder = join(missions, '.lazarus/journal');
  const name = recoverJournal(folder).segments.find((s) => s.lastLsn >= s.firstLsn)?.path;
  return name ?? join(folder, readdirSync(folder)[0] ?? '');
};

/** The record behind the last one, as a writer of the journal would put it there. */
function append(missions: string, make: (lines: string[]) => string): void {
  const file = segmentOf(missions);
  const { last, nextLsn } = recoverJournal(join(missions, '.lazarus/journal'));
  const bytes = readFileSync(file);
  const lines: string[] = [];
  recoverJournal(join(missions, '.lazarus/journal'), {
    onRecord: ({ line }) => void lines.push(line),
  });
  const end = last?.end ?? 0;
  const batch = encodeBatch([make(lines)], { lsn: nextLsn, previousEnd: end });
  writeFileSync(file, Buffer.concat([bytes.subarray(0, end), batch]));
}

/** A checkpoint with another content under a right hash. */
function forge(file: string, change: (text: string) => string): void {
  const text = readFileSync(file, 'utf8').trimEnd();
  const body = change(`{${text.slice('{"sha256":"'.length + 64 + 2)}`);
  writeFileSync(file, `{"sha256":"${hash('sha256', body)}",${body.slice(1)}\n`);
}

/** Bytes of the payload of a batch in the middle. */
function harmMiddle(missions: string): void {
  const file = segmentOf(missions);
  const bytes = readFileSync(file);
  const start = decodeSegmentHeader(bytes)?.end ?? 0;
  const batches = [...scanBatches(bytes, { start })].filter((span) => span.kind === 'batch');
  const middle = batches[Math.floor(batches.length / 2)];
  const end = middle?.end ?? 0;
  bytes.fill(0, end - 30, end - 3); // more than the one bit that the checksum can put right
  writeFileSync(file, bytes);
}

describe('a healthy folder', () => {
  test('given a mission that ran through a kill and a revival, when its node has stopped, then nothing is found and replay equals what was written down', async () => {
    const before = bytesOf(lived.cleanStop);
    const report = await fsck({ missionsDir: lived.cleanStop });
    expect(report.findings).toEqual([]);
    expect(report).toMatchObject({ clean: true, running: false, not_judged: [] });
    expect(report.states_compared).toBeGreaterThan(2);
    expect(bytesOf(lived.cleanStop)).toEqual(before);
  });

  test('given a node that was killed, then only its own traces are found, and once they are removed nothing is', async () => {
    const missions = copyOf(lived.crashed);
    const report = await fsck({ missionsDir: missions });
    expect(report.findings.filter(({ severity }) => severity !== 'note')).toMatchObject([
      { code: 'node-left', severity: 'warning', where: join(missions, '.lazarus/node.json') },
    ]);
    const mended = await fsck({ missionsDir: missions, repair: true });
    expect(mended).toMatchObject({ clean: true });
    expect((await fsck({ missionsDir: missions })).clean).toBe(true);
  });

  test('given a node that runs, then what it changes is not judged, the rest is, and a repair is refused', async () => {
    const node = await startNode();
    node.drop(mission('busy', [task('t', [step('s', 'sleep 30')])], { agents: [agent('lead')] }));
    await node.fileSays('busy', 'tasks/t.json', { status: 'in_progress' });
    const committedLsn = node.node.kernel.committedLsn();
    const report = await fsck({ missionsDir: node.missions, committedLsn });
    expect(report).toMatchObject({ clean: true, running: true, findings: [] });
    expect(report.not_judged).toHaveLength(1);
    await expect(fsck({ missionsDir: node.missions, repair: true })).rejects.toMatchObject({
      code: 'NODE_LOCKED',
    });
  });

  test('given a folder no node ever ran on, then it is clean, and looking makes nothing in it', async () => {
    const missions = copyOf(lived.cleanStop);
    rmSync(join(missions, '.lazarus'), { recursive: true });
    for (const name of readdirSync(missions)) rmSync(join(missions, name), { recursive: true });
    expect(await fsck({ missionsDir: missions, repair: true })).toMatchObject({ clean: true });
    expect(readdirSync(missions)).toEqual([]);
  });

  test('given a cell that is not there, then it is refused with those that are', async () => {
    await expect(fsck({ missionsDir: lived.cleanStop, cells: ['nobody'] })).rejects.toMatchObject({
      code: 'NOT_FOUND',
      hint: expect.stringContaining(CELL_ID) as string,
    });
    const some = await fsck({ missionsDir: lived.cleanStop, cells: ['live'] });
    expect(some).toMatchObject({ clean: true, cells: 1 });
  });
});

interface Damage {
  name: string;
  from: 'cleanStop' | 'crashed';
  code: string;
  severity: 'error' | 'warning' | 'note';
  inflict(missions: string): void;
}

/** Codes that a crash itself leaves, whatever else is wrong. */
const OF_A_CRASH = ['node-left', 'journal-torn'];

const BEYOND_REPAIR: Damage[] = [
  {
    name: 'bytes of a batch in the middle of the journal',
    from: 'crashed',
    code: 'journal-damaged',
    severity: 'error',
    inflict: harmMiddle,
  },
  {
    name: 'one bit in the middle of the journal',
    from: 'crashed',
    code: 'bit-turned',
    severity: 'warning',
    inflict(missions) {
      const { last } = recoverJournal(join(missions, '.lazarus/journal'));
      const file = segmentOf(missions);
      const bytes = readFileSync(file);
      const at = Math.floor((last?.end ?? 0) / 2);
      bytes[at] = (bytes[at] ?? 0) ^ 4;
      writeFileSync(file, bytes);
    },
  },
  {
    name: 'bytes behind the last batch',
    from: 'crashed',
    code: 'journal-torn',
    severity: 'note',
    inflict(missions) {
      const { last } = recoverJournal(join(missions, '.lazarus/journal'));
      const file = segmentOf(missions);
      const whole = readFileSync(file).subarray(0, last?.end ?? 0);
      writeFileSync(file, Buffer.concat([whole, Buffer.from('LZB1half a batch')]));
    },
  },
  {
    name: 'the newest files of the journal gone',
    from: 'cleanStop',
    code: 'journal-cut',
    severity: 'error',
    inflict(missions) {
      rmSync(join(missions, '.lazarus/journal'), { recursive: true });
      mkdirSync(join(missions, '.lazarus/journal'), { mode: 0o700 });
    },
  },
  {
    name: 'a record that stands twice',
    from: 'crashed',
    code: 'seq-twice',
    severity: 'error',
    inflict: (missions) => append(missions, (lines) => lines[0] ?? ''),
  },
  {
    name: 'a record of an older epoch behind newer ones',
    from: 'crashed',
    code: 'epoch-back',
    severity: 'error',
    inflict: (missions) =>
      append(missions, (lines) => (lines.at(-1) ?? '').replace(/"p":\d+/, '"p":0')),
  },
  {
    name: 'a hole in the records of an actor',
    from: 'crashed',
    code: 'records-missing',
    severity: 'warning',
    inflict: (missions) =>
      append(missions, (lines) =>
        (lines.at(-1) ?? '').replace(/"n":(\d+)/, (_all, n: string) => `"n":${Number(n) + 7}`),
      ),
  },
  {
    name: 'an effect that began twice',
    from: 'crashed',
    code: 'started-twice',
    severity: 'error',
    inflict(missions) {
      append(missions, (lines) => {
        const started = lines.findLast((line) => line.includes('"k":"started"')) ?? '';
        const address = /"a":"([^"]+)"/.exec(started)?.[1] ?? '';
        const last = lines.findLast((line) => line.startsWith(`{"a":"${address}"`)) ?? '';
        const next = Number(/"n":(\d+)/.exec(last)?.[1]) + 1;
        return started.replace(/"n":\d+/, `"n":${next}`);
      });
    },
  },
  {
    name: "the node's index",
    from: 'cleanStop',
    code: 'index-damaged',
    severity: 'warning',
    inflict: (missions) => flip(join(missions, '.lazarus/index.json')),
  },
  {
    name: 'what is known to be lost, in a file that nobody can read',
    from: 'cleanStop',
    code: 'losses-unreadable',
    severity: 'error',
    inflict: (missions) => writeFileSync(join(missions, '.lazarus/losses.json'), 'nothing'),
  },
  {
    name: 'an older checkpoint',
    from: 'cleanStop',
    code: 'checkpoint-older-damaged',
    severity: 'warning',
    inflict(missions) {
      const folder = cellFile(missions, 'checkpoints/lead');
      const older = readdirSync(folder).find((name) => /^state\.\d+\.json$/.test(name)) ?? '';
      renameSync(join(folder, older), join(folder, `x${older}`));
      copyFileSync(join(folder, `x${older}`), join(folder, older)); // not a second name of another any more
      rmSync(join(folder, `x${older}`));
      flip(join(folder, older));
    },
  },
  {
    name: "a checkpoint that is gone, and the cell's copy of its records too",
    from: 'cleanStop',
    code: 'actor-unfoldable',
    severity: 'error',
    inflict(missions) {
      rmSync(cellFile(missions, 'checkpoints/lead'), { recursive: true });
      rmSync(cellFile(missions, '.lazarus/journal'), { recursive: true });
    },
  },
  {
    name: "every checkpoint of an agent, and the cell's copy of its records cut at its end",
    from: 'cleanStop',
    code: 'checkpoint-damaged',
    severity: 'error',
    inflict(missions) {
      spoilCheckpoints(missions);
      const folder = cellFile(missions, '.lazarus/journal');
      const file = join(folder, readdirSync(folder).toSorted().at(-1) ?? '');
      truncateSync(file, statSync(file).size - 5);
    },
  },
  {
    name: "an older checkpoint in the place of the newest, and the cell's copy of its records gone",
    from: 'cleanStop',
    code: 'actor-unfoldable',
    severity: 'error',
    inflict(missions) {
      const folder = cellFile(missions, 'checkpoints/lead');
      const older = readdirSync(folder).find((name) => /^state\.\d+\.json$/.test(name)) ?? '';
      rmSync(join(folder, 'state.json'));
      copyFileSync(join(folder, older), join(folder, 'state.json'));
      rmSync(cellFile(missions, '.lazarus/journal'), { recursive: true });
    },
  },
  {
    name: 'a checkpoint that the records do not give',
    from: 'cleanStop',
    code: 'replay-differs',
    severity: 'error',
    inflict: (missions) =>
      forge(cellFile(missions, 'checkpoints/lead/state.json'), (text) =>
        text.replace(/"progress":\d+/, '"progress":99'),
      ),
  },
  {
    name: "a cell's copy of its records",
    from: 'cleanStop',
    code: 'copy-damaged',
    severity: 'error',
    inflict(missions) {
      const folder = cellFile(missions, '.lazarus/journal');
      const file = join(folder, readdirSync(folder)[0] ?? '');
      const first = [...scanBatches(readFileSync(file))][0];
      appendFileSync(file, readFileSync(file).subarray(0, 10)); // so that it has something behind it
      const bytes = readFileSync(file);
      if (first?.kind === 'batch') bytes.fill(0, first.start + 40, first.start + 60);
      writeFileSync(file, bytes);
      copyFileSync(file, join(folder, '999999999999999.wal'));
    },
  },
  {
    name: "an owner's record that nobody can read",
    from: 'cleanStop',
    code: 'owner-unreadable',
    severity: 'error',
    inflict: (missions) => writeFileSync(cellFile(missions, '.lazarus/owner.json'), '{'),
  },
  {
    name: 'a cell that another node did not leave clean',
    from: 'cleanStop',
    code: 'owner-elsewhere',
    severity: 'error',
    inflict: (missions) =>
      edit(cellFile(missions, '.lazarus/owner.json'), (owner) => ({
        ...owner,
        node: 'another',
        clean: false,
      })),
  },
  {
    name: 'an epoch file without a number',
    from: 'cleanStop',
    code: 'epoch-unreadable',
    severity: 'error',
    inflict: (missions) => writeFileSync(join(missions, '.lazarus/epoch'), 'seven\n'),
  },
  {
    name: 'two folders of one cell',
    from: 'cleanStop',
    code: 'cell-twice',
    severity: 'warning',
    inflict(missions) {
      cpSync(join(missions, CELL_ID), join(missions, 'twin'), { recursive: true });
      rmSync(join(missions, 'twin/artifacts'), { recursive: true });
    },
  },
  {
    name: 'an outcome of a step that is not whole',
    from: 'cleanStop',
    code: 'outcome-unreadable',
    severity: 'warning',
    inflict: (missions) =>
      writeFileSync(cellFile(missions, 'artifacts/logs/second/only.1.outcome.json'), '{"key":'),
  },
  {
    name: 'two outcomes of one effect',
    from: 'cleanStop',
    code: 'outcome-twice',
    severity: 'error',
    inflict(missions) {
      const first = cellFile(missions, 'artifacts/logs/second/only.1.outcome.json');
      const second = cellFile(missions, 'artifacts/logs/second/only.2.outcome.json');
      copyFileSync(first, second);
      edit(second, (outcome) => ({ ...outcome, attempt: 2 }));
    },
  },
  {
    name: 'an outcome of another command than was asked for',
    from: 'cleanStop',
    code: 'outcome-argv',
    severity: 'error',
    inflict: (missions) =>
      edit(cellFile(missions, 'artifacts/logs/second/only.1.outcome.json'), (outcome) => ({
        ...outcome,
        argv_sha256: hash('sha256', 'rm -rf /'),
      })),
  },
  {
    name: 'a file that the mission never wrote that far',
    from: 'cleanStop',
    code: 'file-ahead',
    severity: 'error',
    inflict: (missions) =>
      edit(cellFile(missions, 'tasks/first.json'), (file) => ({
        ...file,
        _rev: Number(file['_rev']) + 5,
      })),
  },
  {
    name: "a person's edit",
    from: 'cleanStop',
    code: 'file-edited',
    severity: 'note',
    inflict: (missions) =>
      edit(cellFile(missions, 'tasks/first.json'), (file) => ({ ...file, title: 'Another' })),
  },
  {
    name: 'a file that is not accepted',
    from: 'cleanStop',
    code: 'file-invalid',
    severity: 'warning',
    inflict: (missions) => writeFileSync(cellFile(missions, 'tasks/first.json'), '{"title": '),
  },
  {
    name: 'a line of the revival ledger',
    from: 'cleanStop',
    code: 'ledger-line',
    severity: 'warning',
    inflict(missions) {
      const file = join(missions, '.lazarus/revivals/ledger.jsonl');
      writeFileSync(file, `{"half": \n${readFileSync(file, 'utf8')}`);
    },
  },
  {
    name: 'a folder that was taken away',
    from: 'crashed',
    code: 'folder-gone',
    severity: 'note',
    inflict: (missions) => rmSync(join(missions, CELL_ID), { recursive: true }),
  },
  {
    name: 'a question that nobody asks',
    from: 'cleanStop',
    code: 'request-answered',
    severity: 'warning',
    inflict(missions) {
      const folder = join(missions, '.lazarus/revivals/pending');
      mkdirSync(folder, { recursive: true });
      const request = { revival_id: `${CELL_ID}.lead.9`, cell_id: CELL_ID, agent_id: 'lead' };
      writeFileSync(join(folder, `${CELL_ID}.lead.9.json`), JSON.stringify(request));
    },
  },
];

describe('damage that fsck can only name', () => {
  test.each(BEYOND_REPAIR)(
    'given $name, then $code is found, and a repair leaves every byte',
    async (damage) => {
      const missions = copyOf(lived[damage.from]);
      rmSync(join(missions, '.lazarus/node.json'), { force: true });
      damage.inflict(missions);
      const before = bytesOf(missions);
      const report = await fsck({ missionsDir: missions });
      const found = report.findings.find(({ code }) => code === damage.code);
      expect(found, JSON.stringify(report.findings, null, 1)).toMatchObject({
        severity: damage.severity,
      });
      expect(found?.means).not.toBe('');
      expect(found?.todo).not.toBe('');
      expect(report.clean).toBe(report.findings.every(({ severity }) => severity === 'note'));
      const repaired = await fsck({ missionsDir: missions, repair: true });
      expect(codesOf(repaired)).toContain(damage.code);
      expect(bytesOf(missions)).toEqual(before);
    },
  );
});

const MENDABLE: Damage[] = [
  {
    name: 'the newest checkpoint of an agent',
    from: 'cleanStop',
    code: 'checkpoint-damaged',
    severity: 'warning',
    inflict: (missions) => flip(cellFile(missions, 'checkpoints/lead/state.json')),
  },
  {
    name: 'every checkpoint of an agent, with all of its records there',
    from: 'cleanStop',
    code: 'checkpoint-damaged',
    severity: 'warning',
    inflict: spoilCheckpoints,
  },
  {
    name: 'a checkpoint that is gone, with all of its records there',
    from: 'cleanStop',
    code: 'checkpoint-gone',
    severity: 'warning',
    inflict: (missions) =>
      rmSync(cellFile(missions, 'checkpoints/lead'), { recursive: true, force: true }),
  },
  {
    name: 'a file that people read, from before the end',
    from: 'cleanStop',
    code: 'file-behind',
    severity: 'warning',
    inflict: (missions) =>
      edit(cellFile(missions, 'tasks/first.json'), (file) => ({
        ...file,
        status: 'in_progress',
        _rev: Number(file['_rev']) - 1,
      })),
  },
  {
    name: 'an error file about a good file',
    from: 'cleanStop',
    code: 'error-file-stale',
    severity: 'warning',
    inflict: (missions) =>
      writeFileSync(
        cellFile(missions, 'tasks/first.json.error'),
        'Not accepted by lazarus: tasks/first.json\n',
      ),
  },
  {
    name: 'temporary files',
    from: 'cleanStop',
    code: 'temporary-left',
    severity: 'warning',
    inflict(missions) {
      const name = '.first.json.4242-0a1b2c3d.1.tmp';
      writeFileSync(cellFile(missions, `tasks/${name}`), '{');
      writeFileSync(cellFile(missions, `artifacts/logs/first/${name}`), '{');
      writeFileSync(join(missions, '.lazarus', name), '{');
    },
  },
  {
    name: 'node.json and the socket of a dead node',
    from: 'cleanStop',
    code: 'node-left',
    severity: 'warning',
    inflict(missions) {
      const options = { mode: 0o600 };
      writeFileSync(join(missions, '.lazarus/node.json'), '{"pid": 4242}', options);
      writeFileSync(join(missions, '.lazarus/control.sock'), '', options);
    },
  },
  {
    name: 'a token that others can read',
    from: 'cleanStop',
    code: 'secret-open',
    severity: 'error',
    inflict(missions) {
      const file = join(missions, '.lazarus/http-token');
      writeFileSync(file, 'secret\n');
      chmodSync(file, 0o644);
    },
  },
];

describe('damage that is safe to mend', () => {
  test.each(MENDABLE)('given $name, then $code is found, mended, and gone', async (damage) => {
    const missions = copyOf(lived[damage.from]);
    damage.inflict(missions);
    const report = await fsck({ missionsDir: missions });
    expect(report.clean).toBe(false);
    expect(report.findings.find(({ code }) => code === damage.code)).toMatchObject({
      severity: damage.severity,
      repaired: null,
    });
    const repaired = await fsck({ missionsDir: missions, repair: true });
    for (const finding of repaired.findings.filter(({ code }) => code === damage.code))
      expect(finding.repaired).toEqual(expect.any(String));
    const second = await fsck({ missionsDir: missions });
    expect(second.findings.filter(({ code }) => !OF_A_CRASH.includes(code))).toEqual([]);
    expect(second.clean).toBe(true);
  });

  test('given a mended checkpoint, when a node starts, then the agent is there with all that it had finished', async () => {
    const missions = copyOf(lived.cleanStop);
    flip(cellFile(missions, 'checkpoints/lead/state.json'));
    await fsck({ missionsDir: missions, repair: true });
    const node = await startNode({}, missions);
    await node.node.scanned;
    const { context } = node.node.kernel.system.read(`cell/${CELL_ID}/agent/lead`).snapshot;
    expect(context).toMatchObject({ progress: 4, revivals: 1 });
    expect(node.warnings).toEqual([]);
  });

  test('given the mark of a dropped file, then it is removed once that file was moved away', async () => {
    const missions = copyOf(lived.cleanStop);
    const mark = cellFile(missions, '.lazarus/drop.json');
    writeFileSync(mark, JSON.stringify({ name: 'lived.json', sha256: hash('sha256', '{}') }));
    writeFileSync(join(missions, 'lived.json'), '{}');
    expect(codesOf(await fsck({ missionsDir: missions, repair: true }))).toEqual([
      'drop-unfinished',
    ]);
    writeFileSync(join(missions, 'lived.json'), '{"another": 1}'); // dropped since, under the same name
    expect(codesOf(await fsck({ missionsDir: missions }))).toEqual(['drop-marker-left']);
    rmSync(join(missions, 'lived.json'));
    expect(codesOf(await fsck({ missionsDir: missions, repair: true }))).toEqual([
      'drop-marker-left',
    ]);
    expect(await fsck({ missionsDir: missions })).toMatchObject({ clean: true, findings: [] });
  });

  test('given secrets with open modes, when they are mended, then only their owner may use them', async () => {
    const missions = copyOf(lived.cleanStop);
    const file = join(missions, '.lazarus/http-token');
    writeFileSync(file, 'secret\n');
    chmodSync(file, 0o664);
    await fsck({ missionsDir: missions, repair: true });
    expect(statSync(file).mode & 0o777).toBe(0o600);
  });

  test('given a lock that another process holds, then a repair changes nothing', async () => {
    const missions = copyOf(lived.cleanStop);
    writeFileSync(join(missions, '.lazarus/node.json'), '{"pid": 4242}');
    const lock = lockMissions(
      join(missions, '.lazarus/lock'),
      join(missions, '.lazarus/node.json'),
    );
    await expect(fsck({ missionsDir: missions, repair: true })).rejects.toMatchObject({
      code: 'NODE_LOCKED',
    });
    lock.release();
    expect(readFileSync(join(missions, '.lazarus/node.json'), 'utf8')).toContain('4242');
  });
});
