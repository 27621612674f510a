/** Logical addresses of actors. An id may be used in a path, a subject and a file name alike. */
export const ID_PATTERN = /^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$/;

/** The folder of the runtime's own actors, laid out like every cell. */
export const SYSTEM_CELL_ID = '00000000-0000-4000-8000-6c617a617275';

/** Ids that people may not use: they name files of ours (`logs/mission.log`). */
export const RESERVED_IDS: ReadonlySet<string> = new Set(['mission']);

export const cellAddress = (cellId: string): string => `cell/${cellId}`;
export const agentAddress = (cellId: string, agentId: string): string =>
  `cell/${cellId}/agent/${agentId}`;
/** One revival actor for each agent that ever failed: intensity and futility are counted per agent. */
export const lazarusAddress = (cellId: string, agentId: string): string =>
  `system/lazarus/${cellId}/${agentId}`;
/** One actor for each message system that is bridged to, such as `redis`. */
export const bridgeAddress = (name: string): string => `system/bridge/${name}`;

export const PLANNER = 'system/planner';
export const GATE = 'system/gate';
/** One for each host and service that ever had an event worth a thought. */
export const incidentAddress = (host: string, service: string): string =>
  `${PLANNER}/${token(host)}/${token(service)}`;
export const actionAddress = (actionId: string): string => `system/action/${token(actionId)}`;

/** Names from outside: bytes other than these become `%XX`. */
const token = (name: string): string =>
  name.replaceAll(/[^A-Za-z0-9_-]/gu, (found) =>
    [...new TextEncoder().encode(found)]
      .map((byte) => `%${byte.toString(16).toUpperCase().padStart(2, '0')}`)
      .join(''),
  );

/** The cell whose folder holds an actor's checkpoints and records. */
export function homeCell(address: string): string {
  return address.startsWith('cell/') ? (address.split('/')[1] ?? '') : SYSTEM_CELL_ID;
}
