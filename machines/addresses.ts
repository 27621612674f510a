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
/** What others publish on the bus. */
export const NATS_BRIDGE = bridgeAddress('nats');

/** What is known of language models and of what they cost. */
export const LLM_ADDRESS = 'system/llm';
export const PLANNER = 'system/planner';
export const GATE = 'system/gate';
/** One for each host and service that ever had an event worth a thought. */
export const incidentAddress = (host: string, service: string): string =>
  `${PLANNER}/${shortToken(host)}/${shortToken(service)}`;
export const SUPERVISOR = 'system/supervisor';
/** One for each host, and each service of one, that is not as it should be. */
export const driftAddress = (host: string, service: string | null): string =>
  [SUPERVISOR, host, ...(service === null ? [] : [service])]
    .map((name, i) => (i === 0 ? name : shortToken(name)))
    .join('/');
export const isDriftAddress = (address: string): boolean => address.startsWith(`${SUPERVISOR}/`);
export const OBSERVER = 'system/observer';
/** One for each host of which anything was heard. */
export const observedAddress = (host: string): string => `${OBSERVER}/${shortToken(host)}`;
export const actionAddress = (actionId: string): string => `system/action/${nameToken(actionId)}`;

/** Names from outside: bytes other than these become `%XX`. */
export const nameToken = (name: string): string =>
  name.replaceAll(/[^A-Za-z0-9_-]/gu, (found) =>
    [...new TextEncoder().encode(found)]
      .map((byte) => `%${byte.toString(16).toUpperCase().padStart(2, '0')}`)
      .join(''),
  );

/** Longest token of a name that somebody outside chose: addresses have at most 300 characters. */
const MAX_TOKEN = 128;

/** A longer one is cut, and a sum of all of it keeps it apart from others; no whole token has a dot. */
function shortToken(name: string): string {
  const whole = nameToken(name);
  if (whole.length <= MAX_TOKEN) return whole;
  const sum = fnv1a64(whole).toString(16).padStart(16, '0');
  return `${whole.slice(0, MAX_TOKEN - sum.length - 1).replace(/%.?$/, '')}.${sum}`;
}

/** FNV-1a, 64 bits: http://www.isthe.com/chongo/tech/comp/fnv/ */
function fnv1a64(text: string): bigint {
  let sum = 0xcbf29ce484222325n;
  for (const byte of new TextEncoder().encode(text))
    sum = BigInt.asUintN(64, (sum ^ BigInt(byte)) * 0x100000001b3n);
  return sum;
}

/** The cell whose folder holds an actor's checkpoints and records. */
export function homeCell(address: string): string {
  return address.startsWith('cell/') ? (address.split('/')[1] ?? '') : SYSTEM_CELL_ID;
}
