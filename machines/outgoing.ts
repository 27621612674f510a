/**
 * What a machine asks the kernel to do beyond itself, as data: built by pure functions, carried out in this order after
 * the commit. The helpers name the receiver's own event union, so a message that nobody understands does not compile.
 */
import type {
  AgentEvent,
  CellEvent,
  LazarusEvent,
  SendParams,
  SpawnParams,
  StopParams,
} from './events.ts';
import { asJsonObject } from './json.ts';
import { agentAddress, cellAddress, lazarusAddress } from './addresses.ts';

export interface Sending {
  type: 'send';
  params: SendParams;
}

export type Outgoing =
  Sending | { type: 'spawn'; params: SpawnParams } | { type: 'stop'; params: StopParams };

export function toCell(cellId: string, event: CellEvent): Sending {
  return send(cellAddress(cellId), event);
}

export function toAgent(cellId: string, agentId: string, event: AgentEvent): Sending {
  return send(agentAddress(cellId, agentId), event);
}

export function toLazarus(cellId: string, agentId: string, event: LazarusEvent): Sending {
  return send(lazarusAddress(cellId, agentId), event);
}

/** Only agents that ever failed have a Lazarus. */
export function toLazarusIfAny(cellId: string, agentId: string, event: LazarusEvent): Sending {
  const { params } = toLazarus(cellId, agentId, event);
  return { type: 'send', params: { ...params, ifThere: true } };
}

function send(to: string, event: AgentEvent | CellEvent | LazarusEvent): Sending {
  return { type: 'send', params: { to, event: { ...asJsonObject(event), type: event.type } } };
}
