/** Requests on a NATS server: those that are answered here (micro-service.ts), and those that others are asked. */
import { RuntimeError } from '../machines/errors.ts';
import type { JsonValue } from '../machines/json.ts';
import { BusAnswer } from './bus.ts';
import { ERROR_HEADER, NODE_HEADER } from './micro-service.ts';
import type { Listening } from './micro-service.ts';
import { errorCode, newHeaders, NO_ANSWER, NO_RESPONDERS } from './nats-client.ts';
import type { Msg, NatsConnection } from './nats-client.ts';

/** Undefined: nobody listens there. Throws RuntimeError OUTCOME_UNKNOWN when no answer came in time. */
export async function ask(
  connection: NatsConnection,
  subject: string,
  { input, timeoutMs }: { input: JsonValue; timeoutMs: number },
): Promise<BusAnswer | undefined> {
  try {
    const options = { timeout: timeoutMs };
    return answerIn(await connection.request(subject, JSON.stringify(input), options));
  } catch (error) {
    const code = errorCode(error);
    if (code === NO_RESPONDERS) return undefined;
    if (code !== NO_ANSWER) throw error;
    throw new RuntimeError(`${subject} has not answered in ${timeoutMs / 1000} s`, {
      code: 'OUTCOME_UNKNOWN',
      cause: error,
      hint: 'It may have been done: look before you ask again.',
    });
  }
}

/** Everybody's answers, until there are so many, or so long. */
export async function askAll(
  connection: NatsConnection,
  subject: string,
  { input, answers, timeoutMs }: { input: JsonValue; answers: number; timeoutMs: number },
): Promise<BusAnswer[]> {
  const found: BusAnswer[] = [];
  const options = { maxWait: timeoutMs, maxMessages: answers, strategy: 'count' as never };
  const messages = await connection.requestMany(subject, JSON.stringify(input), options);
  try {
    for await (const message of messages) found.push(answerIn(message));
  } catch (error) {
    const code = errorCode(error);
    if (code !== NO_RESPONDERS && code !== NO_ANSWER) throw error;
  }
  return found;
}

/** A connection, as a service listens on it. */
export function listeningOn(connection: NatsConnection): Listening {
  return {
    get maxPayload() {
      return connection.info?.max_payload ?? 1024 * 1024;
    },
    subscribe: (subject, queue, take) =>
      void connection.subscribe(subject, {
        ...(queue === null ? {} : { queue }),
        callback: (error, message) => {
          if (error !== null) return; // the subscription ended; the connection's status says why
          const { data } = message;
          const respond = (body: string, fields: Readonly<Record<string, string>>): void => {
            const headers = newHeaders();
            for (const [name, value] of Object.entries(fields)) headers.set(name, value);
            message.respond(body, { headers });
          };
          take({ subject: message.subject, data, respond });
        },
      }),
  };
}

function answerIn(message: Msg): BusAnswer {
  const node = message.headers?.get(NODE_HEADER) || null;
  const isError = message.headers?.has(ERROR_HEADER) === true;
  try {
    return new BusAnswer({ node, body: message.json<JsonValue>() }, isError);
  } catch (cause) {
    throw new RuntimeError(`an answer on ${message.subject} is no JSON`, {
      code: 'INTERNAL',
      cause,
    });
  }
}
