/** A cell in a temporary folder, steps for it, and a look at the processes they leave. */
import { mkdirSync, mkdtempSync, readFileSync, realpathSync, rmSync } from 'node:fs';
import { randomUUID } from 'node:crypto';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { isRunning, listPids, readEnvironment, readStat } from '../../actors/proc-fs.ts';
import type { StepRequest } from '../../actors/step-request.ts';

export interface TestCell {
  dir: string;
  nodeId: string;
  /** Bash script as a step. */
  script(text: string, more?: Partial<StepRequest>): StepRequest;
  request(run: string[], more?: Partial<StepRequest>): StepRequest;
  read(relPath: string): string;
  remove(): void;
}

export function makeCell(): TestCell {
  const dir = realpathSync(mkdtempSync(join(tmpdir(), 'lazarus-steps-')));
  for (const folder of ['artifacts', 'logs']) mkdirSync(join(dir, folder));
  const nodeId = randomUUID();
  const request = (run: string[], more: Partial<StepRequest> = {}): StepRequest => ({
    key: `cell/c1/agent/builder#${randomUUID()}#step`,
    cellId: 'c1',
    agentId: 'builder',
    taskId: 'build',
    stepIndex: 0,
    name: 'compile',
    run,
    timeoutMs: null,
    cellDir: dir,
    nodeId,
    kind: 'step',
    ...more,
  });
  return {
    dir,
    nodeId,
    request,
    script: (text, more) => request(['bash', '-c', text], more),
    read: (relPath) => readFileSync(join(dir, relPath), 'utf8'),
    remove: () => rmSync(dir, { recursive: true, force: true }),
  };
}

/** Running processes that carry this variable with this value. */
export function pidsMarked(name: string, value: string): number[] {
  const entry = Buffer.from(`\0${name}=${value}\0`);
  return listPids().filter(
    (pid) => readEnvironment(pid)?.includes(entry) && isRunning(readStat(pid)),
  );
}

/** A pid that a script wrote to a file. Throws until it is there whole. */
export function pidIn(cell: TestCell, relPath: string): number {
  const text = cell.read(relPath);
  if (!/^\d+\n$/.test(text)) throw new Error(`no pid in ${relPath} yet`);
  return Number(text);
}

/** Bash that starts `command` out of the group, the session and the family: setsid and a double fork. */
export const detached = (command: string): string =>
  `( setsid bash -c '${command} & wait' </dev/null >/dev/null 2>&1 & )`;

/** Throws when the cell's steps or workers left processes behind. */
export function refuseLeftovers(cell: TestCell): void {
  const left = pidsMarked('LAZARUS_NODE', cell.nodeId);
  if (left.length > 0) throw new Error(`left behind: ${left.join(', ')}`);
}

/** What a promise rejects with; can be taken before the rejection comes. */
export function rejection(promise: Promise<unknown>): Promise<unknown> {
  return promise.then(
    () => {
      throw new Error('it did not reject');
    },
    (error: unknown) => error,
  );
}
