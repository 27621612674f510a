/**
 * The driver `notify`: tells people. Each target of executor.json is tried, and what came of each is kept.
 *
 * T1 It comes at least once: after a cut those who were not told for sure are told again, with the same key. A notice that
 *    somebody has to settle by hand would be worse than one that comes twice.
 * T2 One who was reached is enough for the action; who was not stands in its reason.
 * T3 What the action says is data: in the body of a request or on standard input, in headers only when encoded.
 */
import type { NotifyTarget } from '../../machines/executor-config.ts';
import { RuntimeError } from '../../machines/errors.ts';
import type { JsonObject, JsonValue } from '../../machines/json.ts';
import { post } from './http-post.ts';
import { told } from './output.ts';
import type { Plan, RunTools, Step, StepEnd } from './plan.ts';
import { shownArgv, timeoutMs } from './reach.ts';
import type { Setting } from './reach.ts';
import { headersOf, readSecret, shownUrl, urlOf } from './secrets.ts';
import type { Runnable } from '../../machines/action-context.ts';

export function notify(run: Runnable, setting: Setting): Plan {
  const { notify: targets } = setting.config;
  if (targets.length === 0)
    throw new RuntimeError('nobody has said whom to notify, and how', {
      code: 'NOT_CONFIGURED',
      details: { file: setting.file },
      hint: `Write into ${setting.file}: {"notify": [{"kind": "ntfy", "url": "https://ntfy.sh", "topic": "..."}]}`,
    });
  for (const target of targets) checkSecrets(target);
  const limit = timeoutMs(setting, 'notify');
  return {
    driver: 'notify',
    semantics: 'idempotent',
    via: [...new Set(targets.map(({ kind }) => kind))].join(', '),
    verifies: false,
    triesAll: true,
    steps: targets.map((target, index) => stepOf(target, index, run, limit)),
  };
}

/** What is missing is said before anything is claimed. */
function checkSecrets(target: NotifyTarget): void {
  if (target.kind === 'command') return;
  urlOf(target);
  if (target.kind === 'webhook') headersOf(target.headers_file);
  else if (target.token_file !== undefined) readSecret(target.token_file);
}

function stepOf(target: NotifyTarget, index: number, run: Runnable, limit: number): Step {
  const identity = { notify: index, target: target as unknown as JsonValue };
  switch (target.kind) {
    case 'webhook': {
      const shown = `POST ${shownUrl(target)}`;
      const perform = (tools: RunTools): Promise<StepEnd> => toWebhook(target, shown, tools, limit);
      return { shown, identity, timeoutMs: limit, perform };
    }
    case 'ntfy': {
      const shown = `POST ${shownUrl(target)} topic ${target.topic}`;
      const perform = (tools: RunTools): Promise<StepEnd> => toNtfy(target, shown, tools, limit);
      return { shown, identity, timeoutMs: limit, perform };
    }
    case 'command': {
      const shown = `${shownArgv(target.argv)} (on this host, told on standard input)`;
      const stdin = `${JSON.stringify(noticeOf(run))}\n`;
      const perform = (tools: RunTools): Promise<StepEnd> =>
        tools.execute(null, target.argv, { timeoutMs: limit, stdin });
      return { shown, identity, timeoutMs: limit, perform };
    }
    default:
      return target satisfies never;
  }
}

async function toWebhook(
  target: NotifyTarget & { kind: 'webhook' },
  shown: string,
  tools: RunTools,
  limit: number,
): Promise<StepEnd> {
  const headers = {
    ...headersOf(target.headers_file),
    'Content-Type': 'application/json',
    'Idempotency-Key': headerText(tools.key),
  };
  const body = JSON.stringify({ key: tools.key, ...noticeOf(tools.run) });
  return send({ url: urlOf(target), shown, headers, body, timeoutMs: limit }, tools);
}

async function toNtfy(
  target: NotifyTarget & { kind: 'ntfy' },
  shown: string,
  tools: RunTools,
  limit: number,
): Promise<StepEnd> {
  const { title, message } = noticeOf(tools.run);
  const { topic, priority, token_file: tokenFile } = target;
  const headers = {
    'Content-Type': 'text/plain; charset=utf-8',
    'Idempotency-Key': headerText(tools.key),
    Title: headerText(title),
    ...(priority === undefined ? {} : { Priority: String(priority) }),
    ...(tokenFile === undefined ? {} : { Authorization: `Bearer ${readSecret(tokenFile)}` }),
  };
  const url = new URL(urlOf(target));
  url.pathname = `${url.pathname.replace(/\/$/, '')}/${topic}`;
  return send({ url: url.href, shown, headers, body: message, timeoutMs: limit }, tools);
}

async function send(request: Parameters<typeof post>[0], tools: RunTools): Promise<StepEnd> {
  const { answer, ...end } = await post(request, tools.signal);
  if (answer !== '') tools.output.note(end.ok ? 'stdout' : 'stderr', answer);
  return end;
}

/** ASCII as it is, all else as RFC 2047 says; no line end comes through. */
function headerText(text: string): string {
  if (/^[\x20-\x7e]*$/.test(text) && !text.startsWith('=?')) return text;
  return `=?UTF-8?B?${Buffer.from(text).toString('base64')}?=`;
}

const MAX_TEXT = 1000;
/** Of the action's file, what a person wants to know first. */
const FIELDS = [
  'description',
  'risk_level',
  'confidence',
  'requires_human',
  'source_event',
  'timestamp',
  'incident',
  'escalated',
];

export interface Notice extends JsonObject {
  action_id: string;
  title: string;
  message: string;
}

/** Bounded, and without what terminals would obey. */
function noticeOf({ actionId, type, host, service, payload, content }: Runnable): Notice {
  const reason = textIn(payload, 'reason') ?? textIn(content, 'reason');
  const description = textIn(content, 'description') ?? reason;
  const title = textIn(content, 'title') ?? `${host}/${service}: ${type}`;
  const fields = FIELDS.flatMap((name) => {
    const value = content[name];
    return value === undefined ? [] : [[name, bounded(value)] as const];
  });
  return {
    ...Object.fromEntries(fields),
    action_id: actionId,
    type,
    host,
    service,
    reason: reason === undefined ? null : clean(reason),
    title: clean(title).slice(0, 200),
    message: clean(description ?? title),
  };
}

/** An empty one says nothing. */
function textIn(content: JsonObject, name: string): string | undefined {
  const value = content[name];
  return typeof value === 'string' && value.trim() !== '' ? value : undefined;
}

function bounded(value: JsonValue): JsonValue {
  if (typeof value === 'string') return clean(value);
  const text = JSON.stringify(value);
  return text.length > MAX_TEXT ? clean(text) : value;
}

const clean = (text: string): string =>
  told(text.slice(0, 4 * MAX_TEXT), (same) => same)
    .replaceAll('\n', ' ')
    .slice(0, MAX_TEXT);
