/** How a bus waits in tests: as it does by default, sooner. Also for processes of their own, so it imports no test runner. */
import type { BusIntervals } from '../../bus/nats.ts';

export const SOON: Partial<BusIntervals> = {
  connectMs: 2000,
  retryMs: 100,
  reconnectMs: 50,
  redeliveryMs: 500,
};
