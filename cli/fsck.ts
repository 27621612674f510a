/** `lazarus fsck [cell...]`: what is on disk, checked against what is promised; with `--repair`, what is safe is mended. */
import type { Command } from 'commander';
import { fsck } from '../actors/fsck/fsck.ts';
import type { FsckOptions, FsckReport } from '../actors/fsck/fsck.ts';
import type { HeldActor } from '../actors/fsck/world.ts';
import type { Finding } from '../actors/fsck/finding.ts';
import { missionsLayout } from '../cells/layout.ts';
import { isLocked } from '../cells/lock.ts';
import { asJsonObject, isJsonObject } from '../machines/json.ts';
import type { JsonValue } from '../machines/json.ts';
import { act, verb } from './command.ts';
import { chooseMissions, requireMissions } from './missions.ts';
import type { Missions } from './missions.ts';
import { DONE, FAILED, printable, show } from './output.ts';
import { readStatus } from './status.ts';
import { paint } from './terminal.ts';

export function command(): Command {
  const checking = verb(
    'fsck',
    'Checks what is on disk against what is promised: journal, checkpoints, steps, files, modes. Exit 0 clean, 1 findings.',
    'lazarus fsck\nlazarus fsck 5c0e6e08 --json\nlazarus fsck --repair',
  )
    .argument('[cell...]', 'only these missions: their ids, or the first characters of them')
    .option('--repair', 'mend what is safe to mend; no node may run');
  return act<{ repair?: boolean }>(checking, async (args, flags) => {
    const missions = chooseMissions(flags.missions);
    requireMissions(missions);
    const report = await fsck({
      missionsDir: missions.dir,
      cells: args.flat(),
      repair: flags.repair === true,
      ...(flags.repair === true ? {} : await toldByNode(missions)),
    });
    show(flags, asJsonObject(report), () => linesOf(report, missions));
    return report.clean ? DONE : FAILED;
  });
}

/** A node that holds the lock says how far it has committed and whom it holds; one that does not answer leaves it open. */
async function toldByNode(missions: Missions): Promise<Pick<FsckOptions, 'committedLsn' | 'held'>> {
  if (!isLocked(missionsLayout(missions.dir).lock)) return {};
  const { node } = await readStatus(missions);
  const { committed_lsn: lsn, held_actors: held } = node;
  return {
    committedLsn: typeof lsn === 'number' ? lsn : undefined,
    held: Array.isArray(held) ? new Map(held.flatMap(heldActor)) : undefined,
  };
}

function heldActor(value: JsonValue): [string, HeldActor][] {
  const { address, code, reason } = isJsonObject(value) ? value : {};
  const isText = typeof code === 'string' && typeof reason === 'string';
  return typeof address === 'string' && isText ? [[address, { code, reason }]] : [];
}

const STYLES = { error: 'red', warning: 'yellow', note: 'dim' } as const;

function linesOf(report: FsckReport, { dir }: Missions): string[] {
  const { findings, not_judged: left, untold } = report;
  const more = Object.entries(untold).map(
    ([code, count]) => `${count} more findings of the kind ${code}`,
  );
  return [
    ...findings.flatMap(findingLines),
    ...more.map((line) => paint('dim', line)),
    ...left.map((line) => `Not judged: ${line}.`),
    summary(report, dir),
  ];
}

function findingLines({ severity, code, what, where, means, todo, repaired }: Finding): string[] {
  return [
    `${paint(STYLES[severity], severity)} ${paint('bold', printable(what))} [${code}]`,
    `    at: ${printable(where)}`,
    `    means: ${printable(means)}`,
    repaired === null ? `    do: ${printable(todo)}` : `    repaired: ${printable(repaired)}`,
    '',
  ];
}

function summary(
  { findings, cells, states_compared: compared, running }: FsckReport,
  dir: string,
): string {
  const count = (severity: Finding['severity']): number =>
    findings.filter((finding) => finding.severity === severity).length;
  const repaired = findings.filter((finding) => finding.repaired !== null).length;
  const counted = `${count('error')} errors, ${count('warning')} warnings, ${count('note')} notes`;
  const mended = repaired > 0 ? `, ${repaired} repaired` : '';
  const state = running ? 'a node runs' : 'no node runs';
  return `${dir} (${state}): ${cells} cells, ${compared} states replayed and equal; ${counted}${mended}.`;
}
