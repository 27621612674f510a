import { expect, test } from 'vitest';
import { messagesOf } from '../../actors/outbox-records.ts';
import type { CommittedRecord } from '../../actors/system.ts';
import { Homelab } from '../support/actions.ts';
import { eventually } from '../support/eventually.ts';

test('each step of an action goes out once, under its id and what it became', async () => {
  const lab = await new Homelab().start();
  const heard: CommittedRecord[] = [];
  lab.at.node.kernel.system.on('committed', (record) => heard.push(record));
  lab.put('pending', 'plan-vps-web.1');
  await lab.is('plan-vps-web.1', 'pending');
  lab.move('plan-vps-web.1', 'pending', 'approved');
  await lab.is('plan-vps-web.1', 'settled');
  const subjects = () =>
    heard
      .flatMap((record) => messagesOf(record, 1 << 20))
      .filter(({ subject }) => subject.startsWith('actions.'));
  await eventually(() =>
    expect(subjects().map(({ subject }) => subject)).toEqual([
      'actions.plan-vps-web%2E1.pending',
      'actions.plan-vps-web%2E1.approved',
      'actions.plan-vps-web%2E1.running',
      'actions.plan-vps-web%2E1.completed',
    ]),
  );
  expect(JSON.parse(subjects()[1]?.body ?? '')).toMatchObject({
    type: 'action.became',
    data: {
      action_id: 'plan-vps-web.1',
      status: 'approved',
      from: 'pending',
      by: 'whoever moved its file',
      host: 'vps',
      service: 'web',
    },
  });
});
