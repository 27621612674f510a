/**
 * What the page knows: actors as they are and events as they came, taken from the messages of @statelyai/inspect.
 *
 * M1 Bounded: the newest `MAX_EVENTS` events, of `MAX_EVENT_CHARS` together, and the last `MAX_STOPPED` actors that are gone.
 * M2 A definition is kept and parsed once for each machine, not for each of its actors.
 * M3 A new connection begins with nothing: what is not introduced again does not live any more. Events stay, with a line that
 *    says that some may be missing there.
 */
import { shortState } from './states.js';

const MAX_EVENTS = 5000;
const MAX_EVENT_CHARS = 16_000_000;
const MAX_STOPPED = 500;
const NO_MACHINE = { text: '', definition: {} };

/** A session is `<address>@<epoch of the node>`. */
export function addressOf(sessionId) {
  const text = String(sessionId);
  const end = text.lastIndexOf('@');
  return end < 0 ? text : text.slice(0, end);
}

export class Model {
  /** By address. */
  actors = new Map();
  /** Events, oldest first. */
  log = [];
  /** Raised with every change. */
  version = 0;
  /** Raised when actors come, go, or change their names. */
  treeVersion = 0;
  #eventsOf = new Map();
  #machines = new Map();
  #stopped = new Set();
  #chars = 0;
  #seq = 0;

  eventsOf(address) {
    return this.#eventsOf.get(address) ?? [];
  }

  /** M3. */
  begin() {
    this.actors.clear();
    this.#stopped.clear();
    this.#machines.clear();
    this.version += 1;
    this.treeVersion += 1;
  }

  /** A line in everybody's log. */
  remark(text) {
    this.#note({ at: Date.now(), address: '', source: '', remark: text, event: { type: '' } }, 100);
  }

  /** `chars`: length of the message as it came. */
  take(message, chars) {
    if (typeof message?.sessionId !== 'string') return;
    const address = addressOf(message.sessionId);
    this.version += 1;
    if (message.type === '@xstate.actor') this.#introduce(address, message);
    else if (message.type === '@xstate.snapshot') this.#update(address, message);
    else if (message.type === '@xstate.event') this.#happened(address, message, chars);
  }

  #introduce(address, message) {
    const machine = this.#machineOf(message.definition);
    const { parentId, rootId, snapshot } = message;
    this.actors.set(address, {
      address,
      parent: parentId === undefined ? undefined : addressOf(parentId),
      root: addressOf(rootId ?? message.sessionId),
      machine,
      message: { ...message, definition: machine.text }, // M2: one text for all
      last: undefined,
      snapshot: snapshot ?? {},
      label: labelOf(address, undefined),
      where: shortState(machine.definition, snapshot?.value),
      version: this.version,
    });
    this.#stopped.delete(address);
    this.treeVersion += 1;
  }

  #machineOf(text) {
    if (typeof text !== 'string') return NO_MACHINE;
    const known = this.#machines.get(text);
    if (known) return known;
    const machine = { text, definition: parsed(text) };
    this.#machines.set(text, machine);
    return machine;
  }

  #update(address, message) {
    const actor = this.actors.get(address);
    if (!actor) return;
    actor.last = message;
    actor.snapshot = message.snapshot ?? {};
    actor.where = shortState(actor.machine.definition, actor.snapshot.value);
    actor.version = this.version;
    const label = labelOf(address, actor.snapshot);
    if (label !== actor.label) this.treeVersion += 1;
    actor.label = label;
    if (actor.snapshot.status === 'stopped') this.#stopped.add(address);
    else this.#stopped.delete(address);
    if (this.#stopped.size > MAX_STOPPED) this.#forget(this.#stopped.values().next().value);
  }

  #forget(address) {
    this.#stopped.delete(address);
    this.actors.delete(address);
    this.treeVersion += 1;
  }

  #happened(address, { createdAt, event, sourceId }, chars) {
    const source = sourceId === undefined ? '' : addressOf(sourceId);
    this.#note({ at: Number(createdAt), address, source, event: event ?? { type: '' } }, chars);
  }

  /** M1. */
  #note(entry, chars) {
    this.#seq += 1;
    this.log.push({ ...entry, seq: this.#seq, chars });
    this.#chars += chars;
    const own = this.#eventsOf.get(entry.address);
    if (own) own.push(this.log.at(-1));
    else this.#eventsOf.set(entry.address, [this.log.at(-1)]);
    while (this.log.length > MAX_EVENTS || this.#chars > MAX_EVENT_CHARS) this.#dropOldest();
    this.version += 1;
  }

  #dropOldest() {
    const { address, chars } = this.log.shift();
    this.#chars -= chars;
    const own = this.#eventsOf.get(address);
    own.shift(); // the oldest of all is the oldest of its actor
    if (own.length === 0) this.#eventsOf.delete(address);
  }
}

function parsed(text) {
  try {
    return JSON.parse(text) ?? {};
  } catch {
    return {}; // shown as a machine without states
  }
}

/** What people call it. */
function labelOf(address, snapshot) {
  const parts = address.split('/');
  if (parts[0] === 'cell' && parts.length === 2) {
    const name = snapshot?.context?.files?.['cell.json']?.people?.mission_name;
    return typeof name === 'string' && name.trim() !== '' ? name : parts[1];
  }
  if (parts[0] === 'cell') return parts.slice(3).join('/') || parts.at(-1);
  if (parts[1] === 'lazarus' && parts.length > 3) return `Lazarus for ${parts.slice(3).join('/')}`;
  return parts[0] === 'system' ? parts.slice(1).join('/') : address;
}
