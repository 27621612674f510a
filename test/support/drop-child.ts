/** Takes in a dropped file and kills itself at the named fault point: `node drop-child.ts <missions> <name> <point>`. */
import process from 'node:process';

const [, , missionsDir = '', name = '', at = ''] = process.argv;
Object.assign(globalThis, {
  __lazarusFaultPoint: (point: string): void => {
    if (point === at) process.kill(process.pid, 'SIGKILL');
  },
});
const { acceptDrop } = await import('../../cells/drop.ts'); // after the hook: cells/durable.ts reads it once
console.log(JSON.stringify(await acceptDrop(missionsDir, name)));
