/**
 * A homelab around a runtime that is killed: a service that dies, a docker that restarts it, an observer that sees it well again.
 * What must never happen is watched for. For tests and for the crash proof; whoever opens it disposes of `lab`.
 *
 * W1 Docker is told once for each action, and only while that action's file stands in running/, approved.
 * W2 An episode has one action; with a policy that only recommends there is never any.
 * W3 In the end each step was told once, in the log and in an event file, and what was earned was counted once.
 */
import type { JsonObject } from '../../machines/json.ts';
import { HOST } from './homelab-process.ts';
import type { HomelabProcess } from './homelab-process.ts';
import { ReconciledWorld } from './reconciled-world.ts';
import { eventFilesIn } from './runtime-files.ts';

const SERVICE = 'web';
export const WEB = `${HOST}/${SERVICE}`;
export const RESTART = `container-restart-${HOST}-${SERVICE}`;
const DEAD: JsonObject = { status: 'unhealthy', trigger: 'containers_not_running' };
const WELL: JsonObject = { status: 'healthy' };
const HOSTS = { [HOST]: [SERVICE, 'db'], nas: ['storage'] };

export const APPROVES: JsonObject = {
  rules: [{ name: 'restarts', actions: ['container_restart'], mode: 'approve' }],
};
export const RECOMMENDS: JsonObject = { rules: [] };

const APPROVED_STEPS = [
  'reconcile_required',
  'action_proposed',
  'action_approved',
  'action_ended',
  'remedy_verified',
  'drift_resolved',
];
const RECOMMENDED_STEPS = ['reconcile_required', 'drift_resolved'];

export class LoopWorld {
  readonly homelab: ReconciledWorld;
  readonly violations: string[] = [];
  readonly #told = new Map<string, number>();

  constructor(policy: JsonObject) {
    this.homelab = new ReconciledWorld(HOSTS);
    this.homelab.policy(policy);
    this.lab.configure('executor.json', { timeouts: { settle: 0.6 } });
    this.lab.docker.run(SERVICE, 'starting'); // well only when the observer says so
    this.lab.docker.watch((container) => this.#check(container));
  }

  get lab(): HomelabProcess {
    return this.homelab.lab;
  }

  /** The look at what is well was made, and told. */
  async isWatched(): Promise<void> {
    await this.homelab.until(() => {
      const { state } = this.homelab.summary();
      if (state !== 'nominal') throw new Error(`it is ${String(state)}`);
    });
  }

  fails(): void {
    this.homelab.observe({ [WEB]: DEAD });
  }

  recovers(): void {
    this.homelab.observe({ [WEB]: WELL });
  }

  /** W2. Only while no runtime lives: nothing moves while we look. */
  checkFiles(mayAct: boolean): void {
    const files = this.lab.everywhere();
    const names = files.map(({ id, status }) => `${status}/${id}`).join(', ');
    if (files.length > (mayAct ? 1 : 0)) this.violations.push(`there are ${names}`);
    this.violations.push(...this.lab.docker.strange.map((words) => `docker was told: ${words}`));
  }

  /** What is not, or not yet, as it must be in the end (W3). */
  problems(acts: boolean): string[] {
    const steps = (acts ? APPROVED_STEPS : RECOMMENDED_STEPS).join();
    const lines = this.homelab.wholeLines();
    const told = lines.map(({ type }) => String(type)).join();
    const ids = new Set(lines.map(({ id }) => id));
    const files = eventFilesIn(this.lab.layout);
    const inFiles = files
      .filter(({ source }) => source === 'supervisor')
      .map(({ type }) => String(type));
    return [
      ...(told === steps ? [] : [`the log says ${told}`]),
      ...(ids.size === lines.length ? [] : ['two lines have one id']),
      ...(inFiles.toSorted().join() === steps.split(',').toSorted().join()
        ? []
        : [`event files say ${inFiles.join()}`]),
      ...this.#actionProblems(acts, files),
      ...this.#fileProblems(acts),
      ...this.lab.unfinished(),
    ];
  }

  async isOver(acts: boolean): Promise<void> {
    await this.homelab.until(async () => {
      const standing = await this.homelab.standing();
      const all = [...standing, ...this.problems(acts)];
      if (all.length > 0) throw new Error(all.join('\n'));
    });
  }

  #actionProblems(acts: boolean, events: readonly JsonObject[]): string[] {
    const found = this.lab.everywhere().map(({ id, status }) => `${status}/${id}`);
    const wanted = acts ? `completed/${RESTART}` : '';
    if (found.join() !== wanted) return [`actions: ${found.join()}`];
    if (!acts) return [];
    const restarts = this.lab.docker.restartsOf(SERVICE);
    const history = this.lab.action('completed', RESTART)?.['transition_history'] as JsonObject[];
    const steps = history.map(({ to }) => String(to)).join();
    const ends = events.filter(({ type }) => type === 'remediation_completed').length;
    return [
      ...(restarts === 1 ? [] : [`${SERVICE} was restarted ${restarts} times`]),
      ...(steps === 'approved,running,completed' ? [] : [`its file went ${steps}`]),
      ...(ends === 1 ? [] : [`its end was told ${ends} times`]),
    ];
  }

  #fileProblems(acts: boolean): string[] {
    const { state } = this.homelab.summary();
    const { drifts } = this.homelab.checkpoint();
    const { successes = 0 } = acts
      ? ((this.homelab.earned()[`container_restart ${WEB}`] ?? {}) as { successes?: number })
      : {};
    return [
      ...(state === 'nominal' ? [] : [`the summary says ${String(state)}`]),
      ...(JSON.stringify(drifts) === '[]' ? [] : ['the checkpoint says that something drifts']),
      ...(successes === (acts ? 1 : 0) ? [] : [`${successes} successes are counted`]),
    ];
  }

  /** W1. */
  #check(container: string): void {
    const [id] = this.lab.ids('running');
    const file = id === undefined ? undefined : this.lab.action('running', id);
    if (id === undefined || file?.['service'] !== container)
      return void this.violations.push(`docker was told to restart ${container}, and nothing runs`);
    const history = (file['transition_history'] ?? []) as JsonObject[];
    const approvals = history.filter(({ to }) => to === 'approved').length;
    const told = (this.#told.get(id) ?? 0) + 1;
    this.#told.set(id, told);
    if (told > approvals) this.violations.push(`${id}: told ${told} of ${approvals} times`);
  }
}
