/** The inspector's page when the node goes, comes back, or says nothing. */
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { describeInBrowser, openWindow } from '../support/browser.ts';
import { isUp, missionsFolder, nodeFileOf, Running, statusAt, writeCell } from '../support/cli.ts';
import { eventually } from '../support/eventually.ts';
import { inspectorIn, lastingPort } from '../support/inspected-node.ts';
import { InspectorPage } from '../support/inspector-page.ts';

/** A process of its own, on an address that it has again when it is started anew. */
async function nodeOn(missions: string, http: string): Promise<Running> {
  const running = Running.of(missions, 'up', '--http', http, '--nats', 'off');
  await isUp(missions, running).catch((cause: unknown) => {
    throw new Error(`it said: ${running.out.slice(-1000)}`, { cause });
  });
  return running;
}

describeInBrowser('the inspector in a browser, over time', () => {
  test('given a node that is killed and started anew, then the page says so, comes back by itself and shows what is true', async () => {
    const missions = missionsFolder();
    const http = `127.0.0.1:${await lastingPort()}`;
    for (const id of ['one', 'two']) writeCell(missions, id);
    const first = await nodeOn(missions, http);
    const shown = await InspectorPage.open(inspectorIn(nodeFileOf(missions)));
    await shown.has(/^one/, /^two/, /^worker/);
    await shown.select(/^one/);
    await shown.shows('session cell/one@1');
    first.child.kill('SIGKILL');
    await shown.says(/connection is lost|does not answer/);
    await eventually(async () => expect(await shown.page.title()).toContain('not connected'));
    await shown.has(/^one/, /^two/); // the last that is known
    await first.ended;
    writeCell(missions, 'three');
    await nodeOn(missions, http);
    await shown.says('live');
    await shown.has(/^one/, /^three/);
    await shown.shows('session cell/one@2');
    const { cells } = await statusAt<{ cells: { cell_id: string }[] }>(missions);
    const roots = shown.page.locator('.row[data-level="2"] .label');
    await eventually(async () =>
      expect(await roots.allTextContents()).toEqual(cells.map(({ cell_id: id }) => id).toSorted()),
    );
    await shown.page.getByRole('button', { name: 'All events' }).click();
    await shown.showsEvent('Connected again');
  });

  test('given a node that is there and says nothing, then what is shown does not count as live until it answers', async () => {
    const missions = missionsFolder();
    writeCell(missions, 'one');
    const { child } = await nodeOn(missions, `127.0.0.1:${await lastingPort()}`);
    const seen = await openWindow();
    await seen.page.clock.install();
    const shown = await InspectorPage.open(inspectorIn(nodeFileOf(missions)), seen);
    await shown.has(/^one/);
    child.kill('SIGSTOP');
    onTestFinished(() => void child.kill('SIGCONT'));
    await seen.page.clock.fastForward(30_000);
    await shown.says(/does not answer; what is shown is of/);
    child.kill('SIGCONT');
    await eventually(async () => {
      await seen.page.clock.fastForward(5000);
      await shown.says('live');
    });
  });

  test('given another token, then the page says that it may not watch any more, and what to do', async () => {
    const missions = missionsFolder();
    const http = `127.0.0.1:${await lastingPort()}`;
    const first = await nodeOn(missions, http);
    const shown = await InspectorPage.open(inspectorIn(nodeFileOf(missions)));
    first.child.kill('SIGKILL');
    await first.ended;
    rmSync(join(missions, '.lazarus/http-token'));
    await nodeOn(missions, http);
    await shown.says(/run `lazarus inspect` again/);
  });
});
