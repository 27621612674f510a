/**
 * The inspector of one node: committed records and committed state (P1), handed to bus/inspector.ts. Looking at an actor wakes
 * nobody: one that sleeps is read from its checkpoint.
 */
import type { InspectedActor } from '../bus/inspector-frames.ts';
import type { InspectedListener, InspectedSystem } from '../bus/inspector-hub.ts';
import { openInspector } from '../bus/inspector.ts';
import type { InspectorOptions } from '../bus/inspector.ts';
import type { InspectorMode } from '../machines/daemon-config.ts';
import { RuntimeError } from '../machines/errors.ts';
import type { HttpDoor } from './http-door.ts';
import type { MissionNode, OpenDoor } from './node.ts';
import type { ActorSystem, CommittedRecord } from './system.ts';

export interface InspectorDoorOptions {
  mode: InspectorMode;
  /** Undefined: there is no HTTP gateway, and so no inspector. */
  http: HttpDoor | undefined;
  log: InspectorOptions['log'];
  limits?: InspectorOptions['limits'];
}

export function openInspectorDoor(node: MissionNode, options: InspectorDoorOptions): OpenDoor {
  const { mode, http, log, limits } = options;
  if (http === undefined) return closedDoor('the HTTP gateway is off');
  if (mode === 'off') return closedDoor('the configuration says so');
  const inspector = openInspector({
    gateway: http.gateway,
    system: inspectedSystem(node.kernel.system),
    token: http.token,
    isNetwork: mode === 'network',
    secrets: environmentSecrets,
    log,
    ...(limits && { limits }),
  });
  const { url } = inspector;
  return {
    nodeFile: { inspector: url },
    parts: () => ({ inspector: { state: 'up', url, ...inspector.counts } }),
    close: () => inspector.close(),
  };
}

const closedDoor = (reason: string): OpenDoor => ({
  nodeFile: { inspector: null },
  parts: () => ({ inspector: { state: 'off', reason } }),
  close: () => Promise.resolve(),
});

export function inspectedSystem(system: ActorSystem): InspectedSystem {
  return {
    epoch: system.epoch,
    addresses: () =>
      [...system.actors.values()].filter(({ isShown }) => isShown).map(({ address }) => address),
    look: (address) => look(system, address),
    follow: (listener) => follow(system, listener),
  };
}

function look(system: ActorSystem, address: string): InspectedActor | undefined {
  const actor = system.actors.get(address);
  if (!actor?.isShown) return undefined;
  try {
    const { snapshot, invokes } = system.read(address);
    const { machine, status, value, context, tags, output, error } = snapshot;
    return {
      machine: machine.id,
      config: machine.config,
      status,
      value,
      context,
      tags: [...tags],
      output,
      error,
      effects: invokes,
    };
  } catch (error) {
    if (error instanceof RuntimeError && error.code === 'ACTOR_UNKNOWN') return undefined;
    return heldActor(actor.machine, error);
  }
}

/** Nobody can read what it knows; why, is shown in place of that (P9). */
const heldActor = (machine: string, error: unknown): InspectedActor => ({
  machine,
  config: undefined,
  status: 'error',
  value: null,
  context: {},
  tags: [],
  output: undefined,
  error: { message: error instanceof Error ? error.message : String(error) },
  effects: {},
});

function follow(system: ActorSystem, listener: InspectedListener): () => void {
  const happened = (record: CommittedRecord): void => listener.happened(record);
  const changed = (address: string): void => {
    if (system.actors.has(address)) listener.changed(address);
  };
  system.on('committed', happened);
  system.on('held', changed);
  system.on('released', changed);
  return () => {
    system.off('committed', happened);
    system.off('held', changed);
    system.off('released', changed);
  };
}

/** What this process was given by its environment under a name that says that it is secret. */
function environmentSecrets(): string[] {
  const isSecret = /token|passw|secret|credential|api_?key|access_?key|private_?key/i;
  return Object.entries(process.env).flatMap(([name, value]) =>
    value !== undefined && isSecret.test(name) && !/_(file|path|dir)$/i.test(name) ? [value] : [],
  );
}
