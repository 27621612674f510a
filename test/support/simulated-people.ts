/** People and other programs: they answer what is proposed, or do not; move, edit and lose files; propose things of their own. */
import { actionAddress, GATE } from '../../machines/addresses.ts';
import type { ActionStatus } from '../../machines/remediation.ts';
import { proposal, WELL } from './action.ts';
import type { Chance } from './simulated-chance.ts';
import type { SimulatedDoor } from './simulated-door.ts';
import type { SimulatedEffects } from './simulated-effects.ts';
import type { ActionOnDisk, SimulatedFiles } from './simulated-files.ts';
import type { SimulatedFleet } from './simulated-fleet.ts';
import type { AnyEvent, SimulatedKernel } from './simulated-kernel.ts';

interface Parts {
  kernel: SimulatedKernel;
  files: SimulatedFiles;
  fleet: SimulatedFleet;
  door: SimulatedDoor;
  effects: SimulatedEffects;
}

export class SimulatedPeople {
  readonly #parts: Parts;
  readonly #chance: Chance;
  #proposals = 0;

  constructor(parts: Parts, chance: Chance) {
    this.#parts = parts;
    this.#chance = chance;
  }

  /** Somebody has a moment. */
  lookIn(): void {
    const { files } = this.#parts;
    const file = this.#chance.any(files.list('pending', 'approved', 'running'));
    if (file !== undefined) this.#answer(file);
    if (this.#chance.is(0.2)) this.settleDoubts(this.#chance.is(0.8));
    if (this.#chance.is(0.05)) this.#reopen();
  }

  #answer(file: ActionOnDisk): void {
    const { files } = this.#parts;
    const { id, status, content } = file;
    const what = this.#chance.next();
    if (status !== 'pending' && what < 0.8) return;
    if (what < 0.35) this.say(id, 'approve');
    else if (what < 0.45) files.put(id, 'approved', content);
    else if (what < 0.52) this.say(id, 'reject');
    else if (what < 0.57) files.put(id, 'rejected', content);
    else if (what < 0.62) this.say(id, 'cancel');
    else if (what < 0.7) files.put(id, status, { ...content, note: this.#chance.between(1, 3) });
    else if (what < 0.72) files.remove(id);
    else if (what < 0.75) this.#garble(id);
    else if (what < 0.78 && content['requires_human'] !== false) this.say(id, 'approve', 'policy');
  }

  #garble(id: string): void {
    const { files, kernel } = this.#parts;
    files.garble(id, true);
    kernel.after(this.#chance.span(60_000), () => files.garble(id, false));
  }

  /** What was over is put back. */
  #reopen(): void {
    const { files } = this.#parts;
    const to: ActionStatus = this.#chance.pick(['pending', 'approved']);
    const file = this.#chance.any(files.list('rejected', 'cancelled', 'completed', 'failed'));
    if (file !== undefined) files.put(file.id, to, file.content);
  }

  say(id: string, what: 'approve' | 'reject' | 'cancel', door = 'command line'): void {
    const more = what === 'approve' ? {} : { reason: null };
    const event: AnyEvent = { type: `action.${what}`, by: 'ann', door, ...more };
    this.#parts.kernel.send(actionAddress(id), event);
  }

  /** The planner, or a person, has something of its own to do. */
  propose(): void {
    const { files, fleet } = this.#parts;
    const [first] = this.#chance.shuffled([...fleet.services()]);
    if (first === undefined) return;
    this.#proposals += 1;
    const id = `plan-${this.#proposals}`;
    const { host, service } = first;
    const requires_human = this.#chance.is(0.8);
    files.put(
      id,
      'pending',
      proposal(id, { node: host.name, service: service.name, requires_human }),
    );
  }

  freeze(isFrozen: boolean): void {
    const { kernel, door } = this.#parts;
    const event = isFrozen
      ? { type: 'gate.freeze', by: 'ann', reason: 'a storm' }
      : { type: 'gate.unfreeze', by: 'ann' };
    kernel.send(GATE, event);
    door.lookSoon();
  }

  /** Of runs of which nobody knows what came. */
  settleDoubts(isWell: boolean): void {
    const { effects, kernel } = this.#parts;
    for (const work of effects.inDoubt.splice(0))
      kernel.settle(work, isWell ? { output: WELL } : { error: 'it did not run' });
  }

  /** Everything that waits for a person gets a word. */
  answerAll(): void {
    const { kernel, door, files } = this.#parts;
    this.settleDoubts(true);
    if (door.gate.frozen !== null) this.freeze(false);
    for (const { id, isGarbled } of files.all.values()) if (isGarbled) files.garble(id, false);
    for (const { actionId } of door.openActions()) {
      const value = kernel.actors.get(actionAddress(actionId))?.driver.value;
      if (value === 'pending') this.say(actionId, 'approve');
      if (value === 'held') this.say(actionId, 'cancel');
      if (value === 'following') this.#endElsewhere(actionId);
    }
  }

  /** Whoever claimed to run it has done so. */
  #endElsewhere(id: string): void {
    const file = this.#parts.files.all.get(id);
    if (file?.status === 'running') this.#parts.files.put(id, 'completed', file.content);
  }
}
