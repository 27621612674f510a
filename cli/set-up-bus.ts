/** The bus of `npm start`: where the node would start a nats-server and there is none, it is got before, if it can be. */
import { RuntimeError } from '../machines/errors.ts';
import { configSource } from './config-source.ts';
import { NATS_SERVER, setUp } from './set-up.ts';
import type { SetUpOptions } from './set-up.ts';

const FETCH_MS = 30_000;
const PATIENCE_MS = 60_000;

/** Whatever comes of it, the node can start: without a bus it says so itself. Says one line, or two. */
export async function setUpBus(
  say: (line: string) => void,
  options: Pick<SetUpOptions, 'signal' | 'host'> = {},
): Promise<void> {
  if (!(await isWanted())) return;
  const outcome = await setUp([NATS_SERVER], {
    onlyAsRoot: true, // npm start must not take more rights than it was given
    fetchMs: FETCH_MS,
    patienceMs: PATIENCE_MS,
    say: (line) => say(`${line}; NATS_URL=off does without`),
    ...options,
  });
  if (outcome.kind === 'installed') say('nats-server is installed: the node has its bus');
  if (outcome.kind === 'absent')
    say(
      `no nats-server (${outcome.why}): the node starts without a bus. To have one: ${outcome.how}`,
    );
}

/** A server that was named is not replaced by another one. */
async function isWanted(): Promise<boolean> {
  if (process.env['NATS_SERVER_BIN']) return false;
  try {
    const { values } = await configSource({}).load();
    return values.nats === 'embedded';
  } catch (error) {
    if (error instanceof RuntimeError) return false; // a bad configuration: the node names what is wrong with it
    throw error;
  }
}
