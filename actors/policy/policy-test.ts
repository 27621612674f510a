/**
 * `lazarus policy test`: what was recorded, put to another policy. Pure but for the reading: nothing is written, nobody is told, and
 * no node is needed.
 */
import type { ReadPolicy } from '../../cells/policy-file.ts';
import { asJsonObject } from '../../machines/json.ts';
import type { JsonObject, JsonValue } from '../../machines/json.ts';
import type { Policy } from '../../machines/remediation.ts';
import { isoFromEpoch, isoOrNull } from '../../machines/time.ts';
import { compare } from '../../machines/what-if-comparison.ts';
import type { Compared, Comparison } from '../../machines/what-if-comparison.ts';
import { replay } from '../../machines/what-if.ts';
import type { Verdict } from '../../machines/what-if.ts';
import { zonesOf } from '../actions/zone-offsets.ts';
import { readRecord } from './record-reader.ts';
import type { RecordPlace, RecordRead } from './record-reader.ts';

export interface PolicyTest {
  place: RecordPlace;
  /** Epoch ms. */
  since: number;
  now: number;
  old: ReadPolicy & { file: string };
  new: ReadPolicy & { file: string };
}

/** Cases in the answer; what differs comes first. */
const MAX_SHOWN = 10_000;

export async function testPolicy(test: PolicyTest): Promise<JsonObject> {
  const { since, now } = test;
  const record = await readRecord(test.place, now);
  const before = verdictsOf(record, test.old.policy, now);
  const after = verdictsOf(record, test.new.policy, now);
  const found = compare(record.recording, { old: before, new: after }, since);
  const differing = found.items.filter(({ isSame }) => !isSame);
  const same = found.items.filter(({ isSame }) => isSame);
  return {
    since: isoFromEpoch(since),
    until: isoFromEpoch(now),
    old: { file: test.old.file, sha256: test.old.sha256 },
    new: { file: test.new.file, sha256: test.new.sha256 },
    cases: found.items.length,
    differ: differing.length,
    counts: asJsonObject(found.counts),
    differences: differing.slice(0, MAX_SHOWN).map(comparedView),
    unchanged: same.slice(0, Math.max(0, MAX_SHOWN - differing.length)).map(comparedView),
    read: asJsonObject(record.read),
    notes: notesOn(record, test, found),
  };
}

function verdictsOf(
  { recording, counts, revoked, oldestAt }: RecordRead,
  policy: Policy,
  now: number,
): Map<string, Verdict> {
  const zones = zonesOf(policy, Math.min(oldestAt ?? now, now), now);
  return replay(recording, policy, { zones, counts, revoked });
}

function comparedView({ at, isSame, old: before, new: after, ...named }: Compared): JsonObject {
  return {
    ...named,
    at: isoFromEpoch(at),
    same: isSame,
    old: verdictView(before),
    new: verdictView(after),
  };
}

const verdictView = ({ kind, action, run, ...verdict }: Verdict): JsonObject => ({
  verdict: kind,
  action,
  requires_human: verdict.requiresHuman,
  rule: verdict.rule,
  because: verdict.because,
  approved_at: isoOrNull(verdict.approvedAt),
  until: isoOrNull(verdict.until),
  run: run && { at: isoOrNull(run.at), waited_for: run.because, until: isoOrNull(run.until) },
});

/** What the answer does not know: an approximation says so. */
function notesOn(
  { read, counts, revoked }: RecordRead,
  { old: before, new: after }: PolicyTest,
  { items }: Comparison,
): JsonValue[] {
  const [one, other] = [before.policy.supervisor, after.policy.supervisor];
  const differs = (['stale_after', 'deployment_failures'] as const).filter(
    (key) => one[key] !== other[key],
  );
  const usesCounts = [one, other].some(({ limits }) => limits.percent_at_once !== undefined);
  const unseen = items.some(({ about }) => about === 'action');
  return [
    ...(items.length === 0 ? [] : [APPROXIMATE, UNFROZEN]),
    ...(unseen ? [IGNORED] : []),
    ...differs.map((key) => `${key} differs: which drifts there would have been is not on record`),
    ...(counts === null ? [NO_COUNTS] : []),
    ...(counts === null && usesCounts ? ['percent_at_once is taken for one action at once'] : []),
    ...(revoked.length > 0 ? [`taken back all along: ${revoked.slice(0, 10).join(', ')}`] : []),
    ...leftOut(read.older_steps_left_out, 'steps of drifts'),
    ...leftOut(read.older_files_left_out, 'files of actions'),
    ...(read.unreadable > 0 ? [`${read.unreadable} files of actions cannot be read`] : []),
  ];
}

const leftOut = (count: number, what: string): string[] =>
  count === 0 ? [] : [`${count} older ${what} were left out: there are too many`];

const APPROXIMATE =
  'what ran then ends as it did then; what never ran has no outcome: it is taken to run for a minute, to hold its place until ' +
  'the drift was gone (verify_within at most), and to earn nothing. People answer as they did then';
const UNFROZEN = 'as if the executor was on and nothing was frozen: neither is on record';
const IGNORED = 'events that a model would have ignored left no file, and are not here';
const NO_COUNTS =
  'nobody says how many services are desired (world/runtime-summary.json): the observer is never doubted here';
