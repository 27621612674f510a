/** The inspector's page in a real browser, on real nodes with real missions. */
import { expect, test } from 'vitest';
import { runVerb } from '../../actors/control.ts';
import { describeInBrowser, openWindow } from '../support/browser.ts';
import { eventually } from '../support/eventually.ts';
import { inspectorOf, missionAtWork } from '../support/inspected-node.ts';
import { InspectorPage } from '../support/inspector-page.ts';

const SECRET = 'hunter2-and-more';

const ticketOf = async ({ url, token }: { url: string; token: string }): Promise<string> => {
  const headers = { authorization: `Bearer ${token}` };
  const answer = await fetch(`${url}/ticket`, { method: 'POST', headers });
  return ((await answer.json()) as { ticket: string }).ticket;
};

describeInBrowser('the inspector in a browser', () => {
  test('given no token, then nothing is shown but how to come in', async () => {
    const at = await missionAtWork();
    const { url } = inspectorOf(at);
    const { page, requests } = await openWindow();
    for (const link of [url, `${url}?token=wrong`, `${url}?ticket=wrong`]) {
      const response = await page.goto(link);
      expect(response?.status()).toBe(401);
      expect(await page.locator('body').innerText()).toContain('lazarus inspect');
    }
    expect(requests.map((request) => new URL(request.url()).pathname)).not.toContain(
      '/inspect/page/main.js',
    );
    const { watchers } = at.node.status().parts['inspector'] as { watchers: number };
    expect(watchers).toBe(0);
  });

  test.each(['token', 'ticket'])(
    'given the link with the %s, then every actor is there as it is, and the secret stays nowhere',
    async (kind) => {
      const at = await missionAtWork();
      const { url, token } = inspectorOf(at);
      const secret = kind === 'token' ? token : await ticketOf({ url, token });
      const seen = await openWindow();
      const shown = new InspectorPage(seen);
      await seen.page.goto(`${url}?${kind}=${secret}`);
      await shown.has(
        /^Missions, 1$/,
        /^Mission c, .*working, active$/,
        /^lead, stepping/,
        /^other, /,
      );
      expect(seen.page.url()).toBe(url);
      await shown.select(/^lead/);
      await shown.isIn('alive', 'work', 'working', 'stepping');
      const kept = await shown.value<string>(
        `JSON.stringify([location.href, document.referrer, document.cookie, document.documentElement.outerHTML,
          performance.getEntries(), { ...localStorage }, { ...sessionStorage }, history.state])`,
      );
      expect(kept).not.toContain(secret);
      const [first, ...others] = seen.requests;
      expect(first?.url()).toContain(secret);
      for (const request of others) {
        expect(request.url()).not.toContain(secret);
        expect(await request.allHeaders()).not.toHaveProperty('referer');
      }
      await seen.page.goBack();
      expect(seen.page.url()).toBe('about:blank');
      await seen.page.goForward();
      await shown.says('live');
      expect(seen.page.url()).toBe(`${url}#/cell/c/agent/lead`);
      await shown.isIn('stepping');
      expect(seen.complaints).toEqual([]);
    },
  );

  test('given an event from outside, then it is listed and the state follows, also for who came late', async () => {
    const at = await missionAtWork();
    const shown = await InspectorPage.open(inspectorOf(at));
    await shown.select(/^Mission c/);
    await shown.isIn('active', 'working');
    await runVerb(at.node, 'inject', { to: 'cell/c', event: { type: 'cell.pause' } });
    await shown.showsEvent('cell.pause');
    await shown.isIn('paused');
    expect(await shown.marked()).not.toContain('working');
    await shown.has(/^Mission c, .*paused/);
    const late = await InspectorPage.open(inspectorOf(at));
    await late.has(/^Mission c, .*paused/, /^lead/, /^other/);
    await runVerb(at.node, 'inject', { to: 'cell/c', event: { type: 'cell.resume' } });
    at.open('c', 'g');
    for (const one of [shown, late]) await one.has(/^Mission c, completed/);
  });

  test('given names and events that would be scripts, then they are text', async () => {
    const hurt = `<img src=x onerror="window.hurt=1"><svg onload="window.hurt=1">`;
    const script = `</script><script>window.hurt=1</script>\u202e`;
    const at = await missionAtWork({
      mission_name: `M ${hurt}`,
      metadata: { [script]: hurt, __proto__: { constructor: script } },
    });
    const shown = await InspectorPage.open(inspectorOf(at));
    await shown.select(/^M </);
    const event = { type: 'cell.cancel', data: { reason: `${script}${hurt}` } };
    await runVerb(at.node, 'inject', { to: 'cell/c', event });
    await shown.showsEvent(`"reason":"</script><script>window.hurt=1</script>`);
    await shown.shows(`M ${hurt}`);
    await shown.unfold();
    await shown.shows(JSON.stringify(hurt));
    await shown.page.getByRole('button', { name: 'All events' }).click();
    await shown.showsEvent('<svg onload');
    const made = `[...document.querySelectorAll('img, svg, iframe, script')].map(({ outerHTML }) => outerHTML)`;
    expect(await shown.value(made)).toEqual([
      '<script type="module" src="/inspect/page/main.js"></script>',
    ]);
    expect(await shown.value('window.hurt')).toBeUndefined();
    expect(shown.seen.complaints).toEqual([]);
  });

  test('given markup that got into the page all the same, then the browser does not run it', async () => {
    const shown = await InspectorPage.open(inspectorOf(await missionAtWork()));
    const forbidden = [
      `document.body.innerHTML = '<img src=x onerror="window.hurt=1">'`,
      `document.body.insertAdjacentHTML('beforeend', '<b>x</b>')`,
      `document.body.append(Object.assign(document.createElement('script'), { text: 'window.hurt=1' }))`,
      `document.body.setAttribute('onclick', 'window.hurt=1'), document.body.click()`,
      `document.body.append(Object.assign(document.createElement('script'), { src: 'https://example.com/x.js' }))`,
    ];
    for (const attempt of forbidden) await shown.value(`void (${attempt})`).catch(() => undefined);
    await eventually(() => expect(shown.seen.complaints.length).toBeGreaterThanOrEqual(4));
    expect(await shown.value('window.hurt')).toBeUndefined();
    expect(shown.seen.requests.filter((request) => request.url().includes('example.com'))).toEqual(
      [],
    );
  });

  test('given secrets in a mission, then they are not in the page', async () => {
    const metadata = { api_key: SECRET, note: `https://me:${SECRET}@host` };
    const shown = await InspectorPage.open(inspectorOf(await missionAtWork({ metadata })));
    const texts: string[] = [];
    shown.page.on('websocket', (socket) =>
      socket.on('framereceived', ({ payload }) => void texts.push(payload.toString())),
    );
    await shown.page.reload();
    await shown.select(/^Mission c/);
    await shown.unfold();
    await shown.shows(/api_key\W+\[redacted\]/);
    await shown.shows('https://[redacted]@host');
    expect(texts.length).toBeGreaterThan(0);
    expect(texts.join()).not.toContain(SECRET);
  });
});
