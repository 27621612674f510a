/**
 * Keeps the supervisor's actor told of what its decisions go by: the policy, a freeze, and what people took back of what was
 * earned.
 *
 * T1 Policy and a freeze before a look; the end of a freeze, and of a hold (hold.ts), only after it.
 * T2 An edit of autonomy.json counts as read when the actor was told of it: a journal that is held loses none.
 */
import { GATE, SUPERVISOR } from '../../machines/addresses.ts';
import { RuntimeError } from '../../machines/errors.ts';
import type { GateContext } from '../../machines/gate.machine.ts';
import { asJsonObject } from '../../machines/json.ts';
import { freshSupervisor } from '../../machines/supervisor-context.ts';
import type { SupervisorEvent } from '../../machines/supervision.ts';
import type { ReadPolicy } from '../../cells/policy-file.ts';
import { zonesOf } from '../actions/zone-offsets.ts';
import type { PolicySource } from '../planner/policy-source.ts';
import type { ActorSystem } from '../system.ts';
import type { AutonomyFile } from './autonomy-file.ts';
import { contextIn } from './context-in.ts';

const DAY_MS = 24 * 3_600_000;
/** Who took back what is revoked in the file. */
const BY_FILE = 'autonomy.json';

export class Told {
  readonly #system: ActorSystem;
  readonly #policy: Pick<PolicySource, 'current'>;
  readonly #autonomy: AutonomyFile;
  #configured: { read: ReadPolicy; day: number } | undefined;

  constructor(system: ActorSystem, policy: Pick<PolicySource, 'current'>, autonomy: AutonomyFile) {
    this.#system = system;
    this.#policy = policy;
    this.#autonomy = autonomy;
  }

  /** Throws RuntimeError when the actor cannot be told just now. */
  async beforeLook(): Promise<void> {
    if (!this.#system.has(SUPERVISOR)) await this.#system.spawn(SUPERVISOR, 'supervisor', {});
    await this.#ofPolicy();
    if (this.#isFrozen()) await this.ofFreeze(); // T1
    await this.#ofAutonomy();
  }

  /** Whether there is one. */
  async ofFreeze(): Promise<void> {
    const frozen = this.#isFrozen();
    if (contextIn(this.#system)?.frozen !== frozen)
      await this.#tell({ type: 'supervisor.frozen', frozen });
  }

  async #ofPolicy(): Promise<void> {
    const { current: read } = this.#policy;
    const { policy, sha256 } = read;
    const { at } = this.#system.clock.now();
    const day = Math.floor(at / DAY_MS); // the tables of time zones reach only so far
    if (this.#configured?.read === read && this.#configured.day === day) return;
    await this.#tell({
      type: 'supervisor.configured',
      policy: policy.supervisor,
      alwaysHuman: policy.always_human_hosts,
      zones: zonesOf(policy, at),
      policySha256: sha256,
      approvalExpires: policy.approval_expires,
    });
    this.#configured = { read, day };
  }

  /** A gate that cannot be asked lets nothing run either. */
  #isFrozen(): boolean {
    if (!this.#system.has(GATE)) return false;
    try {
      return (this.#system.read(GATE).snapshot.context as GateContext).frozen !== null;
    } catch (error) {
      if (error instanceof RuntimeError) return true;
      throw error;
    }
  }

  /** T2. */
  async #ofAutonomy(): Promise<void> {
    const earned = () => (contextIn(this.#system) ?? freshSupervisor()).earned;
    for (const { kind, class: of } of this.#autonomy.edits(earned())) {
      const type = kind === 'revoked' ? 'autonomy.revoked' : 'autonomy.cleared';
      await this.#tell({ type, class: of, by: BY_FILE });
    }
    await this.#autonomy.write(earned());
  }

  async #tell(event: SupervisorEvent): Promise<void> {
    await this.#system.send(SUPERVISOR, { ...asJsonObject(event), type: event.type });
  }
}
