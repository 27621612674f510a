/** The inspector's page for those who read it: by keyboard, by screen reader, in the dark, and while it changes. */
import { expect, test } from 'vitest';
import { runVerb } from '../../actors/control.ts';
import { describeInBrowser, openWindow } from '../support/browser.ts';
import { eventually } from '../support/eventually.ts';
import { inspectorOf, missionAtWork } from '../support/inspected-node.ts';
import { InspectorPage } from '../support/inspector-page.ts';

interface Contrast {
  what: string;
  ratio: number;
}

/** Of every text in the page to what is behind it, as WCAG counts it. */
const CONTRASTS = `(() => {
  const rgb = (color) => (color.match(/[\\d.]+/g) ?? []).map(Number);
  const light = ([r, g, b]) => [r, g, b]
    .map((c) => c / 255)
    .map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4))
    .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
  const behind = (node) => {
    for (let at = node; at; at = at.parentElement) {
      const color = rgb(getComputedStyle(at).backgroundColor);
      if (color.length === 3 || color[3] > 0) return color;
    }
    return [255, 255, 255];
  };
  return [...document.querySelectorAll('body *')]
    .filter((node) => [...node.childNodes].some(({ nodeType, data }) => nodeType === 3 && data.trim()))
    .filter((node) => node.checkVisibility() && !node.matches('.skip'))
    .map((node) => {
      const [a, b] = [rgb(getComputedStyle(node).color), behind(node)].map(light).sort((x, y) => y - x);
      return { what: node.className + ' ' + node.textContent.slice(0, 40), ratio: (a + 0.05) / (b + 0.05) };
    });
})()`;

describeInBrowser('the inspector in a browser, for its readers', () => {
  test('the keyboard alone is enough, and a screen reader is told what is where', async () => {
    const shown = await InspectorPage.open(inspectorOf(await missionAtWork()));
    const { page } = shown;
    await shown.has(/^lead/, /^other/);
    await page.keyboard.press('/');
    await page.keyboard.type('lead stepping');
    await eventually(async () => expect(await shown.rows()).toHaveLength(3));
    await page.keyboard.press('Escape');
    await shown.has(/^other/);
    await page.keyboard.press('Home');
    // What comes in meanwhile is drawn, and leaves the keyboard where it is.
    await shown.value(`document.querySelector('input').dispatchEvent(new Event('input'))`);
    for (const key of ['ArrowDown', 'ArrowDown']) await page.keyboard.press(key);
    const current = `document.getElementById(document.activeElement.getAttribute('aria-activedescendant')).ariaLabel`;
    expect(await shown.value(current)).toMatch(/^lead, stepping/);
    expect(await page.locator('main').getByRole('heading', { level: 2 }).textContent()).toBe(
      'lead',
    );
    for (const key of ['ArrowLeft', 'ArrowLeft']) await page.keyboard.press(key);
    expect(await shown.rows()).toHaveLength(2); // folded
    expect(await page.getByRole('treeitem', { expanded: false }).count()).toBe(1);
    await page.keyboard.press('ArrowRight');
    await page.keyboard.press('End');
    expect(await shown.value(current)).toMatch(/^other, /);
    expect(await page.locator('nav').ariaSnapshot()).toMatchInlineSnapshot(`
      "- navigation "Actors":
        - searchbox "Filter actors by name, id or state"
        - combobox "Actors of which status":
          - option "all" [selected]
          - option "active"
          - option "held"
          - option "done"
          - option "stopped"
        - tree "Actors":
          - treeitem "Missions, 1" [expanded] [level=1]: Missions 1
          - treeitem "Mission c, active.working, active" [expanded] [level=2]: Mission c active.working
          - treeitem "lead, stepping.waiting · clock.ticking, active" [level=3]: lead stepping.waiting · clock.ticking
          - treeitem "other, alive, active" [level=3] [selected]: other alive"
    `);
    expect(await page.getByRole('status').textContent()).toBe('live');
  });

  test('given a reader who selects text, or wants it to hold still, then it does not change until they let go', async () => {
    const at = await missionAtWork();
    const shown = await InspectorPage.open(inspectorOf(at));
    const { page } = shown;
    const pause = (type: string) => runVerb(at.node, 'inject', { to: 'cell/c', event: { type } });
    await shown.select(/^Mission c/);
    await shown.shows('pausedByPerson: false');
    await shown.value(
      `getSelection().selectAllChildren(document.querySelector('section:not([hidden]) .json .value'))`,
    );
    await pause('cell.pause');
    await shown.isIn('paused');
    expect(await shown.text()).toContain('pausedByPerson: false');
    await shown.value('getSelection().removeAllRanges()');
    await shown.shows('pausedByPerson: true');
    const still = page.getByRole('button', { name: 'Hold still' });
    await still.click();
    const other = await InspectorPage.open(inspectorOf(at));
    await pause('cell.resume');
    await other.has(/^Mission c, active.working/); // the other one has it
    expect(await shown.text()).toContain('pausedByPerson: true');
    await still.click();
    await shown.shows('pausedByPerson: false');
  });

  test.each(['light', 'dark'] as const)('in %s, texts can be read', async (colorScheme) => {
    const at = await missionAtWork();
    const shown = await InspectorPage.open(
      inspectorOf(at),
      await openWindow({ colorScheme, reducedMotion: 'reduce' }),
    );
    await shown.select(/^lead/);
    await runVerb(at.node, 'inject', { to: 'cell/c/agent/lead', event: { type: 'agent.pause' } });
    await shown.showsEvent('agent');
    const pairs = await shown.value<Contrast[]>(CONTRASTS);
    expect(pairs.length).toBeGreaterThan(50);
    expect(pairs.filter(({ ratio }) => ratio < 4.5)).toEqual([]);
  });
});
