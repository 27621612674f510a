/**
 * Command lines of the systems this one replaces: units and scripts that call `lazarus-pit.py --status` or start the
 * heartbeat endpoint with `--host` and `--port` go on working with the name of the program changed.
 */

const WITHOUT_VERB: Readonly<Record<string, readonly string[]>> = {
  '--create-config': ['config', 'init'],
  '--status': ['status'],
  '--example': ['demo'],
};

/** The same request in verbs of today; what is none of theirs comes back as it is. */
export function translateOldFlags(argv: readonly string[]): string[] {
  const first = argv[0] ?? '';
  if (first === 'up') return ['up', ...httpFrom(argv.slice(1))];
  if (!first.startsWith('--')) return [...argv];
  const name = Object.keys(WITHOUT_VERB).find((flag) => argv.includes(flag));
  const verb = name === undefined ? undefined : WITHOUT_VERB[name];
  const rest = argv.filter((word) => word !== name);
  if (verb !== undefined) return [...verb, ...(name === '--example' ? withoutHttp(rest) : rest)];
  return isDaemon(argv) ? ['up', ...httpFrom(argv)] : [...argv];
}

/** The old daemon and the old endpoint had no verbs: called with their options they ran. */
const isDaemon = (argv: readonly string[]): boolean =>
  argv.some((word) => /^--(config|host|port)(=|$)/.test(word));

/** `--host H --port P` as `--http H:P`; one of them alone has the other's old default. */
function httpFrom(argv: readonly string[]): string[] {
  const { host, port, rest } = split(argv);
  if (host === undefined && port === undefined) return rest;
  const name = host?.includes(':') ? `[${host}]` : (host ?? '127.0.0.1');
  return [...rest, '--http', `${name}:${port ?? '8080'}`];
}

const withoutHttp = (argv: readonly string[]): string[] => split(argv).rest;

function split(argv: readonly string[]): { host?: string; port?: string; rest: string[] } {
  const found: { host?: string; port?: string; rest: string[] } = { rest: [] };
  for (let i = 0; i < argv.length; i += 1) {
    const word = argv[i] ?? '';
    const match = /^--(host|port)(?:=(.*))?$/s.exec(word);
    if (match === null) found.rest.push(word);
    else found[match[1] as 'host' | 'port'] = match[2] ?? argv[(i += 1)] ?? '';
  }
  return found;
}
