/**
 * All that a chain from an event to a verified action needs, on real servers: Redis, a model that answers about its event, a
 * homelab with its docker, and a person. For lives that are killed; whoever opens it disposes of it.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { JsonObject } from '../../machines/json.ts';
import type { ActionStatus } from '../../machines/remediation.ts';
import { eventually } from './eventually.ts';
import { askedIn, proposalAbout } from './homelab-models.ts';
import { Person, STREAM } from './homelab-person.ts';
import { HomelabProcess, HOST } from './homelab-process.ts';
import type { Life } from './homelab-process.ts';
import { ollama, openOllama } from './llm-servers.ts';
import { openRedis } from './redis-process.ts';

/** Epoch seconds: when all of its events happened. */
export const HAPPENED = 1_790_000_000;
const PATIENCE = { timeoutMs: 60_000 };
const MODEL_MS = 20;

export interface World {
  lab: HomelabProcess;
  person: Person;
  /** Called when the model is asked; true: it never answers. */
  model: { onAsked: () => boolean; violations: string[] };
  /** Everything is ended; the folder stays. */
  close(): Promise<void>;
  dispose(): Promise<void>;
}

export async function openWorld(
  approves: (file: JsonObject, lab: HomelabProcess) => boolean,
): Promise<World> {
  const model: World['model'] = { onAsked: () => false, violations: [] };
  const server = await openOllama(async (response, hit) => {
    if (model.onAsked()) return;
    await sleep(MODEL_MS);
    await ollama.answer(proposalAbout(askedIn(hit)))(response, hit);
  });
  const redis = await openRedis();
  const client = await redis.client();
  await client.xAdd(STREAM, '*', { old: 'one' }); // so that there is a group before anything counts
  const environment = { REDIS_URL: redis.url, OLLAMA_HOST: server.url, NATS_URL: 'off' };
  const lab = new HomelabProcess(environment);
  lab.configure('executor.json', { timeouts: { settle: 0.6 } });
  const person = new Person(lab, client, { approves: (file) => approves(file, lab) });
  const close = async (): Promise<void> => {
    person.stop();
    await lab.close();
    await server.close();
    await redis.dispose();
  };
  return {
    lab,
    person,
    model: Object.assign(model, { violations: server.violations }),
    close,
    async dispose() {
      await close();
      lab.remove();
    },
  };
}

export const unhealthy = (service: string): JsonObject => ({
  type: 'service_unhealthy',
  node: HOST,
  service,
  severity: 'error',
  timestamp: HAPPENED,
});

/** From then on nothing that is added to the stream is lost. */
export async function reads({ lab }: World): Promise<void> {
  await eventually(async () => {
    const { stream } = await lab.part('redis');
    const { state } = stream as JsonObject;
    if (state !== 'up') throw new Error(`the stream is ${String(state)}`);
  }, PATIENCE);
}

/** By its own hand at a fault point, or by ours. Throws when it lives on. */
export async function dies(life: Life, where: string): Promise<void> {
  const late = new AbortController();
  const patience = sleep(PATIENCE.timeoutMs, 'alive', { signal: late.signal });
  const signal = await Promise.race([life.exited, patience]);
  late.abort();
  await patience.catch(() => undefined);
  if (signal !== 'SIGKILL') throw new Error(`${where}: ${signal}\n${life.out}\n${life.err}`);
}

/** Each with one action, which is at one of these. Throws with what is not so. */
export async function allAre(
  { lab, person }: World,
  services: readonly string[],
  statuses: (service: string) => readonly ActionStatus[] = () => ['completed'],
): Promise<void> {
  await eventually(() => {
    const problems = services.flatMap((service) => person.endProblems(service, statuses(service)));
    const all = [...problems, ...lab.unfinished()];
    if (all.length > 0) throw new Error(all.join('\n'));
  }, PATIENCE);
}
