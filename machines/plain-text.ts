/**
 * Text of a model, or of whoever steered it, on its way to a person who decides by it: on one line, without characters that
 * cannot be seen or that change the order in which others are shown.
 */

/** Control, format (bidirectional overrides, zero width, tags), line and paragraph separators, private use. */
const UNSEEN = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Co}]+/gu;
const BLANK = /[\t\n\v\f\r\u0085\u2028\u2029]+/gu;

export function plainText(text: string, maxChars: number): string {
  const seen = text
    .toWellFormed()
    .replaceAll(BLANK, ' ')
    .replaceAll(UNSEEN, '')
    .replaceAll(/ {2,}/g, ' ')
    .trim();
  return seen.length <= maxChars ? seen : `${seen.slice(0, maxChars - 3).toWellFormed()}...`;
}

/** For the record: all of it can be seen, as `\uXXXX` where it must be. */
export function visibleText(text: string, maxChars: number): string {
  const shown = text.length <= maxChars ? text : `${text.slice(0, maxChars - 3)}...`;
  return shown.toWellFormed().replaceAll(UNSEEN, codes);
}

/** Shown as `\uXXXX`. Inside JSON text, where they are part of a value, that reads back as the same. */
export function escapeUnseen(json: string): string {
  return json.replaceAll(/[\u007f-\u009f\p{Cf}\p{Zl}\p{Zp}\p{Co}]+/gu, codes);
}

const codes = (found: string): string =>
  Array.from({ length: found.length }, (_, i) => found.charCodeAt(i))
    .map((code) => `\\u${code.toString(16).padStart(4, '0')}`)
    .join('');
