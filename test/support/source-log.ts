/** What a source of files told, as lines. */
import type { SourceLog } from '../../actors/supervisor/source-log.ts';

export interface LoggedLine {
  level: 'info' | 'warn';
  fields: Record<string, unknown>;
  message: string;
}

export function recordingLog(): { log: SourceLog; lines: LoggedLine[] } {
  const lines: LoggedLine[] = [];
  const line =
    (level: LoggedLine['level']) =>
    (fields: Record<string, unknown>, message: string): void =>
      void lines.push({ level, fields, message });
  return { log: { info: line('info'), warn: line('warn') }, lines };
}
