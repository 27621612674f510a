/**
 * What `lazarus why` says of one thing, as far as committed state tells it: the answer, what holds and which file says so,
 * what happens next and when, what a person can do. What led to it stands in the journal (history.ts); `focus` says which
 * records speak of the thing.
 */
import type { JsonValue } from '../../machines/json.ts';
import type { MissionReader } from '../verbs/verb.ts';

/** What is asked of committed state. */
export type WhyReader = Pick<MissionReader, 'status' | 'inDoubt' | 'cell' | 'actor' | 'clock'>;

export interface Fact {
  name: string;
  value: JsonValue;
}

export interface PolicyFact {
  name: string;
  value: JsonValue;
  /** `cell.json`, `agents/build.json`, `config/policies.json`, `daemon configuration`, `default`. */
  origin: string;
  /** Where in that file, when it is a file of the cell. */
  path: string | null;
  pointer: string | null;
  /** It is the one that led to the decision. */
  decided: boolean;
}

export interface Next {
  /** ISO time; null: nobody knows, or it depends on something else. */
  at: string | null;
  what: string;
}

export interface Need {
  what: string;
  command: string | null;
}

/** Which records speak of the thing that was asked about. */
export interface Focus {
  /** The cell whose actors are concerned; null: only `addresses` and `records`. */
  cell: string | null;
  tasks: string[];
  agents: string[];
  /** Every record of these actors counts. */
  addresses: string[];
  /** Addresses whose questions to models belong to it. */
  askers: string[];
  /** `<address>#<seq>` */
  records: string[];
  /** The outcome of this effect. */
  effect: { address: string; seq: number; invoke: string } | null;
}

export interface Explanation {
  kind:
    | 'cell'
    | 'task'
    | 'agent'
    | 'revival'
    | 'action'
    | 'incident'
    | 'drift'
    | 'actor'
    | 'effect'
    | 'record';
  /** In full, so that it can be asked again. */
  id: string;
  cell_id: string | null;
  /** Folder of the cell, absolute. */
  path: string | null;
  /** One or two sentences. */
  answer: string;
  facts: Fact[];
  policies: PolicyFact[];
  next: Next[];
  needs: Need[];
  /** What Lazarus noted itself, oldest first. */
  story: string[];
  focus: Focus;
}

export const NO_FOCUS: Focus = {
  cell: null,
  tasks: [],
  agents: [],
  addresses: [],
  askers: [],
  records: [],
  effect: null,
};

/** A full stop at the end, whatever the parts ended with. */
export function sentence(...parts: (string | null | undefined)[]): string {
  const text = parts.filter((part) => part !== null && part !== undefined && part !== '').join(' ');
  const isWord = /^[a-z]+(?![a-z/])/.test(text); // the name of an actor stays as it is
  const whole = isWord ? text.charAt(0).toUpperCase() + text.slice(1) : text;
  return /[.!?]$/.test(whole) ? whole : `${whole}.`;
}

export const isoOf = (at: number): string => new Date(at).toISOString();
