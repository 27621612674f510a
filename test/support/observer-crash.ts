/** What the observer that is killed has to make of its event files. */
import type { RuntimeLayout } from '../../cells/runtime-layout.ts';
import { writeEvent } from './observer.ts';

export const CRASH_SERVICES = 10;

/** Each service has failed twice and been well in between. `at`: epoch s. */
export function writeHistory(layout: RuntimeLayout, at: number): void {
  for (let n = 0; n < 3 * CRASH_SERVICES; n += 1)
    writeEvent(layout, {
      at: at - 1000 + n,
      type: Math.floor(n / CRASH_SERVICES) === 1 ? 'service_healthy' : 'service_unhealthy',
      node: ['piha', 'vps'][n % 2] ?? '',
      service: `s${n % CRASH_SERVICES}`,
    });
}
