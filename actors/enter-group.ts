import { writeFile } from 'node:fs';

/**
 * Puts this process into a control group (cgroup.ts G1); a file of its own, because each start of a worker waits for what it
 * loads. Resolves when it is there, or cannot be, which is told: then marks must do.
 */
export function enterGroup(group: string): Promise<void> {
  return new Promise((resolve) => {
    writeFile(`${group}/cgroup.procs`, '0', (error) => {
      if (error) process.stderr.write(`not in its control group: ${error.message}\n`);
      resolve();
    });
  });
}
