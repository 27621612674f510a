import { isUtf8 } from 'node:buffer';

/** Bytes as text, or undefined when they are none. `isCut`: a character that the cut goes through is left out. */
export function utf8Text(bytes: Uint8Array, { isCut }: { isCut: boolean }): string | undefined {
  for (let less = 0; less < (isCut ? 4 : 1); less += 1) {
    const part = bytes.subarray(0, Math.max(0, bytes.length - less));
    if (isUtf8(part)) return Buffer.from(part).toString();
  }
  return undefined;
}
