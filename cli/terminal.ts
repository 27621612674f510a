/** Tables, bars, colours and a region that is drawn anew in place. Colours only where the stream is a terminal that wants them. */
import { stripVTControlCharacters, styleText } from 'node:util';
import { printable } from './output.ts';

type Style = Parameters<typeof styleText>[0];

/** Honours NO_COLOR, FORCE_COLOR and whether standard output is a terminal. */
export const paint = (style: Style, text: string): string =>
  styleText(style, text, { stream: process.stdout });

const widthOf = (text: string): number => stripVTControlCharacters(text).length;

export const pad = (text: string, width: number): string =>
  text + ' '.repeat(Math.max(0, width - widthOf(text)));

/** Columns as wide as they must be; the last one is cut at the terminal's edge by `fit`. */
export function table(head: string[], rows: string[][], indent = '  '): string[] {
  const widths = head.map((title, i) =>
    Math.max(widthOf(title), ...rows.map((row) => widthOf(row[i] ?? ''))),
  );
  const line = (cells: string[]): string =>
    indent +
    cells
      .map((cell, i) => pad(cell, widths[i] ?? 0))
      .join('  ')
      .trimEnd();
  return [paint('dim', line(head)), ...rows.map(line)];
}

/** `██████░░░░ 3/5` */
export function bar(done: number, total: number, width = 10): string {
  if (total === 0) return '';
  const full = Math.round((Math.min(done, total) / total) * width);
  return `${'█'.repeat(full)}${'░'.repeat(width - full)} ${done}/${total}`;
}

/** What comes from files, in one line and not longer than `max`. */
export function brief(text: string, max = 100): string {
  const line = printable(text).replaceAll(/\s+/g, ' ').trim();
  return line.length <= max ? line : `${line.slice(0, max - 1)}…`;
}

/** `4 s`, `3 min`, `2 h`, `5 d` */
export function span(ms: number): string {
  const s = Math.max(0, Math.round(ms / 1000));
  if (s < 100) return `${s} s`;
  if (s < 6000) return `${Math.round(s / 60)} min`;
  return s < 172_800 ? `${Math.round(s / 3600)} h` : `${Math.round(s / 86_400)} d`;
}

/** Lines that are drawn over themselves; for terminals only. */
export class LiveRegion {
  #drawn = 0;

  draw(lines: readonly string[]): void {
    const columns = process.stdout.columns || 80; // some terminals say 0
    const rows = process.stdout.rows || 24;
    const shown = lines.slice(0, rows - 1).map((line) => fit(line, columns));
    const up = this.#drawn > 0 ? `\x1b[${this.#drawn}A\r` : '';
    process.stdout.write(`${up}\x1b[0J${shown.join('\n')}\n`);
    this.#drawn = shown.length;
  }

  /** What is drawn goes, and the cursor stands where it began. */
  clear(): void {
    if (this.#drawn > 0) process.stdout.write(`\x1b[${this.#drawn}A\r\x1b[0J`);
    this.#drawn = 0;
  }

  /** What is drawn stays; the next drawing begins below it. */
  keep(): void {
    this.#drawn = 0;
  }
}

/** Cuts at the edge; a line with colours loses them when it must be cut. */
function fit(line: string, columns: number): string {
  return widthOf(line) <= columns
    ? line
    : `${stripVTControlCharacters(line).slice(0, columns - 1)}…`;
}
