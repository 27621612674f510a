/** The machines this build runs, each in every version a checkpoint may still name. */
import { agentMachine } from '../machines/agent.machine.ts';
import { bridgeMachine } from '../machines/bridge.machine.ts';
import { cellMachine } from '../machines/cell.machine.ts';
import { lazarusMachine } from '../machines/lazarus.machine.ts';
import { MachineRegistry } from './logic.ts';

export function machineRegistry(): MachineRegistry {
  return new MachineRegistry()
    .register({ machine: cellMachine })
    .register({ machine: agentMachine })
    .register({ machine: lazarusMachine })
    .register({ machine: bridgeMachine });
}
