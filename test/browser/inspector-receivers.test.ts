/** The official receivers of @statelyai/inspect in a browser: in the frame that our page opens, and by themselves. */
import { expect, test } from 'vitest';
import type { Frame } from 'playwright-core';
import { describeInBrowser, openWindow } from '../support/browser.ts';
import { eventually } from '../support/eventually.ts';
import { inspectorOf, withInspector } from '../support/inspected-node.ts';
import { InspectorPage } from '../support/inspector-page.ts';
import { gate, mission, startNode, step, task } from '../support/node.ts';
import type { TestNode } from '../support/node.ts';
import { servePage, STATELY_PAGE } from '../support/stately-page.ts';

async function twoMissions(): Promise<TestNode> {
  const at = await startNode(withInspector());
  for (const id of ['c', 'd']) at.drop(mission(id, [task('t', [step('s', gate('g'))])]));
  for (const id of ['c', 'd']) await at.waitsAt(id, 'g');
  return at;
}

interface Received {
  names: string[];
  /** By session: as in its last snapshot. */
  values: Record<string, unknown>;
  events: string[];
}

/** What the receiver on a page has. */
const receivedBy = (page: Pick<Frame, 'evaluate'>): Promise<Received> =>
  page.evaluate(`(() => {
    const of = (type) => (window.received ?? []).filter((message) => message.type === '@xstate.' + type);
    return {
      names: of('actor').map(({ name }) => name),
      values: Object.fromEntries(of('snapshot').map(({ sessionId, snapshot }) => [sessionId, snapshot.value])),
      events: of('event').map(({ event }) => event.type),
    };
  })()`);

describeInBrowser('the official receivers in a browser', () => {
  test('given the frame of our page, then the one there sees the selected mission, live, and no other; and no address of ours', async () => {
    const at = await twoMissions();
    const seen = await openWindow();
    await servePage(seen.context, 'official.createBrowserReceiver()');
    const shown = await InspectorPage.open(inspectorOf(at), seen);
    await shown.select(/^Mission c/);
    await seen.page.getByRole('button', { name: 'Stately inspector' }).click();
    const frame = await eventually(() => {
      const found = seen.page.frames().find((one) => one.url() === STATELY_PAGE);
      if (found === undefined) throw new Error('there is no frame');
      return found;
    });
    await eventually(async () =>
      expect((await receivedBy(frame)).names.toSorted()).toEqual(['cell/c', 'cell/c/agent/lead']),
    );
    for (const id of ['c', 'd']) at.open(id, 'g');
    const session = `cell/c@${at.node.kernel.system.epoch}`;
    await eventually(async () => {
      const { values, events } = await receivedBy(frame);
      expect(values[session]).toBe('completed');
      expect(events).toContain('task.finished');
    });
    expect(JSON.stringify(await receivedBy(frame))).not.toContain('cell/d');
    expect(await frame.evaluate('document.referrer')).toBe('');
    await seen.page.getByRole('button', { name: 'Close Stately' }).click();
    await eventually(() => expect(seen.page.frames()).toHaveLength(1));
  });

  test('given a WebSocket with the token, then the one on stately.ai sees every actor; without, none', async () => {
    const at = await twoMissions();
    const { url, token } = inspectorOf(at);
    const receiver = `official.createWebSocketReceiver({ server: ${JSON.stringify(url.replace('http', 'ws'))} + location.search })`;
    const { page, context } = await openWindow();
    await servePage(context, receiver);
    // What a person answers when Chromium asks whether a page of the web may reach this machine.
    await context.grantPermissions(['local-network-access'], { origin: 'https://stately.ai' });
    await page.goto(`${STATELY_PAGE}?token=${token}`);
    await eventually(async () =>
      expect((await receivedBy(page)).names.toSorted()).toEqual(
        ['c', 'd'].flatMap((id) => [`cell/${id}`, `cell/${id}/agent/lead`]),
      ),
    );
    const refused = page
      .waitForEvent('websocket')
      .then((socket) => socket.waitForEvent('socketerror'));
    await page.goto(`${STATELY_PAGE}?token=wrong`);
    expect(await refused).toMatch(/authentication/i);
    expect((await receivedBy(page)).names).toEqual([]);
  });
});
