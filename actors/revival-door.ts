/**
 * Answers by moving files: a request that a person moved from `pending/` to `approved/` or `rejected/` is the answer.
 *
 * W1 A moved file answers its own request and no later one; moved back and forth, it answers once.
 * W2 What is moved and waits for no answer any more changes nothing, and gets an error file that says so.
 * W3 Events of the file system are hints; a rescan finds what they missed, and requests that are gone (revival-questions.ts).
 */
import { readFileSync, statSync, watch, writeFileSync } from 'node:fs';
import type { FSWatcher } from 'node:fs';
import { MAX_FILE_BYTES, parseJsonObject } from '../cells/parse-json.ts';
import { lazarusAddress } from '../machines/addresses.ts';
import { RuntimeError } from '../machines/errors.ts';
import type { JsonObject } from '../machines/json.ts';
import type { LazarusContext } from '../machines/lazarus-context.ts';
import { parseRevivalId } from './revival-files.ts';
import type { RevivalFiles, RevivalName } from './revival-files.ts';
import { askAgain } from './revival-questions.ts';
import type { ActorSystem, SystemLog } from './system.ts';

type AnswerFolder = 'approved' | 'rejected';
const ANSWERS: readonly AnswerFolder[] = ['approved', 'rejected'];
/** What Lazarus writes into a request that is answered. A person may have put anything else there. */
const ANSWERED: readonly string[] = ['pending', 'revived', 'failed'];

export interface RevivalDoorOptions {
  files: RevivalFiles;
  system: ActorSystem;
  log: SystemLog;
  /** Default 5000. */
  rescanMs?: number;
}

export class RevivalDoor {
  readonly files: RevivalFiles;
  readonly #options: RevivalDoorOptions;
  /** What was looked at, by path and time of change, so that answered ones are not read again and again. */
  readonly #seen = new Map<string, number>();
  readonly #stopping = new AbortController();
  #watchers: FSWatcher[] = [];
  #timer: NodeJS.Timeout | undefined;
  #looking: Promise<void> = Promise.resolve();
  #again = false;
  #isRescan = false;

  constructor(options: RevivalDoorOptions) {
    this.#options = options;
    this.files = options.files;
  }

  start(): void {
    const { files, rescanMs = 5000, log } = this.#options;
    files.makeFolders();
    for (const folder of ANSWERS) {
      const watcher = watch(files.folders[folder], { persistent: false }, () => this.#look());
      watcher.on('error', (error) =>
        log.warn({ folder, error: String(error) }, 'folder not watched; the rescan goes on'),
      );
      this.#watchers.push(watcher);
    }
    this.#timer = setInterval(() => this.#rescan(), rescanMs).unref();
    this.#rescan();
  }

  async stop(): Promise<void> {
    clearInterval(this.#timer);
    this.#stopping.abort();
    for (const watcher of this.#watchers) watcher.close();
    await this.#looking;
  }

  #rescan(): void {
    this.#isRescan = true;
    this.#look();
  }

  /** One look at a time; whoever asks meanwhile gets one more. */
  #look(): void {
    if (this.#again) return;
    this.#again = true;
    this.#looking = this.#looking.then(async () => {
      this.#again = false;
      for (const folder of ANSWERS)
        for (const id of this.#listed(folder)) await this.#lookAt(folder, id);
      if (!this.#isRescan) return;
      this.#isRescan = false;
      await this.#askAgain();
    });
  }

  async #askAgain(): Promise<void> {
    try {
      await askAgain(this.#options, this.#stopping.signal);
    } catch (error) {
      const { log } = this.#options;
      log.warn({ error: String(error) }, 'a request to people is not written; it is tried again');
    }
  }

  #listed(folder: AnswerFolder): string[] {
    try {
      return this.#options.files.list(folder);
    } catch (error) {
      this.#options.log.warn({ folder, error: String(error) }, 'revival requests not read');
      return [];
    }
  }

  async #lookAt(folder: AnswerFolder, id: string): Promise<void> {
    const path = this.#options.files.path(folder, id);
    const changedAt = statSync(path, { throwIfNoEntry: false })?.ctimeMs;
    if (changedAt === undefined || this.#seen.get(path) === changedAt) return;
    const name = parseRevivalId(id);
    try {
      if (name) await this.#answer(folder, name, readRequest(path));
    } catch (error) {
      const isMistake = error instanceof RuntimeError && !error.retryable;
      if (!isMistake) {
        const { log } = this.#options;
        return log.warn({ path, error: String(error) }, 'answer not taken; it is tried again');
      }
      this.#complain(path, error); // W2
    }
    if (this.#seen.size > 10_000) this.#seen.clear();
    const now = statSync(path, { throwIfNoEntry: false })?.ctimeMs;
    this.#seen.set(path, now === changedAt ? changedAt : Number.NaN);
  }

  /** W1. A file that Lazarus put there has a status that no request has which waits. */
  async #answer(folder: AnswerFolder, name: RevivalName, request: JsonObject): Promise<void> {
    const { status } = request;
    if (typeof status === 'string' && ANSWERED.includes(status)) return;
    const { cellId, agentId, revivalId } = name;
    const { system } = this.#options;
    const address = lazarusAddress(cellId, agentId);
    const context = system.has(address)
      ? (system.read(address).snapshot.context as LazarusContext)
      : undefined;
    if (context?.outcome !== 'asking' || context.revivalId !== revivalId)
      throw new RuntimeError(`revival ${revivalId} does not wait for an answer any more`, {
        code: 'CONFLICT',
        hint: 'See what does: `lazarus revivals list`. An agent comes back with `lazarus agent revive`.',
      });
    const id = `revival-file:${revivalId}:${context.expiresAt}`; // asked again, it can be answered again
    await system.send(address, answerOf(folder, revivalId, request), { id });
  }

  #complain(path: string, error: RuntimeError): void {
    const text = `${JSON.stringify({ file: path, error: error.message, hint: error.hint ?? null }, null, 2)}\n`;
    try {
      writeFileSync(`${path}.error`, text, { mode: 0o600 });
    } catch (cause) {
      this.#options.log.warn({ path, error: String(cause) }, 'error file not written');
    }
    this.#options.log.warn({ path }, error.message);
  }
}

/** In an approved file, `"choice"` may say more than that: `previous_checkpoint`, or `substitute` with its agent. */
function answerOf(
  folder: AnswerFolder,
  revivalId: string,
  request: JsonObject,
): { type: string } & JsonObject {
  const by = 'whoever moved its file';
  if (folder === 'rejected') return { type: 'revival.reject', by, revivalId };
  const { choice = 'retry', substitute } = request;
  if (choice === 'substitute') {
    const agentId = typeof substitute === 'string' ? substitute : null;
    return { type: 'revival.substitute', by, revivalId, agentId };
  }
  if (choice !== 'retry' && choice !== 'previous_checkpoint')
    throw new RuntimeError(`"choice" is ${JSON.stringify(choice)}`, {
      code: 'INVALID_ARGUMENT',
      hint: 'It may be "retry", "previous_checkpoint" or "substitute" (with "substitute": "<agent_id>").',
    });
  return { type: 'revival.approve', by, revivalId, rollBack: choice === 'previous_checkpoint' };
}

function readRequest(path: string): JsonObject {
  const stat = statSync(path);
  const hint = 'Answer with `lazarus revivals approve` or `reject` instead.';
  if (!stat.isFile() || stat.size > MAX_FILE_BYTES)
    throw new RuntimeError(
      stat.isFile()
        ? `the request has ${stat.size} bytes; one of ours has a few thousand`
        : 'the request is no file',
      { code: 'FILE_INVALID', hint },
    );
  const parsed = parseJsonObject(readFileSync(path));
  if (parsed.ok) return parsed.value;
  const [problem] = parsed.problems;
  throw new RuntimeError(`line ${problem?.line ?? 1}: ${problem?.message ?? 'not a request'}`, {
    code: 'FILE_INVALID',
    hint: `${problem?.fix ?? ''} Or answer with \`lazarus revivals approve\` or \`reject\`.`.trim(),
  });
}
