/** What the supervisor needs: an inventory and a world that can be read and understood. Each is read as a look would read it. */
import { existsSync } from 'node:fs';
import { AHEAD_MS } from '../../machines/assessment.ts';
import { DEFAULT_SUPERVISOR_POLICY } from '../../machines/supervision.ts';
import { isoFromEpoch } from '../../machines/time.ts';
import type { JsonObject, JsonValue } from '../../machines/json.ts';
import { isJsonObject } from '../../machines/json.ts';
import { readPolicyFile } from '../../cells/policy-file.ts';
import type { RuntimeLayout } from '../../cells/runtime-layout.ts';
import { DesiredSource } from '../supervisor/desired-source.ts';
import type { SourceLog } from '../supervisor/source-log.ts';
import { WorldSource } from '../supervisor/world-source.ts';
import { ok, missing, warn } from './check.ts';
import type { Finding, Probe } from './check.ts';

const group = 'homelab';
/** What is wrong is in the finding. */
const SILENT: SourceLog = { info: () => {}, warn: () => {} };

export function supervisionProbes(
  layout: RuntimeLayout,
  inventory: string,
  aliases: Readonly<Record<string, string>>,
): Probe[] {
  return [
    { group, name: 'inventory', look: () => lookAtInventory(inventory, aliases) },
    { group, name: 'world', look: () => lookAtWorld(layout) },
  ];
}

async function lookAtInventory(
  folder: string,
  aliases: Readonly<Record<string, string>>,
): Promise<Finding> {
  if (!existsSync(folder)) return ok(`no ${folder}: nothing is desired, and nothing drifts`);
  const source = new DesiredSource(folder, {
    log: SILENT,
    aliases: new Map(Object.entries(aliases)),
    settleMs: 0,
  });
  const look = await source.look(Date.now());
  const { problem, problems, problem_count: count, hosts, services } = source.view();
  const [first] = Array.isArray(problems) ? problems.filter(isJsonObject) : [];
  if (first !== undefined)
    return warn(`${Number(count)} not taken; ${placeOf(first)}`, textOf(first['fix']));
  if (!look.ok) return missing(look.reason, `ls -l ${folder}`);
  if (typeof problem === 'string') return warn(problem, null);
  return ok(`${folder}: ${Number(hosts)} hosts, ${Number(services)} services`);
}

const placeOf = ({ file, line, problem }: JsonObject): string =>
  `${textOf(file)}:${textOf(line)} ${textOf(problem)}`;
const textOf = (value: JsonValue | undefined): string =>
  typeof value === 'string' || typeof value === 'number' ? `${value}` : '';

function lookAtWorld({ world, policyFile }: RuntimeLayout): Finding {
  const now = Date.now();
  const look = new WorldSource(world, { log: SILENT }).look(now);
  if (!look.ok)
    return missing(
      `${look.reason}; a look at it finds nothing out`,
      `ls -l ${world}   (its observer writes it anew, or \`lazarus up\` does)`,
    );
  const { at, hosts } = look.value;
  if (at === null) return ok(`nobody has written in ${world} yet`);
  const read = readPolicyFile(policyFile);
  const { stale_after: seconds } = read.ok ? read.policy.supervisor : DEFAULT_SUPERVISOR_POLICY;
  if (at > now + AHEAD_MS)
    return warn(
      `what was observed is of ${isoFromEpoch(at)}, a time that has not come: nothing of it counts`,
      `date; ls -l --full-time ${world}   (a clock is wrong, or a file's time was set)`,
    );
  if (at + seconds * 1000 >= now) return ok(`${world}: ${hosts.size} hosts`);
  return warn(
    `the observer has been silent since ${isoFromEpoch(at)}: what it said last is unknown now`,
    'start the observer again, or let `lazarus up` observe (--observer on)',
  );
}
