/** The part of a pino logger that this folder needs: data in fields, a constant message. */
export interface CellsLog {
  warn(fields: Record<string, unknown>, message: string): void;
}

/** For callers that have no log. */
export const silentLog: CellsLog = { warn: () => {} };
