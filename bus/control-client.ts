/** The other end of the control socket, for the command line. A node that does not answer is told apart from one that refuses. */
import { RuntimeError } from '../machines/errors.ts';
import type { ErrorCode } from '../machines/errors.ts';
import type { JsonValue } from '../machines/json.ts';
import { request } from './http.ts';
import type { WireError } from './wire-error.ts';

const TIMEOUT_MS = 30_000;
const MAX_ANSWER_BYTES = 256 << 20;

/**
 * Throws RuntimeError NOT_RUNNING when nobody listens there (`details.reason`: `absent`, `refused`), BUSY when the node
 * takes the connection and does not answer in time, OUTCOME_UNKNOWN when it goes away in the middle, and whatever the
 * verb was refused with.
 */
export async function callVerb(
  path: string,
  name: string,
  input: JsonValue,
  { timeoutMs = TIMEOUT_MS }: { timeoutMs?: number } = {},
): Promise<JsonValue> {
  const { status, text } = await post(path, { name, body: JSON.stringify(input), timeoutMs });
  const answer = parse(text);
  if (answer?.ok === true) return answer.result;
  if (answer?.ok === false) throw fromWire(answer.error);
  throw new RuntimeError(`the node answered ${status} and no verb's result`, {
    code: 'UNSUPPORTED',
    hint: 'Is it another version of Lazarus? `lazarus status` names the one that runs.',
  });
}

type Answer = { ok: true; result: JsonValue } | { ok: false; error: WireError };

interface Call {
  name: string;
  body: string;
  timeoutMs: number;
}

function post(path: string, call: Call): Promise<{ status: number; text: string }> {
  return new Promise((resolve, reject) => {
    const headers = {
      'content-type': 'application/json',
      'content-length': Buffer.byteLength(call.body),
    };
    const outgoing = request(
      { socketPath: path, path: `/verbs/${call.name}`, method: 'POST', headers, agent: false },
      (response) => {
        const chunks: Buffer[] = [];
        let size = 0;
        response.on('data', (chunk: Buffer) => {
          size += chunk.length;
          if (size > MAX_ANSWER_BYTES) response.destroy(new Error('the answer is too long'));
          else chunks.push(chunk);
        });
        response.on('error', (cause) => reject(unanswered(path, cause)));
        response.on('end', () =>
          resolve({
            status: response.statusCode ?? 0,
            text: Buffer.concat(chunks).toString('utf8'),
          }),
        );
      },
    );
    outgoing.setTimeout(call.timeoutMs, () => outgoing.destroy(tooLate(path, call.timeoutMs)));
    outgoing.on('error', (cause) => reject(unanswered(path, cause)));
    outgoing.end(call.body);
  });
}

function parse(text: string): Answer | undefined {
  try {
    return JSON.parse(text) as Answer;
  } catch {
    return undefined; // the caller says what came instead
  }
}

function tooLate(path: string, timeoutMs: number): RuntimeError {
  return new RuntimeError(`the node does not answer on ${path} within ${timeoutMs / 1000} s`, {
    code: 'BUSY',
    hint: 'Is it stopped (Ctrl-Z) or overloaded? What was asked may still be done: look before asking again.',
  });
}

function unanswered(path: string, cause: NodeJS.ErrnoException): RuntimeError {
  if (cause instanceof RuntimeError) return cause;
  if (cause.code === 'EACCES' || cause.code === 'EPERM')
    return new RuntimeError(`this user may not use the control socket ${path}`, {
      code: 'CONFLICT',
      cause,
      hint: 'Run the command as the user who runs the node.',
    });
  if (cause.syscall !== 'connect')
    return new RuntimeError(
      `the node on ${path} went away before it answered (${cause.code ?? cause.message})`,
      {
        code: 'OUTCOME_UNKNOWN',
        cause,
        hint: 'Whether it still did what was asked, `lazarus status` tells.',
      },
    );
  const reason = cause.code === 'ENOENT' ? 'absent' : 'refused';
  return new RuntimeError(`no node answers on ${path} (${cause.code ?? cause.message})`, {
    code: 'NOT_RUNNING',
    cause,
    details: { reason },
    hint: 'Start one: `lazarus up`.',
  });
}

function fromWire({ code, message, hint, retryable, details }: WireError): RuntimeError {
  return new RuntimeError(message, {
    code: code as ErrorCode,
    retryable,
    details,
    ...(hint === null ? {} : { hint }),
  });
}
