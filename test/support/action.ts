/** Actions for tests: files as the planner writes them, and a driver of the machine that plays the file system. */
import { createHash } from 'node:crypto';
import { approvalText } from '../../machines/action-file.ts';
import type { ActionContext, Move, Moved, RunOutcome } from '../../machines/action-context.ts';
import { actionMachine } from '../../machines/action.machine.ts';
import { withTransition } from '../../machines/action-file.ts';
import type { JsonObject } from '../../machines/json.ts';
import type { ActionEvent, ActionStatus } from '../../machines/remediation.ts';
import { MachineDriver } from './machine-driver.ts';
import type { Clock, Reaction } from './machine-driver.ts';

/** As the planner of the source documents writes it. */
export function proposal(id: string, more: JsonObject = {}): JsonObject {
  return {
    action_id: id,
    type: 'container_restart',
    node: 'vps',
    service: 'web',
    risk_level: 'low',
    confidence: 0.9,
    requires_human: false,
    description: 'RESTART web on vps: it does not answer any more',
    status: 'pending',
    timestamp: 1_700_000_000.5,
    source_event: 'service_unhealthy',
    llm_model: 'ollama/qwen2.5:7b',
    llm_attempts: 1,
    payload: { action: 'restart', reason: 'it does not answer any more' },
    ...more,
  };
}

export const hashOf = (content: JsonObject): string =>
  createHash('sha256').update(approvalText(content)).digest('hex');

export const WELL: RunOutcome = {
  ok: true,
  reason: null,
  exit_code: 0,
  signal: null,
  stdout: 'web\n',
  stderr: '',
  started_at: '2026-01-01T00:00:00.000Z',
  finished_at: '2026-01-01T00:00:01.000Z',
};
export const BADLY: RunOutcome = { ...WELL, ok: false, reason: 'exit code 1', exit_code: 1 };

export const PLAN = {
  driver: 'docker',
  semantics: 'at_most_once',
  via: 'local',
  shown: ['docker restart web'],
  timeoutMs: 60_000,
  verifies: true,
  verifyMs: 120_000,
};

export class ActionDriver {
  readonly driver: MachineDriver;
  /** What stands on disk, if anything. */
  disk: { status: ActionStatus; content: JsonObject } | null = null;

  /** Several may share one clock. */
  constructor(id = 'a', clock?: Clock) {
    this.driver = new MachineDriver(actionMachine, { actionId: id }, clock);
  }

  get context(): ActionContext {
    return this.driver.snapshot.context as ActionContext;
  }

  /** `pending`, `underway.waiting`, ... */
  get state(): string {
    const { value } = this.driver;
    return typeof value === 'string'
      ? value
      : Object.entries(value as object)
          .map(([outer, inner]) => `${outer}.${String(inner)}`)
          .join();
  }

  tell(event: ActionEvent): Reaction {
    return this.driver.deliver(event);
  }

  /** The file stands there, and its actor is told. */
  found(status: ActionStatus, content: JsonObject = this.disk?.content ?? proposal('a')): Reaction {
    this.disk = { status, content };
    return this.tell({ type: 'action.found', status, content, sha256: hashOf(content) });
  }

  approve(more: Partial<Extract<ActionEvent, { type: 'action.approve' }>> = {}): Reaction {
    return this.tell({ type: 'action.approve', by: 'alice (x)', door: 'x', ...more });
  }

  /** The move that is under way comes about, as far as the disk lets it. */
  moves(): Reaction {
    const move = this.driver.running.get('move')?.input['move'] as unknown as Move;
    return this.driver.done('move', this.#carriedOut(move));
  }

  #carriedOut(move: Move): Moved {
    const { disk } = this;
    if (disk?.status !== move.from) {
      const place = disk && { ...disk, sha256: hashOf(disk.content) };
      return { outcome: 'elsewhere', place, reason: 'somebody was quicker' };
    }
    const sha256 = hashOf(disk.content);
    if (move.sha256 !== null && move.sha256 !== sha256)
      return { outcome: 'changed', place: { ...disk, sha256 }, reason: 'it was changed meanwhile' };
    const content = withTransition(disk.content, move.entry, move.set);
    this.disk = { status: move.to, content };
    return { outcome: 'moved', place: { ...this.disk, sha256: hashOf(content) }, reason: null };
  }

  /** Up to where the gate is asked. */
  approved(): this {
    this.found('pending');
    this.approve();
    this.moves();
    return this;
  }

  /** Up to where the driver runs it. */
  running(plan: JsonObject = PLAN): this {
    this.approved();
    this.tell({ type: 'gate.granted' });
    this.driver.done('plan', plan);
    this.moves();
    return this;
  }
}

export const sentTo = ({ sent }: Pick<Reaction, 'sent'>, to: string): string[] =>
  sent.filter((one) => one.to === to).map(({ event }) => event.type);
