/**
 * Watches an inspector while it is told to. Arguments: URL, number of actors. `watch`: answers when it knows them all; `rest`:
 * when it is gone, with the number of messages it got since.
 */
import { once } from 'node:events';
import { WebSocket } from 'ws';
import { serve, tell } from './child.ts';

const [url = '', actors] = process.argv.slice(2);
let socket: WebSocket | undefined;
let messages = 0;

serve((question) => (question === 'watch' ? watch() : rest()));
tell('up');

function watch(): Promise<string> {
  let unknown = Number(actors);
  const { promise, resolve } = Promise.withResolvers<string>();
  socket = new WebSocket(url).on('message', (data: Buffer) => {
    messages += 1;
    if (unknown === 0 || !data.subarray(0, 30).includes('@xstate.actor')) return;
    unknown -= 1;
    if (unknown > 0) return;
    messages = 0;
    resolve('watching');
  });
  return promise;
}

async function rest(): Promise<number> {
  if (socket === undefined) return 0;
  socket.close();
  await once(socket, 'close');
  return messages;
}
