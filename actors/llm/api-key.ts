/**
 * Where the API key comes from: `ANTHROPIC_API_KEY`, else a file that only its owner can read. Nowhere else: not from the
 * configuration, which people show around. A file is read again when it changes, so a key can be replaced while the node
 * runs.
 */
import { open } from 'node:fs/promises';

export type ApiKey = { ok: true; key: string } | { ok: false; reason: string; hint: string };

const MAX_BYTES = 4096;

export class ApiKeySource {
  readonly #fromEnvironment: string | undefined;
  readonly #file: string | null;
  #last: { mark: string; found: ApiKey } | undefined;

  constructor(environment: Readonly<Record<string, string | undefined>>, file: string | null) {
    this.#fromEnvironment = environment['ANTHROPIC_API_KEY']?.trim() || undefined;
    this.#file = file;
  }

  /** As far as it is known without looking. */
  get known(): ApiKey | undefined {
    if (this.#fromEnvironment !== undefined) return { ok: true, key: this.#fromEnvironment };
    return this.#file === null ? NO_KEY : this.#last?.found;
  }

  async read(): Promise<ApiKey> {
    if (this.#fromEnvironment !== undefined) return { ok: true, key: this.#fromEnvironment };
    if (this.#file === null) return NO_KEY;
    try {
      return await this.#readFile(this.#file);
    } catch (error) {
      const code = (error as NodeJS.ErrnoException).code ?? 'unreadable';
      this.#last = undefined;
      return refused(`${this.#file}: ${code}`, 'Write the key into it, readable for you alone.');
    }
  }

  async #readFile(file: string): Promise<ApiKey> {
    const handle = await open(file, 'r');
    try {
      const { mode, size, mtimeMs, ctimeMs, ino } = await handle.stat();
      const mark = `${mode} ${size} ${mtimeMs} ${ctimeMs} ${ino}`;
      if (this.#last?.mark === mark) return this.#last.found;
      const found =
        (mode & 0o077) !== 0
          ? refused(`${file} can be read by others`, `chmod 600 ${file}`)
          : size > MAX_BYTES
            ? refused(`${file} is too long for a key`, 'Write the key into it and nothing else.')
            : keyIn(file, await handle.readFile('utf8'));
      this.#last = { mark, found };
      return found;
    } finally {
      await handle.close();
    }
  }
}

const refused = (reason: string, hint: string): ApiKey => ({ ok: false, reason, hint });
const NO_KEY = refused('no API key', 'Set ANTHROPIC_API_KEY, or llm.anthropic.key_file.');

function keyIn(file: string, text: string): ApiKey {
  const key = text.trim();
  if (/^[\x21-\x7e]+$/.test(key)) return { ok: true, key };
  return refused(`${file} holds no key`, 'Write the key into it and nothing else.');
}
