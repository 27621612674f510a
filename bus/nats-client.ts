/**
 * What of the client's package the bus uses. The only file that imports it, so that its successor is one file away; and what
 * is in the errors that it throws.
 */
export { connect, credsAuthenticator, Events, headers as newHeaders, nanos } from 'nats';
export type {
  ConnectionOptions,
  ConsumerMessages,
  JetStreamManager,
  JsMsg,
  Msg,
  MsgHdrs,
  NatsConnection,
  PubAck,
  Status,
  StoredMsg,
  StreamConfig,
} from 'nats';

/** What JetStream refuses with: "stream name already in use with a different configuration", */
export const IN_USE = 10_058;
/** "subjects overlap with an existing stream", */
export const OVERLAPS = 10_065;
/** "no message found", */
export const NO_MESSAGE = 10_037;
/** "wrong last sequence". */
export const WRONG_LAST = 10_071;

export function apiCode(error: unknown): number | undefined {
  return (error as { api_error?: { err_code?: number } } | null)?.api_error?.err_code;
}

/** Nobody listens on a subject. */
export const NO_RESPONDERS = '503';
/** No answer came in time. */
export const NO_ANSWER = 'TIMEOUT';

/** The client's own. */
export const errorCode = (error: unknown): string | undefined =>
  (error as { code?: string } | null)?.code;

export const messageOf = (error: unknown): string =>
  error instanceof Error ? error.message : String(error);
