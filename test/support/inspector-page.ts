/** The inspector's page as a person with a mouse, a keyboard or a screen reader meets it. */
import type { Locator, Page } from 'playwright-core';
import { openWindow } from './browser.ts';
import type { Seen } from './browser.ts';
import { eventually } from './eventually.ts';

const PATIENCE = { timeoutMs: 20_000 };

type Wanted = string | RegExp;

const matches = (text: string, wanted: Wanted): boolean =>
  typeof wanted === 'string' ? text.includes(wanted) : wanted.test(text);

export class InspectorPage {
  readonly seen: Seen;
  readonly page: Page;

  constructor(seen: Seen) {
    this.seen = seen;
    this.page = seen.page;
  }

  /** By the link with the token; resolves when it is live. */
  static async open(
    { url, token }: { url: string; token: string },
    seen?: Seen,
  ): Promise<InspectorPage> {
    const shown = new InspectorPage(seen ?? (await openWindow()));
    await shown.page.goto(`${url}?token=${token}`);
    await shown.says('live');
    return shown;
  }

  // ---- what is on it ---------------------------------------------------------------------------------------------------

  /** What a screen reader says of each row in sight, from the top. */
  rows(): Promise<string[]> {
    return this.value(`[...document.querySelectorAll('.row')].map(({ ariaLabel }) => ariaLabel)`);
  }

  row(name: Wanted): Locator {
    return this.page.getByRole('treeitem', { name });
  }

  /** The states that are marked, outermost first. */
  marked(): Promise<string[]> {
    return this.page.locator('.state[aria-current="true"] > .head > .name').allTextContents();
  }

  /** Events as listed, the newest first. */
  events(): Promise<string[]> {
    return this.page.getByRole('log').getByRole('listitem').allTextContents();
  }

  text(): Promise<string> {
    return this.page.locator('body').innerText();
  }

  /** Of an expression in the page. */
  value<T>(expression: string): Promise<T> {
    return this.page.evaluate<T>(expression);
  }

  // ---- waiting: each of them fails with what was there instead ---------------------------------------------------------

  /** Of the connection. */
  async says(text: Wanted): Promise<void> {
    const link = this.page.locator('#link');
    await until([text], async () => [(await link.textContent()) ?? '']);
  }

  has = (...names: Wanted[]): Promise<void> => until(names, () => this.rows());
  isIn = (...states: string[]): Promise<void> => until(states, () => this.marked());
  showsEvent = (text: Wanted): Promise<void> => until([text], () => this.events());
  shows = (text: Wanted): Promise<void> => until([text], async () => [await this.text()]);

  // ---- what a person does ----------------------------------------------------------------------------------------------

  async select(name: Wanted): Promise<void> {
    await this.row(name).first().click();
  }

  /** Opens everything that is folded in the actor that is selected. */
  async unfold(): Promise<void> {
    const open = `(() => {
      const folded = [...document.querySelectorAll('main details:not([open])')];
      for (const details of folded) details.open = true;
      return folded.length;
    })()`;
    await until([/^0$/], async () => [String(await this.value(open))]);
  }
}

/** Until each wanted text is among those that are read. */
async function until(wanted: Wanted[], read: () => Promise<string[]>): Promise<void> {
  await eventually(async () => {
    const texts = await read();
    for (const one of wanted)
      if (!texts.some((text) => matches(text, one)))
        throw new Error(`there is no ${String(one)} in:\n${texts.join('\n').slice(0, 3000)}`);
  }, PATIENCE);
}
