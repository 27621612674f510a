/**
 * A status that moves. In a terminal: one table, drawn again over itself, with notes above it that stay. Anywhere else:
 * a line with its time whenever something changed, and nothing to erase.
 */
import type { StatusView } from '../actors/status.ts';
import { changesBetween } from './changes.ts';
import { printable } from './output.ts';
import { statusLines } from './status-view.ts';
import { LiveRegion } from './terminal.ts';

export class LiveView {
  readonly #stream: NodeJS.WriteStream;
  readonly #region = new LiveRegion();
  #isTable: boolean;
  #status: StatusView | undefined;

  /** With `stdout: false` standard output is kept for a result, and the lines go to standard error. */
  constructor({ stdout }: { stdout: boolean }) {
    this.#stream = stdout ? process.stdout : process.stderr;
    this.#isTable = stdout && process.stdout.isTTY;
  }

  /** A line that stays. */
  note(text: string): void {
    const line = `${new Date().toTimeString().slice(0, 8)} ${printable(text)}`;
    if (this.#isTable) this.#region.clear();
    this.#stream.write(`${line}\n`);
    if (this.#isTable) this.#draw();
  }

  show(status: StatusView): void {
    const before = this.#status;
    this.#status = status;
    if (this.#isTable) this.#draw();
    else for (const change of changesBetween(before, status)) this.note(change);
  }

  /** The table stays as it is; from now on there are lines. */
  settle(): void {
    this.#isTable = false;
  }

  #draw(): void {
    if (this.#status) this.#region.draw(statusLines(this.#status));
  }
}
