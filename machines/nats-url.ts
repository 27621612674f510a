/** Addresses of NATS servers: which are understood, and what of one may be shown. */

/** Host and port of each, of one address or several separated by commas; undefined when one of them is none. */
export function natsServers(text: string): string[] | undefined {
  const servers: string[] = [];
  for (const one of text.split(',')) {
    const url = URL.parse(one.trim());
    if (url === null || !['nats:', 'tls:'].includes(url.protocol) || url.hostname === '')
      return undefined;
    servers.push(`${url.hostname}:${url.port || '4222'}`);
  }
  return servers;
}

/** Whatever stands before an `@` is a name, a password or a token: `instead` stands there then. */
export const withoutUser = (text: string, instead = ''): string =>
  text.replaceAll(/\/\/[^/@,]*@/g, `//${instead}`);
