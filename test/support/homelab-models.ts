/** Models that have read what they are asked: they answer about the event in front of them, or do what it tells them to. */
import type { JsonObject } from '../../machines/json.ts';
import type { ProposedAction } from '../../machines/remediation.ts';
import type { Hit } from './llm-servers.ts';

export interface Asked {
  node: string;
  service: string;
  type: string;
  payload: JsonObject;
}

/** The event of the first question; a request for a mended answer repeats it. */
export function askedIn({ body }: Pick<Hit, 'body'>): Asked {
  const messages = body['messages'] as { role: string; content: string }[];
  const text = messages.find(({ role }) => role === 'user')?.content ?? '';
  const line = (name: string): string => {
    const shown = new RegExp(`^  ${name}: (.*)$`, 'm').exec(text)?.[1] ?? '';
    return shown.startsWith('"') ? (JSON.parse(shown) as string) : shown;
  };
  const payload = /^--- DATA-\w+ begin\n([^]*?)\n--- DATA-\w+ end$/m.exec(text)?.[1] ?? '{}';
  return {
    node: line('node'),
    service: line('service'),
    type: line('type'),
    payload: JSON.parse(payload) as JsonObject,
  };
}

export interface Answered {
  action?: ProposedAction;
  reason?: string;
  confidence?: number;
  requires_human?: boolean;
}

/** As a model answers that keeps to its event. */
export function proposalAbout({ node, service }: Asked, more: Answered = {}): string {
  return JSON.stringify({
    action: 'restart',
    service,
    node,
    reason: 'The container does not answer its health check',
    confidence: 0.9,
    requires_human: false,
    ...more,
  });
}

/** Whatever the payload says that it should. */
export const obedient = ({ payload }: Asked): string => JSON.stringify(payload['answer']);
