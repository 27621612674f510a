/**
 * Who may do what on the server that the runtime starts itself. Three kinds of people and programs, each with credentials of
 * its own, and the runtime, the only one that may publish `missions.>`.
 *
 * U1 Each kind lives in an account of its own and reaches the runtime's account by what is named here, nothing else. Without
 *    that, permissions on subjects would be worth little: whoever may publish anything that is answered may name any subject
 *    for the answer, and the server, or the runtime, would publish there in its own name: an acknowledgement sent to
 *    `$JS.API.STREAM.PURGE.MISSIONS` empties the stream. Across accounts an answer finds its asker only.
 * U2 What is not allowed is refused by the server, and the client is told.
 * U3 Nobody makes consumers: a consumer delivers to any subject of the runtime's account. History is read message by message
 *    (`nats stream get`), the present by subscribing.
 * U4 No two kinds publish the same: what one of them publishes the others hear, and would hand on once more.
 * U5 The agent of another host is in the runtime's own account, for only there is whoever asks told that nobody listens. It
 *    hears one subject, and publishes one answer to each question it was asked, where the runtime wants that, and nothing else.
 */

import { subjectToken } from './subjects.ts';

export type BusRole = 'agent' | 'observer' | 'operator';

export interface Rights {
  /** Subjects that it may publish; the runtime's account takes them. */
  publish: readonly string[];
  /** Subjects of the runtime's account that it may listen to. */
  subscribe: readonly string[];
}

export interface ServerUser {
  user: string;
  password: string;
  /** Null: of the runtime's account. Without `answers` it is the runtime itself, which may do everything. */
  rights: Rights | null;
  /** U5: the subject on which it is asked. */
  answers?: string;
}

/** An agent of a host that is reached by NATS. */
export interface HostUser {
  host: string;
  subject: string;
}

/** Where hosts listen: none of it is in a stream, and nobody but the runtime may publish there. */
export const HOST_SUBJECTS = 'exec.';
/** Where a host's agent listens, unless it is told otherwise. */
export const hostSubject = (host: string): string => `${HOST_SUBJECTS}${subjectToken(host)}`;
export const hostUserName = (host: string): string => `host-${subjectToken(host)}`;

export const BUS_ROLES: readonly BusRole[] = ['agent', 'observer', 'operator'];
export const RUNTIME_USER = 'lazarus-runtime';

/** Of one's own account: what answers are sent to, by every client's default. */
export const INBOX = '_INBOX.>';

const EVENTS = ['missions.>', 'homelab.>', 'actions.>', 'ops.>', 'dlq.>'];
/** To list streams and services and read messages one by one: nothing here changes or removes anything. */
const LOOK = [
  '$JS.API.INFO',
  '$JS.API.STREAM.NAMES',
  '$JS.API.STREAM.LIST',
  '$JS.API.STREAM.INFO.*',
  '$JS.API.STREAM.MSG.GET.*',
  '$SRV.>',
];

export const RIGHTS: Readonly<Record<BusRole, Rights>> = {
  agent: { publish: ['homelab.>'], subscribe: [] },
  observer: { publish: LOOK, subscribe: EVENTS },
  operator: { publish: ['svc.lazarus.>', 'ops.inject.>', ...LOOK], subscribe: EVENTS },
};
