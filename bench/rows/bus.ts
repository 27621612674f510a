/**
 * What the bus adds. From the commit of an event until a client of the bus has it; and from a request on the bus until its
 * event is durable and answered, against a bare request that is answered at once, on a server of the same kind.
 */
import { readFileSync } from 'node:fs';
import { connect } from 'nats';
import type { NatsConnection } from 'nats';
import { findNatsServer, NatsServer } from '../../bus/nats-server.ts';
import { SERVICE_PREFIX } from '../../bus/subjects.ts';
import { openNatsDoor } from '../../actors/nats-door.ts';
import { MissionNode } from '../../actors/node.ts';
import { cellAddress } from '../../machines/addresses.ts';
import { alternate, median, quantile, shown } from '../harness.ts';
import type { Bench, Row } from '../harness.ts';
import { profiled } from '../profile.ts';
import { silent } from '../support/kernel.ts';
import { committed, dropMission } from '../support/mission-node.ts';

const CELL = 'bus';

interface Mission {
  node: MissionNode;
  client: NatsConnection;
  /** Of a server of its own, where somebody answers `bare` at once. */
  bare: NatsConnection;
}

export const row: Row = {
  name: 'bus',
  title: 'Events and requests by NATS',
  async measure(bench) {
    const rounds = bench.pick({ full: 400, quick: 50 });
    return onBus(bench, async (mission) => {
      const published = await publishTimes(mission, rounds);
      const { ours, baseline } = await requestTimes(mission, rounds);
      return [
        shown('commit to a subscriber, p50', median(published), 'ms', `${rounds} events`),
        shown('commit to a subscriber, p99', quantile(published, 0.99), 'ms', ''),
        shown(
          'request to durable answer, against a bare request',
          median(ours) / median(baseline),
          'x',
          `${median(ours).toFixed(2)} ms against ${median(baseline).toFixed(2)} ms`,
        ),
      ];
    });
  },
  profile: (bench) =>
    onBus(bench, (mission) =>
      profiled(async () => {
        await requestTimes(mission, 200);
      }),
    ),
};

async function onBus<T>(bench: Bench, work: (mission: Mission) => Promise<T>): Promise<T> {
  const binary = findNatsServer();
  if (binary === undefined)
    throw new Error('there is no nats-server on this machine: apt-get install nats-server');
  const folder = bench.folder('bus');
  const server = await NatsServer.start({
    folder: bench.folder('bare'),
    binary,
    users: [{ user: 'bench', password: 'bench', rights: null }],
    mark: {},
    log: silent,
  });
  const node = await MissionNode.start({
    missionsDir: folder,
    version: 'bench',
    drainMs: 0,
    log: silent,
    openDoors: async (opening) => [
      await openNatsDoor(opening, { nats: 'embedded', options: { context: false }, log: silent }),
    ],
  });
  try {
    const there = committed(node, 'the mission', ({ address }) => address === cellAddress(CELL));
    dropMission(folder, { cellId: CELL, level: 'none', run: ['sleep', '600'], agents: 1 });
    await there;
    const [client, bare] = [await operator(node), await connectAs(server.url, 'bench', 'bench')];
    bare.subscribe('bare', { callback: (_error, message) => void message.respond('{}') });
    const measured = await work({ node, client, bare });
    await Promise.all([client.close(), bare.close()]);
    return measured;
  } finally {
    await node.stop();
    await server.stop();
  }
}

async function operator(node: MissionNode): Promise<NatsConnection> {
  const { nats } = JSON.parse(readFileSync(node.layout.node, 'utf8')) as {
    nats: { url: string; user: string; token_file: string };
  };
  return connectAs(nats.url, nats.user, readFileSync(nats.token_file, 'utf8').trim());
}

const connectAs = (url: string, user: string, pass: string): Promise<NatsConnection> =>
  connect({ servers: url.replace('nats://', ''), user, pass });

const toggled = (n: number): string => (n % 2 === 0 ? 'cell.pause' : 'cell.resume');

/** ms, an event at a time. */
async function publishTimes({ node, client }: Mission, rounds: number): Promise<number[]> {
  const waiting = new Map<string, (at: number) => void>();
  const subscription = client.subscribe(`missions.${CELL}.events`, {
    callback: (_error, message) => {
      const { id } = message.json<{ id: string }>();
      waiting.get(id)?.(performance.now());
    },
  });
  await client.flush();
  const took: number[] = [];
  for (let n = 0; n < rounds; n += 1) {
    const address = cellAddress(CELL);
    const seq = (node.kernel.system.actors.get(address)?.seq ?? 0) + 1;
    const heard = new Promise<number>((resolve) => waiting.set(`${address}#${seq}`, resolve));
    await node.kernel.system.send(address, { type: toggled(n) });
    const since = performance.now();
    took.push(Math.max(0, (await heard) - since));
    waiting.clear();
  }
  subscription.unsubscribe();
  return took.slice(rounds / 10);
}

async function requestTimes(
  { client, bare }: Mission,
  rounds: number,
): Promise<{ ours: number[]; baseline: number[] }> {
  const timed = async (by: NatsConnection, subject: string, body: string): Promise<number> => {
    const since = performance.now();
    const answer = await by.request(subject, body, { timeout: 5000 });
    if (answer.headers?.has('Nats-Service-Error')) throw new Error(answer.string());
    return performance.now() - since;
  };
  let n = 0;
  const inject = (): string =>
    JSON.stringify({ to: cellAddress(CELL), event: { type: toggled(n++) } });
  return alternate(
    rounds,
    () => timed(client, `${SERVICE_PREFIX}.inject`, inject()),
    () => timed(bare, 'bare', '{}'),
  );
}
