/** A homelab with an inventory and a world, for one test. */
import { onTestFinished } from 'vitest';
import { lazarus } from './cli.ts';
import { HOST } from './homelab-process.ts';
import { ReconciledWorld } from './reconciled-world.ts';

export class ReconciledHomelab extends ReconciledWorld {
  /** By host, its services; all of them well. Ends with the test. */
  static open(
    hosts: Record<string, unknown[]>,
    environment: Record<string, string> = {},
  ): ReconciledHomelab {
    const homelab = new ReconciledHomelab(hosts, environment);
    onTestFinished(() => homelab.lab.dispose());
    return homelab;
  }

  cli(...words: string[]): ReturnType<typeof lazarus> {
    return lazarus(this.lab.missions, ...words);
  }
}

export { HOST };
