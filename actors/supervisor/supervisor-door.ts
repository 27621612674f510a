/** The supervisor as one of the node's doors (supervisor-watch.ts), and how verbs find it. */
import { RuntimeError } from '../../machines/errors.ts';
import type { JsonObject } from '../../machines/json.ts';
import type { Target } from '../../machines/supervision.ts';
import { LineLog } from '../../cells/line-log.ts';
import type { MissionNode, OpenDoor } from '../node.ts';
import { bindDriftEffects } from './drift-effects.ts';
import type { LookResult } from './looker.ts';
import { SupervisorWatch } from './supervisor-watch.ts';
import type { SupervisorWatchOptions } from './supervisor-watch.ts';

export interface SupervisorDoorOptions extends SupervisorWatchOptions {
  /** Where steps of drifts are told; null: in `state/`. */
  eventsLog: string | null;
}

export interface SupervisorDoor extends OpenDoor {
  /** Looks now; `rehearse`: and tells nobody. */
  look(rehearse: boolean): Promise<LookResult>;
  /** What the inventory says is wrong with it, and where. */
  inventory(): JsonObject;
  /** As DesiredSource. */
  dependantsOf(target: Target): readonly string[] | undefined;
  /** As `Reconciled.unknown`, of the last look that found something out. */
  unknownTargets(): readonly string[];
}

const doors = new WeakMap<MissionNode, SupervisorDoor>();

/** Undefined: the node looks after no homelab. */
export const supervisorDoorIfAny = (node: MissionNode): SupervisorDoor | undefined =>
  doors.get(node);

/** Throws RuntimeError NOT_CONFIGURED for a node without one, or a visit. */
export function supervisorDoorOf(node: MissionNode): SupervisorDoor {
  const door = doors.get(node);
  if (door) return door;
  throw new RuntimeError('no node runs here that looks after a homelab', {
    code: 'NOT_CONFIGURED',
    hint: 'Start one with the folder it shares: `lazarus up --runtime DIR`; or `lazarus reconcile --dry-run`.',
  });
}

export async function openSupervisorDoor(
  node: MissionNode,
  options: SupervisorDoorOptions,
): Promise<SupervisorDoor> {
  const { layout, nodeName } = options;
  const { system } = node.kernel;
  const log = new LineLog(options.eventsLog ?? layout.agentEventsLog);
  const warn = (fields: Record<string, unknown>, text: string): void =>
    options.log.warn(fields, text);
  bindDriftEffects(system.effects, { nodeName, events: layout.events, log, warn });
  const watch = new SupervisorWatch(system, options);
  await watch.start();
  const door: SupervisorDoor = {
    nodeFile: { runtime: layout.root },
    look: (rehearse) => watch.ask(rehearse),
    inventory: () => watch.inventory(),
    dependantsOf: (target) => watch.dependantsOf(target),
    unknownTargets: () => watch.unknownTargets(),
    parts: () => ({ supervisor: watch.status() }),
    async close() {
      doors.delete(node);
      await watch.stop();
    },
  };
  doors.set(node, door);
  return door;
}
