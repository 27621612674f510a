/**
 * How a drift's steps are told to other programs: a line of `state/agent-events.log`, then a file in `events/`. Idempotent: a
 * step whose telling was cut off is told again and stands there once. So many at a time: the rest wait here, and a stop does
 * not wait for them.
 */
import type { LineLog } from '../../cells/line-log.ts';
import { asJsonObject } from '../../machines/json.ts';
import { stepFile, stepLine } from '../../machines/supervision-event.ts';
import type { Telling } from '../../machines/supervision-event.ts';
import type { EffectRunner } from '../effects.ts';
import { writeEventFile } from '../event-files.ts';
import { StartSlots } from '../start-slots.ts';

export interface DriftHost {
  /** What this machine is called in event files. */
  nodeName: string;
  /** Folder of the homelab's event files. */
  events: string;
  log: LineLog;
  /** Of a step that cannot be told; it is tried again some times. */
  warn: (fields: Record<string, unknown>, text: string) => void;
}

const AT_ONCE = 4;

export function bindDriftEffects(
  effects: EffectRunner,
  { nodeName, events, log, warn }: DriftHost,
): void {
  const slots = new StartSlots(AT_ONCE);
  effects.register<Telling>('drift', 'tell', {
    semantics: 'idempotent',
    async run({ input: telling, restarted, signal }) {
      await slots.take(signal);
      try {
        await log.append(stepLine(telling), restarted);
        const path = await writeEventFile(stepFile(telling, nodeName), { events, restarted });
        return asJsonObject({ path });
      } catch (error) {
        warn({ step: telling.id, error: String(error) }, 'a step of a drift cannot be told');
        throw error;
      } finally {
        slots.release();
      }
    },
  });
}
