/**
 * SIGKILL at every durable boundary between an event and what other programs are told of it: nothing is lost, and nothing
 * comes twice.
 */
import { spawnSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { basename } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { eventually } from '../support/eventually.ts';
import { homelabEvent, proposal } from '../support/incidents.ts';
import { temporaryMissions } from '../support/node.ts';
import { publish, ScriptedModel, startPlanner, temporaryRuntime } from '../support/planner.ts';

const child = fileURLToPath(new URL('../support/planner-child.ts', import.meta.url));
/** Ours, and the journal's where something has just become durable or not. */
const LOOKED_AT = /^(effect|event-file)\.|^action-file\.after|^journal\.after-(write|sync)/;
const ID = 'plan-piha-mosquitto-1764000000';

function live(at: string): {
  missions: string;
  runtime: string;
  signal: string | null;
  out: string;
} {
  const [missions, runtime] = [temporaryMissions(), temporaryRuntime()];
  const argv = ['--disable-warning=ExperimentalWarning', child, missions, runtime, at];
  const { signal, stdout, stderr } = spawnSync(process.execPath, argv, { encoding: 'utf8' });
  if (signal !== 'SIGKILL') throw new Error(`${at}: ${stderr}`);
  return { missions, runtime, signal, out: stdout };
}

const namesIn = (folder: string): string[] =>
  readdirSync(folder, { recursive: true, encoding: 'utf8' }).map((path) => basename(path));
const isWhole = (name: string): boolean => !name.startsWith('.');

/** What the next node makes of it, and the event once more, as a source that saw no acknowledgement sends it. */
async function goesOn(at: string): Promise<void> {
  const { missions, runtime } = live(at);
  const model = new ScriptedModel();
  model.answer = () => proposal({ reason: 'Another answer of the model' });
  const next = await startPlanner({ missions, runtime, model });
  await publish(next.node, homelabEvent(1_764_000_000_000), 'the event');
  await next.incidentIs('cooling');
  await eventually(() => expect(next.incident().context.announcements, at).toEqual([]));
  const { context } = next.incident();
  expect(namesIn(next.layout.actions.pending).filter(isWhole), at).toEqual([`${ID}.json`]);
  expect(
    namesIn(next.layout.events).filter((name) => !isWhole(name)),
    at,
  ).toEqual([]);
  expect(context.occurrences, at).toBe(1);
  expect(context.cooldownUntil, at).toBe((context.proposed[0]?.at ?? 0) + 300_000);
  expect(next.eventFiles(), at).toMatchObject([
    { type: 'remediation_started', correlation_id: ID },
  ]);
  await next.test.stop();
}

test(
  'given a kill at any boundary, then the next node ends with one action, one cooldown and one event file',
  { timeout: 600_000 },
  async () => {
    const visits = (JSON.parse(live('list').out) as string[]).filter((visit) =>
      LOOKED_AT.test(visit),
    );
    for (const part of ['effect.diagnose', 'action-file', 'event-file', 'journal'])
      expect(
        visits.some((visit) => visit.startsWith(part)),
        part,
      ).toBe(true);
    for (const visit of visits) await goesOn(visit);
  },
);
