/**
 * How an agent breaks x what policy says x which file says so x where in the mission it was: one table, after OTP's
 * supervisor_SUITE. Every row looks at the whole world: what Lazarus decides and writes down, what the agent's file, its
 * task and the tasks behind it say, that the rest goes on, and that the mission completes once the agent is back.
 */
import { describe, expect, test } from 'vitest';
import type { AutoRevive, FileChange, Policies } from '../../machines/mission.ts';
import type { LedgerEntry } from '../../machines/lazarus-context.ts';
import type { JsonObject } from '../../machines/json.ts';
import type { MachineWorld, WorldOptions } from '../support/machine-world.ts';
import { agentFile, cellFile, configFile, SAVED } from '../support/machine-world.ts';
import { answer, BREAKS, bringTo, caseOf, comeBack, entryOf } from '../support/breaking-agents.ts';
import {
  finish,
  finishTask,
  LAZARUS_A,
  mission,
  POSITIONS,
  S,
} from '../support/breaking-agents.ts';
import type { Breaking, Position } from '../support/breaking-agents.ts';

type Origin = 'agent file' | 'cell.json' | 'config/policies.json' | 'daemon';

/** Each origin says `auto`; whatever has less precedence says something else, and what has more says nothing. */
const ORIGINS: Record<Origin, (auto: AutoRevive) => { files: FileChange[]; daemon: AutoRevive }> = {
  'agent file': (auto) => ({
    files: [agentFile('a', says(auto)), cellFile(says(other(auto))), config(other(auto))],
    daemon: other(auto),
  }),
  'cell.json': (auto) => ({
    files: [cellFile(says(auto)), config(other(auto))],
    daemon: other(auto),
  }),
  'config/policies.json': (auto) => ({ files: [config(auto)], daemon: other(auto) }),
  daemon: (auto) => ({ files: [], daemon: auto }),
};
const says = (auto: AutoRevive): JsonObject => ({ policies: { auto_revive: auto } });
const config = (auto: AutoRevive): FileChange => configFile('policies', { auto_revive: auto });
const other = (auto: AutoRevive): AutoRevive => (auto === 'yes' ? 'no' : 'yes');

type Decision = 'revives it' | 'asks a person' | 'leaves it';
const DECISIONS: Record<AutoRevive, Decision> = {
  yes: 'revives it',
  ask: 'asks a person',
  no: 'leaves it',
};

interface Row {
  kind: Breaking;
  auto: AutoRevive;
  origin: Origin;
  position: Position;
  decision: Decision;
}

const KINDS = Object.keys(BREAKS) as Breaking[]; // oxlint-disable-line typescript/no-unsafe-type-assertion
const rows = KINDS.flatMap((kind) =>
  (['yes', 'ask', 'no'] as const).flatMap((auto) =>
    (Object.keys(ORIGINS) as Origin[]).flatMap((origin) =>
      // oxlint-disable-line typescript/no-unsafe-type-assertion
      POSITIONS.filter((position) => position !== 'idle' || BREAKS[kind].idle).map(
        (position): Row => ({ kind, auto, origin, position, decision: decisionOf(kind, auto) }),
      ),
    ),
  ),
);

/** A machine that throws again and again is not mended by a restart: a person is asked, whatever the policy says (L6). */
function decisionOf(kind: Breaking, auto: AutoRevive): Decision {
  return kind === 'event_rejected' ? 'asks a person' : DECISIONS[auto];
}

const title = ({ kind, auto, origin, position, decision }: Row): string =>
  `given ${position === 'idle' ? 'an idle agent' : `the ${position} of the chain in hand`}, when it breaks by ${kind} and ${origin} says ${auto}, then Lazarus ${decision}`;

describe.each(KINDS)('%s', (kind) => {
  test.each(rows.filter((row) => row.kind === kind).map((row) => [title(row), row] as const))(
    '%s',
    (_, row) => {
      const { files, daemon } = ORIGINS[row.origin](row.auto);
      const options: WorldOptions = { daemon: { policies: { auto_revive: daemon } } };
      const world = mission(files, options);
      bringTo(world, row.position);
      expect(policiesOf(world).auto_revive).toBe(row.auto);
      BREAKS[kind].cause(world);
      looksBroken(world, row);
      decides(world, row);
      theRestGoesOn(world);
      comesBack(world, row);
    },
  );
});

const policiesOf = (world: MachineWorld): Policies => world.agent('a').snapshot.context.policies;

/** An agent that stands as failed. One whose actor is held or throws cannot say so; Lazarus alone knows. */
const standsFailed = (kind: Breaking): boolean =>
  kind !== 'actor_held' && kind !== 'event_rejected';

/** What people read in the files. */
function looksBroken(world: MachineWorld, { kind, position }: Row): void {
  const inHand = position === 'idle' ? null : position;
  const agent = world.file('agents/a.json');
  expect(agent['current_task']).toBe(inHand);
  if (standsFailed(kind)) {
    expect(agent).toMatchObject({
      status: 'failed',
      status_reason: expect.stringContaining(BREAKS[kind].message),
    });
  } else expect(agent['status']).toBe(inHand === null ? 'idle' : 'active');
  if (inHand === null) return;
  expect(world.task(inHand)['status']).toBe('in_progress');
  if (!standsFailed(kind)) return;
  expect(world.task(inHand)['blocked_reason']).toBe(
    `agent a failed: ${String(agent['status_reason'])}`,
  );
  const [next, afterNext] = BEHIND[inHand] ?? [];
  if (next)
    expect(world.task(next)['blocked_reason']).toBe(`waits for ${inHand}, whose agent a failed`);
  if (afterNext)
    expect(world.task(afterNext)['blocked_reason']).toBe(`waits for ${next}, which is blocked`);
}
const BEHIND: Record<string, string[]> = { root: ['middle', 'leaf'], middle: ['leaf'] };

/** What Lazarus does about it, and what stands in the ledger. */
function decides(world: MachineWorld, { kind, position, decision, auto }: Row): void {
  const { message, signature, reviving } = BREAKS[kind];
  const place = position === 'idle' ? 'idle' : standsFailed(kind) ? `${position}/one` : position;
  const during =
    position !== 'idle' && standsFailed(kind) ? ` during task ${position}, step one` : '';
  const failure = { signature: `${signature}@${place}`, message: `${message}${during}` };
  expect(caseOf(world).current?.failure).toMatchObject(failure);
  const isUnderWay = decision === 'revives it';
  const lazarus = world.lazarus('a');
  expect(lazarus.running.has('ledger')).toBe(!isUnderWay);
  if (isUnderWay) {
    const isWaiting = lazarus.value === 'backingOff';
    expect(isWaiting || 'reviving' in (lazarus.value as object)).toBe(true);
    if (!reviving) expect(isWaiting).toBe(false); // the first revival comes at once
    return;
  }
  // An approval that did not bring it back is used up: whoever is asked again has not yet answered.
  const numbered = reviving && auto === 'no' ? 'c1.a.2' : 'c1.a.1';
  expect(entryOf(world)).toMatchObject({
    revival_id: numbered,
    agent_id: 'a',
    cell_id: 'c1',
    reason: failure.message,
    signature: failure.signature,
    status: decision === 'asks a person' ? 'pending_approval' : 'failed',
    outcome: decision === 'asks a person' ? 'asking' : 'refused',
    attempts: reviving ? 1 : 0,
    revived_at: null,
    took_ms: null,
  } satisfies Partial<LedgerEntry>);
  if (standsFailed(kind))
    expect(world.file('agents/a.json')['status_reason']).toContain(
      decision === 'asks a person'
        ? `\`lazarus revivals show ${numbered}\``
        : '`lazarus agent revive c1/a`',
    );
  world.done(LAZARUS_A, 'ledger');
}

/** The other agent's tasks, up to the last. */
function theRestGoesOn(world: MachineWorld): void {
  finishTask(world, S);
  world.done(S, 'beginContext', SAVED);
  finishTask(world, S);
  expect(world.task('aside')['status']).toBe('completed');
  expect(world.task('later')['status']).toBe('completed');
}

/** By itself or with a person's help: verified, recorded, and the mission completes without a step done twice. */
function comesBack(world: MachineWorld, { decision, position, kind }: Row): void {
  const isApproved = decision !== 'revives it';
  if (isApproved) {
    expect(world.file('cell.json')['status']).toBe(position === 'idle' ? 'completed' : 'active');
    world.pass(60_000);
    answer(world, 'approve', { revivalId: caseOf(world).revivalId ?? '' });
  }
  comeBack(world);
  expect(entryOf(world)).toMatchObject({
    status: 'revived',
    outcome: 'revived',
    approved_by: isApproved ? 'ann' : null,
    revived_at: new Date(world.clock.at).toISOString(),
    took_ms: isApproved ? 40 : world.clock.at - caseOf(world).requestedAt,
    expires_at: null,
    choices: [],
  });
  world.done(LAZARUS_A, 'ledger');
  expect(world.lazarus('a').value).toBe('watching');
  expect(world.file('agents/a.json')['status']).toBe(position === 'idle' ? 'idle' : 'active');
  expect(world.file('agents/a.json')['status_reason']).toBeUndefined();
  if (position !== 'idle') expect(world.task(position)['blocked_reason']).toBeUndefined();
  finish(world);
  expect(world.file('cell.json')['status'], kind).toBe('completed');
  for (const id of ['root', 'middle', 'leaf'])
    expect(world.task(id)).toMatchObject({ status: 'completed', attempts: 1, assigned_to: 'a' });
  expect(world.agent('a').snapshot.context.progress).toBe(6); // each of its steps once
}

test('the table is whole: every kind, policy, origin and place', () => {
  const idle = KINDS.filter((kind) => BREAKS[kind].idle).length;
  expect(rows.length).toBe((KINDS.length * 3 + idle) * 3 * 4);
  expect(KINDS.length).toBe(10);
});
