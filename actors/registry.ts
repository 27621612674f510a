/** The machines this build runs, each in every version a checkpoint may still name. */
import { actionMachine } from '../machines/action.machine.ts';
import { agentMachine } from '../machines/agent.machine.ts';
import { bridgeMachine } from '../machines/bridge.machine.ts';
import { cellMachine } from '../machines/cell.machine.ts';
import { driftMachine } from '../machines/drift.machine.ts';
import { gateMachine } from '../machines/gate.machine.ts';
import {
  firstIncidentMachine,
  incidentMachine,
  migrateIncident,
} from '../machines/incident.machine.ts';
import { lazarusMachine } from '../machines/lazarus.machine.ts';
import { llmMachine } from '../machines/llm.machine.ts';
import { observedHostMachine } from '../machines/observed-host.machine.ts';
import { observerMachine } from '../machines/observer.machine.ts';
import { plannerMachine } from '../machines/planner.machine.ts';
import { supervisorMachine } from '../machines/supervisor.machine.ts';
import { withShards } from '../machines/supervisor-context.ts';
import { MachineRegistry } from './logic.ts';

export function machineRegistry(): MachineRegistry {
  return new MachineRegistry()
    .register({ machine: cellMachine })
    .register({ machine: agentMachine })
    .register({ machine: lazarusMachine })
    .register({ machine: bridgeMachine })
    .register({ machine: llmMachine })
    .register({ machine: plannerMachine })
    .register({ machine: firstIncidentMachine })
    .register({ machine: incidentMachine, migrate: migrateIncident })
    .register({ machine: actionMachine })
    .register({ machine: gateMachine })
    .register({ machine: supervisorMachine, upcast: withShards })
    .register({ machine: driftMachine })
    .register({ machine: observerMachine })
    .register({ machine: observedHostMachine });
}
