/**
 * What Lazarus causes: lines in `<missions>/.lazarus/revivals/ledger.jsonl`, one for each outcome of a revival request (the
 * line carries the effect's key, so that writing it again after a crash changes nothing); the request's file for people; an
 * agent's held actor released; an agent's state put back.
 */
import type { LedgerEntry } from '../machines/lazarus-context.ts';
import type { ActorOfAgent } from '../machines/lazarus-actions.ts';
import type { EffectRunner } from './effects.ts';
import type { RevivalFiles } from './revival-files.ts';
import type { RevivalLedger } from './revival-ledger.ts';

export interface LazarusHost {
  ledger: RevivalLedger;
  files: RevivalFiles;
  /** Throws what keeps the agent's actor held. */
  release: (agent: ActorOfAgent) => Promise<void>;
  /** Puts the agent's state back to its previous checkpoint. Throws NOT_FOUND when there is none. */
  rollBack: (agent: ActorOfAgent) => Promise<{ toSeq: number }>;
}

export function bindLazarusEffects(effects: EffectRunner, host: LazarusHost): void {
  effects.register<{ entry: LedgerEntry }>('lazarus', 'writeLedger', {
    semantics: 'idempotent',
    async run({ input: { entry }, key, restarted }) {
      const { choices: _, asked: __, earlier: ___, ...line } = entry;
      await host.ledger.append(key, line, restarted);
      await host.files.place(entry);
      return null;
    },
  });
  effects.register<{ entry: LedgerEntry }>('lazarus', 'fileRequest', {
    semantics: 'idempotent',
    async run({ input: { entry } }) {
      await host.files.place(entry);
      return null;
    },
  });
  effects.register<ActorOfAgent>('lazarus', 'releaseActor', {
    semantics: 'idempotent',
    async run({ input }) {
      await host.release(input);
      return null;
    },
  });
  effects.register<ActorOfAgent>('lazarus', 'rollBackActor', {
    semantics: 'idempotent',
    async run({ input }) {
      return { ...(await host.rollBack(input)) };
    },
  });
}
