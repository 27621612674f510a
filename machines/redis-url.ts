/** URLs of Redis servers: which are understood, and what of one may be shown. A password in it is shown to nobody. */

export interface RedisPlace {
  /** `redis://host:6379/0`: without user, password and parameters. */
  shown: string;
  /** What must stand in no error and no log line. */
  secrets: string[];
}

/** Undefined when the text is no redis:// or rediss:// URL. `off` is none either. */
export function redisPlace(text: string): RedisPlace | undefined {
  const url = URL.parse(text);
  if (url === null || !/^rediss?:$/.test(url.protocol) || url.hostname === '') return undefined;
  const database = /^\/?(\d{0,5})$/.exec(url.pathname)?.[1];
  const password = decoded(url.password);
  if (database === undefined || password === undefined || decoded(url.username) === undefined)
    return undefined;
  return {
    shown: `${url.protocol}//${url.hostname}:${url.port || 6379}/${database || 0}`,
    secrets: [...new Set([url.password, password])].filter((secret) => secret !== ''),
  };
}

/** `redacted` in the place of each secret. */
export function withoutSecrets(text: string, secrets: readonly string[]): string {
  return secrets.reduce((shown, secret) => shown.replaceAll(secret, '[redacted]'), text);
}

function decoded(text: string): string | undefined {
  try {
    return decodeURIComponent(text);
  } catch {
    return undefined;
  }
}
