/** Actions on the homelab: what is proposed, what a person says to it, and the gate that lets approved ones run. */
import { setTimeout as sleep } from 'node:timers/promises';
import { ACTIONS, idOf } from '../actions/action-index.ts';
import { actionLine, actionView } from '../actions/action-view.ts';
import type { ActionLine } from '../actions/action-view.ts';
import { standingOf } from '../actions/action-waits.ts';
import type { Standing } from '../actions/action-waits.ts';
import { requireActionId } from '../actions/action-files.ts';
import { expectedEffect } from '../actions/expected-effect.ts';
import { actionsDoorIfAny, actionsDoorOf } from '../actions/actions-door.ts';
import { actionAddress, GATE, SUPERVISOR } from '../../machines/addresses.ts';
import { runInput } from '../../machines/action-inputs.ts';
import type { ActionContext } from '../../machines/action-context.ts';
import { conflict, RuntimeError } from '../../machines/errors.ts';
import type { GateContext } from '../../machines/gate.machine.ts';
import { asJsonObject } from '../../machines/json.ts';
import type { JsonObject } from '../../machines/json.ts';
import { ACTION_STATUSES } from '../../machines/remediation.ts';
import type { ActionEvent, GateEvent } from '../../machines/remediation.ts';
import { isoFromEpoch } from '../../machines/time.ts';
import type { MissionNode } from '../node.ts';
import type { ActorSystem } from '../system.ts';
import { nearNames } from './ids.ts';
import { ACTIONS_LIST, ONE_ACTION } from './outputs.ts';
import { PAGE_FIELDS, pageOf } from './page.ts';
import type { PageInput } from './page.ts';
import { byOf, inputOf } from './verb.ts';
import type { CheckedInput, MissionReader, ReadingVerb, VerbInput, WritingVerb } from './verb.ts';

/** How long a verb waits for the file to be where it asked for, ms. */
const MOVE_MS = 15_000;

export const actionReadingVerbs: ReadingVerb[] = [
  {
    kind: 'reads',
    name: 'actions.list',
    summary: 'Actions that are proposed, wait, run, or ended lately, and why each waits.',
    remote: true,
    input: inputOf([], [], {
      status: { enum: [...ACTION_STATUSES, 'held'], description: 'Only those of this status.' },
      host: { type: 'string', maxLength: 200, description: 'Only those on this host.' },
      ...PAGE_FIELDS,
    }),
    output: ACTIONS_LIST,
    run: listActions,
  },
  {
    kind: 'reads',
    name: 'actions.show',
    summary: 'One action: what it is, what an approval of it names, what came of it.',
    remote: true,
    input: inputOf(['id']),
    output: ONE_ACTION,
    run: (reader, { id = '' }: VerbInput) => showAction(reader, id),
  },
];

type ListInput = PageInput & { status?: string; host?: string };

function listActions(reader: MissionReader, { status, host, ...page }: ListInput): JsonObject {
  const standing = standingOf(reader);
  const lines = reader
    .addresses(ACTIONS)
    .flatMap((address) => lineOf(reader, address, standing))
    .filter((line) => status === undefined || line.status === status)
    .filter((line) => host === undefined || line.host === host);
  const { items, ...more } = pageOf(lines, ({ action_id: id }) => id, page);
  const gate = reader.actor(GATE);
  const { frozen, mode } =
    gate === undefined || 'held' in gate
      ? { frozen: null, mode: null }
      : (gate.context as GateContext);
  return {
    running: reader.clock() !== undefined,
    executor: mode,
    frozen: frozen && { ...frozen, at: isoFromEpoch(frozen.at) },
    actions: items.map(asJsonObject),
    ...more,
  };
}

function lineOf(reader: MissionReader, address: string, standing: Standing): ActionLine[] {
  const actor = reader.actor(address);
  if (actor === undefined || 'held' in actor) return []; // the status names those that are held
  return [actionLine(actor.context as ActionContext, actor.state, standing)];
}

function showAction(reader: MissionReader, id: string): JsonObject {
  const actor = reader.actor(actionAddress(id));
  if (actor === undefined) throw unknownAction(id, reader.addresses(ACTIONS).map(idOf));
  if ('held' in actor)
    throw new RuntimeError(`action ${id} is held: ${actor.held}`, {
      code: 'ACTOR_HELD',
      hint: `lazarus cell release ${actionAddress(id)}`,
    });
  const context = actor.context as ActionContext;
  const view = actionView(context, actor.state, standingOf(reader));
  const effect = expectedEffect(reader, context);
  return {
    running: reader.clock() !== undefined,
    ...asJsonObject(view),
    expected_effect: effect && asJsonObject(effect),
  };
}

function unknownAction(id: string, known: string[]): RuntimeError {
  const near = nearNames(id, known);
  return new RuntimeError(`there is no action ${id}`, {
    code: 'NOT_FOUND',
    details: { near },
    hint:
      near.length > 0
        ? `Did you mean ${near.join(', ')}?`
        : 'List them with `lazarus actions list`; what ended long ago is in its file only.',
  });
}

export const actionVerbs: WritingVerb[] = [
  {
    ...described('actions.approve', 'Approves an action: the gate lets it run when it may.'),
    input: inputOf(['id'], ['by'], {
      sha256: {
        type: 'string',
        pattern: '^[0-9a-f]{64}$',
        description:
          'Of what was looked at (`actions show`): if it is another by now, nothing is approved.',
      },
    }),
    run: (node, { sha256, ...input }: VerbInput) =>
      answered(node, input, (signed) => ({
        type: 'action.approve',
        ...signed,
        ...(sha256 !== undefined && { sha256 }),
        expires: actionsDoorOf(node).approvalExpires(),
      })),
  },
  {
    ...described('actions.reject', 'Says no to a proposed action.'),
    destructive: true,
    input: inputOf(['id'], ['reason', 'by']),
    run: (node, input: VerbInput) =>
      answered(node, input, (signed) => {
        return { type: 'action.reject', ...signed, reason: input['reason'] ?? null };
      }),
  },
  {
    ...described('actions.cancel', 'Takes back an action that does not run yet.'),
    destructive: true,
    input: inputOf(['id'], ['reason', 'by']),
    run: (node, input: VerbInput) =>
      answered(node, input, (signed) => {
        return { type: 'action.cancel', ...signed, reason: input['reason'] ?? null };
      }),
  },
  {
    ...described('actions.run', 'Says how an action would be run, and what it waits for.'),
    rights: 'operate',
    idempotent: true,
    input: inputOf(['id'], ['by'], {
      dry_run: { type: 'boolean', description: 'Only say how it would be run.' },
    }),
    run: runAction,
  },
  {
    ...described('freeze', 'Lets no action run until it is ended.'),
    idempotent: true,
    input: inputOf(['reason'], ['by']),
    run: (node, { reason = '', ...input }: VerbInput) =>
      tellGate(node, { type: 'gate.freeze', by: byOf(input), reason }),
  },
  {
    ...described('unfreeze', 'Ends a freeze: approved actions may run again.'),
    idempotent: true,
    input: inputOf([], ['by']),
    run: (node, input: VerbInput) => tellGate(node, { type: 'gate.unfreeze', by: byOf(input) }),
  },
];

function described(
  name: string,
  summary: string,
): Pick<WritingVerb, 'kind' | 'name' | 'summary' | 'remote' | 'rights'> {
  return { kind: 'writes', name, summary, remote: true, rights: 'approve' };
}

/** `alice (command line)`: the door is what stands behind the name. */
function signedBy(input: VerbInput): { by: string; door: string } {
  const by = byOf(input);
  return { by, door: /\(([^()]*)\)$/.exec(by)?.[1] ?? 'verb' };
}

/** Resolves when the file is where it was asked for. Throws what the action refuses, and CONFLICT when somebody was quicker. */
async function answered(
  node: MissionNode,
  input: VerbInput,
  eventOf: (signed: { by: string; door: string }) => ActionEvent,
): Promise<JsonObject> {
  const { id = '' } = input;
  const address = await addressOf(node, id);
  const event = eventOf(signedBy(input));
  await node.kernel.system.send(address, { ...asJsonObject(event), type: event.type });
  const view = await moved(node, id);
  if (view.refusal === null) return asJsonObject(view);
  throw conflict(
    `action ${id} is ${view.status}: ${view.refusal}`,
    `See how it stands: \`lazarus actions show ${id}\`.`,
  );
}

/** A file that was written just now may not have been looked at yet. */
async function addressOf(node: MissionNode, id: string): Promise<string> {
  requireActionId(id);
  const address = actionAddress(id);
  const { system } = node.kernel;
  const door = actionsDoorOf(node);
  if (!system.has(address)) await door.lookAtAll();
  if (system.has(address)) return address;
  const known = [...system.actors.keys()].filter((one) => one.startsWith(ACTIONS)).map(idOf);
  throw unknownAction(id, known);
}

async function moved(node: MissionNode, id: string) {
  const { system } = node.kernel;
  const deadline = performance.now() + MOVE_MS;
  for (;;) {
    const { snapshot } = system.read(actionAddress(id));
    const view = actionView(snapshot.context as ActionContext, snapshot.value as JsonObject);
    if (!snapshot.hasTag('moving') || snapshot.hasTag('underway')) return view;
    if (performance.now() > deadline)
      throw new RuntimeError(`the file of action ${id} is still on its way`, {
        code: 'BUSY',
        retryable: true,
        hint: `See how it stands: \`lazarus actions show ${id}\`.`,
      });
    await sleep(5);
  }
}

async function runAction(
  node: MissionNode,
  { id = '', dry_run: dryRun = false }: CheckedInput,
): Promise<JsonObject> {
  const name = typeof id === 'string' ? id : '';
  const address = await addressOf(node, name);
  const { snapshot } = node.kernel.system.read(address);
  const context = snapshot.context as ActionContext;
  const view = actionView(context, snapshot.value as JsonObject);
  if (dryRun !== true && !snapshot.hasTag('underway'))
    throw conflict(
      `action ${name} is ${view.status}: only what is approved runs, and then by itself`,
      `lazarus actions approve ${name}`,
    );
  const { run } = runInput({ context });
  const planned = await actionsDoorOf(node).plan({ ...run, sha256: view.sha256 ?? '' });
  const { status, state, waits, until } = view;
  return { action_id: name, status, state, waits, until, would_run: asJsonObject(planned) };
}

async function tellGate(node: MissionNode, event: GateEvent): Promise<JsonObject> {
  const { system } = node.kernel;
  const door = actionsDoorIfAny(node);
  if (event.type === 'gate.freeze' && system.has(SUPERVISOR))
    await system.send(SUPERVISOR, { type: 'supervisor.frozen', frozen: true }); // first: it approves nothing in between
  if (!system.has(GATE)) await system.spawn(GATE, 'gate', {});
  if (event.type === 'gate.unfreeze') await door?.keepFreeze(null); // cut off here, it is still frozen
  await system.send(GATE, { ...asJsonObject(event), type: event.type });
  const { frozen, waiting, running } = system.read(GATE).snapshot.context as GateContext;
  if (event.type === 'gate.freeze') await door?.keepFreeze(frozen);
  const begun = running.filter(({ address }) => !isBeingPlanned(system, address));
  return {
    frozen: frozen && { ...frozen, at: isoFromEpoch(frozen.at) },
    waiting: waiting.length + running.length - begun.length,
    running: begun.map(({ actionId }) => actionId),
  };
}

/** It was let run, and nothing of it has begun. */
function isBeingPlanned(system: ActorSystem, address: string): boolean {
  try {
    return system.read(address).snapshot.matches({ underway: 'planning' });
  } catch (error) {
    if (error instanceof RuntimeError) return false; // held: nobody knows
    throw error;
  }
}
