/**
 * Every question that Lazarus asks has its file, whoever removed it and whenever: a question that nobody sees is never
 * answered. To delete a request says nothing; moving it does, and so do the verbs.
 *
 * Q1 Open are the questions whose expiry is armed. Few actors are read for that: only those whose agent has no request in
 *    pending/. Nobody is asked about an agent whose mission is not here.
 * Q2 A request in approved/ or rejected/ is an answer under way, and nothing of it is touched.
 * Q3 While Lazarus writes the request itself, nobody else does; one that was answered meanwhile does not stay.
 */
import { existsSync, rmSync } from 'node:fs';
import { cellAddress } from '../machines/addresses.ts';
import { RuntimeError } from '../machines/errors.ts';
import { ledgerEntry } from '../machines/lazarus-context.ts';
import type { LazarusContext } from '../machines/lazarus-context.ts';
import type { RevivalFiles } from './revival-files.ts';
import type { ActorSystem, SystemLog } from './system.ts';

interface Asking {
  system: ActorSystem;
  files: RevivalFiles;
  log: SystemLog;
}

/** Writes the requests anew that are open and have no file. Each is an fsync, so a node that stops does not wait for all. */
export async function askAgain({ system, files, log }: Asking, stop: AbortSignal): Promise<void> {
  const asked = addressesAsking(system);
  if (asked.length === 0) return;
  const shown = new Set(files.list('pending').map((id) => id.slice(0, id.lastIndexOf('.'))));
  for (const address of asked) {
    if (stop.aborted) return;
    const [, , cellId = '', agentId = ''] = address.split('/');
    if (shown.has(`${cellId}.${agentId}`) || !system.has(cellAddress(cellId))) continue;
    const question = openQuestion(system, address);
    if (question === null || isAnswered(files, question)) continue; // Q2
    await files.putBack(ledgerEntry(question));
    log.info({ revivalId: question.revivalId }, 'a request to people was gone, and is asked again');
    if (openQuestion(system, address)?.revivalId !== question.revivalId)
      rmSync(files.path('pending', question.revivalId), { force: true }); // Q3
  }
}

/** Q1. */
function addressesAsking(system: ActorSystem): string[] {
  return system.timers
    .all()
    .filter(({ address, invoke }) => invoke === 'expiry' && address.startsWith('system/lazarus/'))
    .map(({ address }) => address);
}

type Question = LazarusContext & { revivalId: string };

/** Q3. Null when nothing is asked, or is only about to be. */
function openQuestion(system: ActorSystem, address: string): Question | null {
  const committed = readIfThere(system, address);
  if (committed === null || !committed.snapshot.matches({ asking: 'resting' })) return null;
  const context = committed.snapshot.context as LazarusContext;
  return context.revivalId === null ? null : { ...context, revivalId: context.revivalId };
}

function readIfThere(system: ActorSystem, address: string) {
  try {
    return system.read(address);
  } catch (error) {
    // It went meanwhile, or is held, which the status says: neither has anything to ask at this moment.
    if (error instanceof RuntimeError) return null;
    throw error;
  }
}

function isAnswered(files: RevivalFiles, { revivalId }: Question): boolean {
  return (['approved', 'rejected'] as const).some((to) => existsSync(files.path(to, revivalId)));
}
