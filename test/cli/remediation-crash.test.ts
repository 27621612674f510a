/**
 * The whole chain from an event in Redis to a verified action, as real processes, killed again and again: one runtime after
 * the other dies between each two of event, diagnosis, file, cooldown, event file, approval, claim, docker, verification and
 * end. The person, docker and Redis go on meanwhile. What must never happen is watched for by homelab-person.ts.
 */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, onTestFinished, test } from 'vitest';
import { Chance } from '../crash/random.ts';
import { lazarus } from '../support/cli.ts';
import { eventually } from '../support/eventually.ts';
import { HOST } from '../support/homelab-process.ts';
import { allAre, dies, HAPPENED, openWorld, reads, unhealthy } from '../support/homelab-world.ts';
import type { World } from '../support/homelab-world.ts';
import { eventFilesIn } from '../support/runtime-files.ts';

async function world(approves: Parameters<typeof openWorld>[0]): Promise<World> {
  const opened = await openWorld(approves);
  onTestFinished(async () => {
    await opened.dispose();
    expect(opened.model.violations).toEqual([]);
  });
  return opened;
}

const ASKED = 'while the model is asked';
const VERIFIES = 'effect.awaitHealthy.before-run:1';
/** In the order of the chain; each life goes on where the one before it died. */
const CHAIN = [
  'journal.before-write:1', // the event was read
  'effect.diagnose.before-run:1', // it is durable
  ASKED,
  'effect.diagnose.after-run:1',
  'proposal.before-link:1',
  'effect.writePending.after-run:1', // the file is there, and no cooldown
  'effect.writeEvent.before-run:1', // the cooldown is there, and no event file
  'effect.writeEvent.after-run:1', // a person approves while nobody runs
  'effect.planRun.before-run:1', // the approval is known
  'effect.moveFile.before-run:1',
  'action.after-take:1',
  'action.after-put:1',
  'effect.moveFile.after-run:1', // it is claimed
  'effect.after-started:1',
  'effect.runAction.after-run:1', // docker has done it
  VERIFIES,
  'effect.moveFile.before-run:1', // it is well
  'action.rewritten:1',
  'effect.moveFile.after-run:1',
  'effect.writeEvent.before-run:1', // it is completed, and nobody was told
  'effect.writeEvent.after-run:1',
];

test('given one action whose runtime dies at each point of its way, then it is planned, approved, run and told once', async () => {
  const here = await world((_file, { layout }) => eventFilesIn(layout).length > 0);
  const { lab, person, model } = here;
  lab.docker.run('web', 'starting');
  const begun = join(lab.base, 'begun');
  for (const [nth, point] of CHAIN.entries()) {
    const options = point === ASKED ? {} : { at: `host:${point}` };
    const life = lab.begin(nth === 0 ? { ...options, from: begun } : options);
    model.onAsked = () => point === ASKED && life.child.kill('SIGKILL');
    if (nth === 0) {
      await reads(here);
      writeFileSync(begun, '');
      await person.publish(unhealthy('web'));
    }
    person.isSilent = !CHAIN.slice(0, nth).includes(VERIFIES); // else it may be well before anybody waits for that
    await dies(life, point);
    person.checkFiles();
    expect(person.violations, point).toEqual([]);
  }
  model.onAsked = () => false;
  await lab.up();
  await allAre(here, ['web']);
  expect(lab.docker.restartsOf('web')).toBe(1);
  expect(person.violations).toEqual([]);
  const cooldowns = await lazarus(lab.missions, 'cooldowns', 'list', '--json');
  expect(cooldowns.json()).toMatchObject({ cooldowns: [{ host: HOST, service: 'web' }] });
}, 240_000);

const [TOLD, DONE] = ['docker was told', 'docker has done it'];
/** Around the one thing that must not happen twice; each for a service of its own, which is approved as soon as it can be. */
const AROUND_DOCKER = [
  'effect.writePending.after-run:1', // so that it is approved before anybody knows that it is proposed
  'effect.before-started:1',
  'effect.runAction.before-run:1',
  'run-record.after-folder-sync:1',
  'executor.before-spawn:2', // the first asks how it was before
  'executor.after-spawn:2',
  TOLD,
  DONE,
  'executor.after-end:2',
  'run-record.before-write:2',
];

test('given a runtime that dies around a restart, then that is done once, whatever docker does meanwhile', async () => {
  const here = await world(() => true);
  const { lab, person } = here;
  const services = AROUND_DOCKER.map((_, nth) => `d${nth}`);
  for (const [nth, point] of AROUND_DOCKER.entries()) {
    const service = `d${nth}`;
    lab.docker.run(service, 'healthy');
    const begun = join(lab.base, `begun-${nth}`);
    const byUs = point === TOLD || point === DONE;
    const life = lab.begin(byUs ? {} : { at: `host:${point}`, from: begun });
    const kill = (container: string): void =>
      void (container === service && life.child.kill('SIGKILL'));
    lab.docker.onTold = point === TOLD ? kill : () => undefined;
    lab.docker.onRestart = point === DONE ? kill : () => undefined;
    lab.docker.delayMs = point === TOLD ? 300 : 0;
    await allAre(here, services.slice(0, nth)); // what the life before left
    await reads(here);
    writeFileSync(begun, '');
    await person.publish(unhealthy(service));
    await dies(life, point);
    person.checkFiles();
    expect(person.violations, point).toEqual([]);
  }
  await lab.up();
  await allAre(here, services);
  for (const service of services) expect(lab.docker.restartsOf(service), service).toBe(1);
  expect(person.violations).toEqual([]);
}, 240_000);

test('given docker away after a kill in the middle of a restart, then it is in doubt, and stays so until a person has looked', async () => {
  const here = await world(() => true);
  const { lab, person } = here;
  lab.docker.run('web', 'healthy');
  const life = await lab.up();
  await reads(here);
  lab.docker.onRestart = () => {
    life.child.kill('SIGKILL');
    lab.docker.isAway = true;
  };
  await person.publish(unhealthy('web'));
  await dies(life, 'restart');
  await lab.up();
  const id = `plan-${HOST}-web-${HAPPENED}`;
  await eventually(
    async () => {
      const doubts = await lazarus(lab.missions, 'doubt', 'list', '--json');
      expect(doubts.json()).toMatchObject({
        in_doubt: [{ task_id: id, step: 'container_restart' }],
      });
    },
    { timeoutMs: 40_000 },
  );
  lab.docker.isAway = false;
  expect((await lazarus(lab.missions, 'status')).out).toContain(id);
  expect(lab.everywhere()).toEqual([{ id, status: 'running' }]);
  const done = await lazarus(lab.missions, 'doubt', 'done', id);
  expect([done.code, done.err]).toEqual([0, '']);
  await allAre(here, ['web']);
  expect([lab.docker.restartsOf('web'), person.violations]).toEqual([1, []]);
}, 120_000);

test('given kills at random, then what was approved was done once or was given up, and nothing else was', async () => {
  const seed = Date.now() % 1_000_000;
  const chance = new Chance(seed);
  const isTrusted = (service: string): boolean => Number(service.slice(1)) % 3 !== 0;
  const here = await world(({ service }) => isTrusted(String(service)));
  const { lab, person } = here;
  const services = Array.from({ length: 7 }, (_, i) => `r${i}`);
  for (const service of services)
    lab.docker.run(service, chance.pick(['healthy', 'starting']) ?? null);
  lab.docker.delayMs = 50;
  const first = await lab.up();
  await reads(here);
  await first.kill();
  for (const service of services) {
    await person.publish(unhealthy(service));
    const life = chance.next() < 0.2 ? lab.begin() : await lab.up();
    await sleep(chance.between(0, 700));
    await life.kill();
    person.checkFiles();
    expect(person.violations, `seed ${seed}`).toEqual([]);
  }
  await lab.up();
  await allAre(here, services, (service) =>
    isTrusted(service) ? ['completed', 'failed'] : ['pending'],
  );
  for (const id of lab.ids('failed')) {
    const { result } = lab.action('failed', id) as { result: { reason: string } };
    expect(result.reason, `${id}, seed ${seed}`).toMatch(/cut off 2 times/);
  }
  for (const id of lab.ids('completed'))
    expect(lab.docker.restartsOf(id.split('-')[2] ?? ''), `${id}, seed ${seed}`).toBe(1);
  expect(person.violations, `seed ${seed}`).toEqual([]);
}, 240_000);
