/** The control verbs of one node, handed to the control socket. */
import { controlSocketPath, openControlSocket } from '../bus/control-socket.ts';
import type { MissionNode, OpenDoor } from './node.ts';
import { localVerbs } from './served-verbs.ts';

export async function openControlDoor(
  node: MissionNode,
  log: { warn(fields: Record<string, unknown>, message: string): void },
): Promise<OpenDoor> {
  const socket = await openControlSocket({
    path: controlSocketPath(node.layout.own),
    verbs: localVerbs(node),
    log,
  });
  return { nodeFile: { control: socket.path }, close: () => socket.close() };
}
