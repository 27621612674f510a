/** The streams in which the server keeps what passes. Requests (`svc.lazarus.>`) are in none: a stream would answer first. */
import type { StreamDefinition } from './bus.ts';

const MB = 1024 * 1024;
const DAY_MS = 24 * 3600 * 1000;

export const MISSIONS: StreamDefinition = {
  name: 'MISSIONS',
  description: 'Everything that missions, agents and the runtime took in, in order',
  subjects: ['missions.>'],
  maxBytes: 1024 * MB,
  maxAgeMs: null,
};
export const OPS: StreamDefinition = {
  name: 'OPS',
  description: 'Events for missions and agents, from people and programs',
  subjects: ['ops.inject.>'],
  maxBytes: 64 * MB,
  maxAgeMs: 7 * DAY_MS,
};
export const HOMELAB: StreamDefinition = {
  name: 'HOMELAB',
  description: 'Health events and updates of the homelab',
  subjects: ['homelab.>'],
  maxBytes: 256 * MB,
  maxAgeMs: 7 * DAY_MS,
};
export const ACTIONS: StreamDefinition = {
  name: 'ACTIONS',
  description: 'Proposed and executed actions, by status',
  subjects: ['actions.>'],
  maxBytes: 64 * MB,
  maxAgeMs: 30 * DAY_MS,
};
export const DEAD_LETTERS: StreamDefinition = {
  name: 'DLQ',
  description: 'Messages that were refused, each with the reason',
  subjects: ['dlq.>'],
  maxBytes: 64 * MB,
  maxAgeMs: 30 * DAY_MS,
};

export const STREAMS: readonly StreamDefinition[] = [MISSIONS, OPS, HOMELAB, ACTIONS, DEAD_LETTERS];

/** The stream that captures a subject. */
export function streamOf(subject: string): StreamDefinition | undefined {
  const [first] = subject.split('.', 1);
  return STREAMS.find(({ subjects }) =>
    subjects.some((pattern) => pattern.split('.', 1)[0] === first),
  );
}
