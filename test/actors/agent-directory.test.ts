/** The directory of agents follows what missions commit, whichever of its questions is asked first. */
import { rmSync } from 'node:fs';
import { describe, expect, onTestFinished, test } from 'vitest';
import { AgentDirectory } from '../../actors/agent-directory.ts';
import { eventually } from '../support/eventually.ts';
import { agent, mission, startNode } from '../support/node.ts';
import type { TestNode } from '../support/node.ts';

/** One that has read all there is; from here on nothing but the question under test is asked. */
async function directoryOf(node: TestNode): Promise<AgentDirectory> {
  const directory = new AgentDirectory(node.node.kernel.system);
  onTestFinished(() => directory.close());
  await directory.ready();
  return directory;
}

const lasting = (id: string, agents = [agent('lead')]) =>
  mission(id, [], { agents, success_criteria: [{ name: 'a person confirms' }] });

describe('whether a bare id names one agent', () => {
  test('given one that has it, when another mission brings a second and goes again, then it is unique, is not, and is again', async () => {
    const node = await startNode();
    node.drop(lasting('one'));
    await node.cellIs('one', 'active');
    const directory = await directoryOf(node);
    expect(directory.isUnique('lead')).toBe(true);
    node.drop(lasting('two'));
    await eventually(() => expect(directory.isUnique('lead')).toBe(false));
    rmSync(node.path('two'), { recursive: true });
    await eventually(() => expect(directory.isUnique('lead')).toBe(true));
  });

  test('given a second agent of the name, when its file alone is added and removed, then that is seen', async () => {
    const node = await startNode();
    node.drop(lasting('one'));
    node.drop(lasting('two', [agent('other')]));
    await node.cellIs('one', 'active');
    await node.cellIs('two', 'active');
    const directory = await directoryOf(node);
    expect(directory.isUnique('lead')).toBe(true);
    node.write('two', 'agents/lead.json', agent('lead'));
    await eventually(() => expect(directory.isUnique('lead')).toBe(false));
    rmSync(node.path('two', 'agents/lead.json'));
    await eventually(() => expect(directory.isUnique('lead')).toBe(true));
  });

  test('given nobody has it, then it is not, until somebody does', async () => {
    const node = await startNode();
    const directory = await directoryOf(node);
    expect(directory.isUnique('lead')).toBe(false);
    node.drop(lasting('one'));
    await eventually(() => expect(directory.isUnique('lead')).toBe(true));
  });
});
