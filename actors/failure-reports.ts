/**
 * Failures that an agent cannot report by itself, told to its Lazarus: its actor is held, or its machine threw an event.
 *
 * R1 A refused request is no failure: machines refuse by RuntimeErrors with codes of their own.
 * R2 A report that cannot be made is logged; an actor that stays held stands in the status all the same.
 * R3 Its cell hears of it too, of what Lazarus makes of it, and of the end of it: what people read must not call it active
 *    meanwhile, and must say what is waited for.
 * R4 An agent that is no more has not failed: its Lazarus has closed the case, and nobody would ever close another one.
 */
import { agentAddress, cellAddress, lazarusAddress } from '../machines/addresses.ts';
import { statusOf } from '../machines/agent-context.ts';
import type { AgentContext } from '../machines/agent-context.ts';
import { findAgent } from '../machines/cell-context.ts';
import type { CellContext } from '../machines/cell-context.ts';
import { policiesOf, restartOf } from '../machines/cell-settle.ts';
import type { PlainError } from '../machines/errors.ts';
import type { Failure, LazarusEvent } from '../machines/events.ts';
import { asJsonObject } from '../machines/json.ts';
import type { JsonObject } from '../machines/json.ts';
import type { ActorSystem, SystemLog } from './system.ts';

/** What a machine throws when it is not its own fault. */
const FAULT_CODES: ReadonlySet<string | undefined> = new Set([
  undefined,
  'EVENT_REJECTED',
  'INTERNAL',
]);

export function reportFailures(system: ActorSystem, log: SystemLog): void {
  const tellCell = (address: string, status: () => AgentContext['told']): void => {
    const agent = agentOf(address);
    if (agent === null) return;
    const { cellId, agentId } = agent;
    const send = async (): Promise<void> => {
      const known = findAgent(cellOf(system, cellId), agentId);
      const told = status();
      // After a restart it is held as before, and Lazarus may have said more about it since.
      if (told.reason !== null && known?.reason?.startsWith(told.reason)) return;
      const currentTask = known?.currentTask ?? null;
      const event = { type: 'agent.reported', agentId, currentTask, ...told };
      await system.send(cellAddress(cellId), event);
    };
    send().catch((error: unknown) =>
      log.warn({ ...agent, error: String(error) }, "an agent's state was not told to its cell"),
    );
  };
  /** R3. It cannot pass on what Lazarus tells it. */
  const tellForHeld = (address: string, { reason }: JsonObject): void => {
    if (system.actors.get(address)?.hold && typeof reason === 'string')
      tellCell(address, () => ({ status: 'failed', reason }));
  };
  const report = (address: string, type: 'agent.failed' | 'agent.faulted', cause: Cause): void => {
    const agent = agentOf(address);
    if (agent)
      tell(system, agent, type, cause).catch((error: unknown) =>
        log.warn({ ...agent, error: String(error) }, 'a failure was not told to Lazarus'),
      );
  };
  system.on('held', (address, reason) => {
    const code = system.actors.get(address)?.hold?.code ?? 'held';
    const text = `its actor is held: ${reason}`;
    report(address, 'agent.failed', { reason: 'actor_held', signature: code, text });
    tellCell(address, () => ({ status: 'failed', reason: text })); // R3
  });
  system.on('released', (address) => {
    tellCell(address, () => statusOf(system.read(address).snapshot.context));
  });
  system.on('committed', ({ address, event, error }) => {
    if (event.type === 'agent.abandoned') tellForHeld(address, event);
    if (!error || !FAULT_CODES.has(error.code)) return; // R1
    const text = `its machine rejected ${event.type}: ${error.message}`;
    const signature = `${event.type}:${nameOf(error)}`;
    report(address, 'agent.faulted', { reason: 'event_rejected', signature, text });
  });
}

interface Cause {
  reason: Failure['reason'];
  signature: string;
  text: string;
}

async function tell(
  system: ActorSystem,
  { cellId, agentId }: { cellId: string; agentId: string },
  type: 'agent.failed' | 'agent.faulted',
  { reason, signature, text }: Cause,
): Promise<void> {
  const context = cellOf(system, cellId);
  if (isGone(system, cellId, agentId)) return;
  const taskId = findAgent(context, agentId)?.currentTask ?? null;
  const failure: Failure = {
    reason,
    signature: `${reason}:${signature}@${taskId ?? 'idle'}`,
    message: text,
    taskId,
    step: null,
    progress: -1, // it cannot be asked: nothing counts as progress
  };
  const event: LazarusEvent = {
    type,
    failure,
    policies: policiesOf(context, agentId).values,
    restart: restartOf(context).value,
  };
  const address = lazarusAddress(cellId, agentId);
  await system.spawn(address, 'lazarus', { cellId, agentId });
  if (isGone(system, cellId, agentId)) return; // meanwhile
  await system.send(address, { ...asJsonObject(event), type });
}

/** R4. As of this moment, committed or not: its Lazarus has been told in the same turn. */
const isGone = (system: ActorSystem, cellId: string, agentId: string): boolean =>
  system.actors.get(agentAddress(cellId, agentId))?.stopped !== false;

const cellOf = (system: ActorSystem, cellId: string): CellContext =>
  system.read(cellAddress(cellId)).snapshot.context as CellContext;

function agentOf(address: string): { cellId: string; agentId: string } | null {
  const [kind, cellId, , agentId] = address.split('/');
  if (kind !== 'cell' || cellId === undefined || agentId === undefined) return null;
  return address === agentAddress(cellId, agentId) ? { cellId, agentId } : null;
}

/** A stable word: no numbers that differ from one time to the next. */
const nameOf = ({ name, message }: PlainError): string =>
  `${name}:${message.replaceAll(/\d+/g, 'n').slice(0, 80)}`;
