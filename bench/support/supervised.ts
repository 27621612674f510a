/** Questions to a node about what its supervision costs. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { MissionNode } from '../../actors/node.ts';
import { lazarusAddress } from '../../machines/addresses.ts';
import type { LazarusContext } from '../../machines/lazarus-context.ts';

export interface Idle {
  cpuMsPerS: number;
  rss: number;
}

/** ms since the first agent failed. */
export interface Together {
  decided: number;
  back: number;
  recorded: number;
}

export async function idleFor(ms: number): Promise<Idle> {
  const startedAt = performance.now();
  const before = process.cpuUsage();
  await sleep(ms);
  const { user, system } = process.cpuUsage(before);
  const elapsedS = (performance.now() - startedAt) / 1000;
  return { cpuMsPerS: (user + system) / 1000 / elapsedS, rss: process.memoryUsage.rss() };
}

/** As remote agents whose host is gone, and comes back: the failure that needs no process to fail. */
export async function failTogether({ kernel: { system } }: MissionNode): Promise<Together> {
  const agents = [...system.actors.keys()].filter((address) => address.includes('/agent/'));
  const cases = agents.map((address) => {
    const [, cellId = '', , agentId = ''] = address.split('/');
    return lazarusAddress(cellId, agentId);
  });
  const startedAt = performance.now();
  const since = (): number => performance.now() - startedAt;
  const tellAll = (event: { type: string; message?: string }): Promise<unknown> =>
    Promise.all(agents.map((address) => system.send(address, event)));
  const allAre = async (fits: (context: LazarusContext) => boolean): Promise<number> => {
    const left = new Set(cases);
    while (left.size > 0) {
      for (const address of left)
        if (system.has(address) && fits(contextOf(address))) left.delete(address);
      await sleep(1);
    }
    return since();
  };
  const contextOf = (address: string): LazarusContext =>
    system.read(address).snapshot.context as LazarusContext;
  await tellAll({ type: 'agent.silent', message: 'no sign of life' });
  const decided = await allAre(({ attempts }) => attempts > 0);
  await tellAll({ type: 'agent.heard' });
  const back = await allAre(({ outcome, revivalId }) => outcome !== null || revivalId === null);
  const recorded = await allAre(({ revivalId }) => revivalId === null);
  return { decided, back, recorded };
}
