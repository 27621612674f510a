/** The first stage of `npm test`: the real servers that the tests start. Exit 0 when they are here. */
import { NATS_SERVER, REDIS_SERVER, setUp } from '../cli/set-up.ts';

const outcome = await setUp([NATS_SERVER, REDIS_SERVER], {
  onlyAsRoot: false,
  fetchMs: 240_000,
  patienceMs: 360_000,
  say: (line) => console.log(line),
});
switch (outcome.kind) {
  case 'present':
    console.log('nats-server and redis-server are here');
    break;
  case 'installed':
    console.log(`installed: ${outcome.programs.join(', ')}`);
    break;
  case 'absent':
    console.error(
      `Error: the tests need ${outcome.programs.join(' and ')}: ${outcome.why}\nTry: ${outcome.how}`,
    );
    process.exitCode = 1;
    break;
  default:
    outcome satisfies never;
}
