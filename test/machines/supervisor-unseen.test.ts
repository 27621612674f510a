/** Nothing is proposed by what nobody can see any more: what the supervisor decides while its observer is silent, or unreadable. */
import { expect, test } from 'vitest';
import { inShards } from '../../machines/shards.ts';
import { APPROVE, configured, look, policyWith, standing } from '../support/supervision.ts';
import { SupervisionWorld } from '../support/supervision.ts';

const proposals = ({ log }: SupervisionWorld): number =>
  log.filter(({ event }) => event.type === 'action.propose').length;

/** A drift stands, and somebody else's action is open for it. */
function worldWith(more: Parameters<typeof look>[0] = {}): SupervisionWorld {
  const world = new SupervisionWorld();
  world.tell(configured(policyWith([APPROVE])));
  world.ill.set('vps/web', standing('vps', 'web'));
  world.looks({ inHand: { 'vps/web': 'somebody' }, ...more });
  return world;
}

test('given the observer is silent, when what was in the way is over, then it is proposed only once the observer speaks', () => {
  const world = worldWith({ staleSince: 1 });
  world.looks({ staleSince: 1 });
  expect(proposals(world)).toBe(0);
  world.looks();
  expect(proposals(world)).toBe(1);
});

test('given the observer is silent, when a policy that approves comes, then nothing is proposed by it', () => {
  const world = new SupervisionWorld();
  world.ill.set('vps/web', standing('vps', 'web'));
  world.tell(configured(policyWith([])));
  world.looks();
  world.looks({ staleSince: 1 });
  world.tell(configured(policyWith([APPROVE])));
  expect(proposals(world)).toBe(0);
  expect(inShards(world.context.standing, 'vps/web')?.decision.because).toMatch(
    'the observer is silent',
  );
});

test('given the last look found nothing out, when a policy that approves comes, then it waits for one that does', () => {
  const world = new SupervisionWorld();
  world.ill.set('vps/web', standing('vps', 'web'));
  world.tell(configured(policyWith([])));
  world.looks();
  world.tell({ type: 'supervisor.skipped', reason: 'half a file' });
  world.tell(configured(policyWith([APPROVE])));
  expect(proposals(world)).toBe(0);
  world.looks();
  expect(proposals(world)).toBe(1);
});

test('given a look that found nothing out, when the next one finds all as it was, then nobody is told anything', () => {
  const world = worldWith();
  world.looks();
  world.settle();
  const before = world.log.length;
  world.tell({ type: 'supervisor.skipped', reason: 'half a file' });
  world.looks();
  expect(world.log.length).toBe(before + 2);
});
