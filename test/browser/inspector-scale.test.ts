/** The inspector's page when there is very much to show. */
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, onTestFinished, test } from 'vitest';
import { describeInBrowser } from '../support/browser.ts';
import { eventually } from '../support/eventually.ts';
import { InspectorPage } from '../support/inspector-page.ts';
import { serveInspector, TOKEN } from '../support/inspector.ts';
import { counterAddress, openKernel } from '../support/kernel.ts';

describeInBrowser('the inspector in a browser, at scale', () => {
  test('given 10,000 actors that never stand still, then the page shows them all and answers at once', async () => {
    const { kernel } = await openKernel({ limits: { burst: 1e6, softBound: 1e6 } });
    onTestFinished(() => kernel.halt()); // a clean stop would write 10,000 checkpoints
    const addresses = Array.from({ length: 10_000 }, (_, n) => counterAddress(n));
    await Promise.all(addresses.map((self) => kernel.system.spawn(self, 'counter', { self })));
    const { inspector } = await serveInspector(kernel);
    const shown = await InspectorPage.open({ url: inspector.url, token: TOKEN });
    const { page } = shown;
    const over = new AbortController();
    const load = flood(over.signal, (n) =>
      kernel.system.send(addresses[n % addresses.length] ?? '', { type: 'add', n: 1 }),
    );
    onTestFinished(() => over.abort());
    await eventually(
      async () => expect(await page.locator('#counts').textContent()).toMatch(/^10000 actors/),
      { timeoutMs: 25_000 },
    );
    expect(await shown.value<number>(`document.querySelectorAll('.row').length`)).toBeLessThan(100);
    await page.locator('#tree').focus();
    await page.keyboard.press('End');
    await shown.has(/^c9999, idle/);
    await page.getByRole('searchbox', { name: 'Filter actors' }).fill('c7777');
    await eventually(async () => expect(await shown.rows()).toHaveLength(2));
    await shown.select(/^c7777/);
    await kernel.system.send(counterAddress(7777), { type: 'sleep', ms: 60_000 });
    await shown.isIn('sleeping');
    over.abort();
    await load;
    expect(shown.seen.complaints).toEqual([]);
  }, 60_000);
});

/** A thousand a second, as far as the machine can. */
async function flood(signal: AbortSignal, send: (n: number) => Promise<unknown>): Promise<void> {
  for (let n = 0; !signal.aborted; n += 20) {
    await Promise.all(Array.from({ length: 20 }, (_, i) => send(n + i)));
    await sleep(20);
  }
}
