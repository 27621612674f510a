/**
 * What the client's errors mean. By fields and not by classes: an error in the middle of a stream has a type and no status,
 * a stream that was cut is none of the connection errors, and not every 429 passes by itself.
 */
import type { ErrorKind } from '../../machines/llm-policy.ts';
import { connectionReason, isNobodyThere, kindOfStatus } from './provider.ts';
import { ProviderError, retryAfterMs } from './provider.ts';

interface ApiFields {
  status?: number;
  type?: string | null;
  errorCode?: string | null;
  requestID?: string | null;
  headers?: Headers;
  apiMessage?: string | null;
}

const KIND_OF_TYPE: Readonly<Record<string, ErrorKind>> = {
  overloaded_error: 'overloaded',
  rate_limit_error: 'rate_limited',
  authentication_error: 'auth',
  permission_error: 'auth',
  billing_error: 'quota',
  not_found_error: 'model_missing',
  request_too_large: 'context_overflow',
  invalid_request_error: 'bad_request',
  timeout_error: 'transient',
  api_error: 'transient',
};

/** `shown`: takes what is secret out of a text. */
export function anthropicError(
  error: unknown,
  now: number,
  shown: (text: string) => string,
): ProviderError {
  const fields = (error instanceof Error ? error : {}) as ApiFields;
  const { status, type, errorCode, requestID, headers, apiMessage } = fields;
  const isConnection = status === undefined && type == null;
  const message = apiMessage ?? connectionReason(error);
  return new ProviderError(`Anthropic: ${shown(message)}`, {
    kind: isConnection ? 'transient' : kindOf({ status, type, errorCode, message }),
    status,
    errorCode: errorCode ?? type ?? null,
    requestId: requestID ?? null,
    retryAfterMs: retryAfterMs(headers, now),
    isFree: status !== undefined || isNobodyThere(error),
  });
}

interface Told {
  status: number | undefined;
  type: string | null | undefined;
  errorCode: string | null | undefined;
  message: string;
}

function kindOf({ status, type, errorCode, message }: Told): ErrorKind {
  const says = `${errorCode ?? ''} ${message}`;
  if (/spend_limit|spend limit|credit balance|usage limits?\b/i.test(says)) return 'quota';
  if (/prompt is too long|context window|context limit|too many tokens/i.test(message))
    if (status === 400 || status === undefined) return 'context_overflow';
  const ofType = type == null ? undefined : KIND_OF_TYPE[type];
  if (status === undefined) return ofType ?? 'transient';
  const ofStatus = kindOfStatus(status);
  if (status === 404) return ofType ?? 'bad_request';
  return ofStatus === 'bad_request' || ofStatus === 'transient' ? (ofType ?? ofStatus) : ofStatus;
}
