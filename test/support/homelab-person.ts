/**
 * What goes on around the runtime whether it lives or not: a person moves proposals to approved/, services that were
 * restarted say that they are well, and everything that must never happen is watched for.
 *
 * W1 Docker is never told to restart what nobody approved, nor twice for one approval.
 * W2 One event has one file, in one folder, and is proposed once. (A service has one event in these tests.)
 */
import type { RedisClientType } from '@redis/client';
import type { JsonObject } from '../../machines/json.ts';
import type { ActionStatus } from '../../machines/remediation.ts';
import { HOST } from './homelab-process.ts';
import type { HomelabProcess } from './homelab-process.ts';
import { eventFilesIn } from './runtime-files.ts';

const TICK_MS = 15;
const SAYS_EVERY_MS = 200;
export const STREAM = 'homelab:events';

export interface PersonOptions {
  /** Of a file in pending/. */
  approves: (file: JsonObject) => boolean;
}

export class Person {
  readonly violations: string[] = [];
  /** Services that were restarted do not say yet that they are well. */
  isSilent = false;
  readonly #lab: HomelabProcess;
  readonly #client: RedisClientType;
  readonly #approves: PersonOptions['approves'];
  /** By service: how often an action of it was approved, and how often docker was told. */
  readonly #approved = new Map<string, number>();
  readonly #told = new Map<string, number>();
  readonly #saidAt = new Map<string, number>();
  readonly #ticking: NodeJS.Timeout;

  constructor(lab: HomelabProcess, client: RedisClientType, { approves }: PersonOptions) {
    this.#lab = lab;
    this.#client = client;
    this.#approves = approves;
    this.#ticking = setInterval(() => this.#tick(), TICK_MS);
    lab.docker.watch((container) => this.#check(container));
  }

  stop(): void {
    clearInterval(this.#ticking);
  }

  async publish(event: JsonObject): Promise<void> {
    await this.#client.xAdd(STREAM, '*', { data: JSON.stringify(event) });
  }

  /** W2. Only while no runtime lives: nothing moves while we look. */
  checkFiles(): void {
    const seen = new Map<string, string>();
    for (const { id, status } of this.#lab.everywhere()) {
      const service = String(this.#lab.action(status, id)?.['service']);
      const before = seen.get(service);
      if (before !== undefined)
        this.violations.push(`${service} has ${before} and ${status}/${id}`);
      seen.set(service, `${status}/${id}`);
    }
    const { restarts, strange } = this.#lab.docker;
    for (const [service, approved] of this.#approved) {
      const done = restarts.filter(({ container }) => container === service).length;
      if (done > approved) this.violations.push(`${service} was restarted ${done} times`);
    }
    this.violations.push(...strange.map((words) => `docker was told: ${words}`));
  }

  /** What is not, or not yet, as it must be in the end: one file of this service, each step and each event of it told once. */
  endProblems(service: string, statuses: readonly ActionStatus[]): string[] {
    const lab = this.#lab;
    const found = lab.everywhere().flatMap(({ id, status }) => {
      const file = lab.action(status, id);
      return file?.['service'] === service ? [{ id, status, file }] : [];
    });
    const [one] = found;
    if (one === undefined || found.length > 1) return [`${service} has ${found.length} files`];
    const { id, status, file } = one;
    const history = (file['transition_history'] ?? []) as { from: string; to: string }[];
    const steps = history.map(({ from, to }) => `${from} > ${to}`);
    const told = eventFilesIn(lab.layout)
      .filter(({ correlation_id: about }) => about === id)
      .map(({ type }) => String(type));
    const wanted = ['remediation_completed', 'remediation_started'].slice(
      status === 'pending' ? 1 : 0,
    );
    return [
      ...(statuses.includes(status) ? [] : [`${id} is ${status}`]),
      ...(new Set(steps).size === steps.length ? [] : [`${id} went ${steps.join(', ')}`]),
      ...(told.toSorted().join() === wanted.join() ? [] : [`of ${id} was told: ${told.join()}`]),
    ];
  }

  /** W1. */
  #check(container: string): void {
    const told = (this.#told.get(container) ?? 0) + 1;
    this.#told.set(container, told);
    const approved = this.#approved.get(container) ?? 0;
    if (told > approved)
      this.violations.push(`docker was told to restart ${container}: ${told} of ${approved} times`);
  }

  #tick(): void {
    for (const id of this.#lab.ids('pending')) {
      const file = this.#lab.action('pending', id);
      if (file === undefined || !this.#approves(file)) continue;
      const service = String(file['service']);
      const before = this.#approved.get(service) ?? 0;
      if (before > 0) this.violations.push(`${service} is proposed again`); // W2
      this.#approved.set(service, before + 1); // first: it may be run before we are back
      if (!this.#lab.move(id, 'pending', 'approved')) this.#approved.set(service, before);
    }
    if (this.isSilent) return;
    for (const { container } of this.#lab.docker.restarts) this.#sayWell(container);
  }

  #sayWell(service: string): void {
    const now = Date.now();
    if (now - (this.#saidAt.get(service) ?? 0) < SAYS_EVERY_MS) return;
    const isOver = this.#lab.ids('completed').some((id) => id.includes(`-${service}-`));
    if (isOver) return;
    this.#saidAt.set(service, now);
    this.publish({ type: 'service_healthy', node: HOST, service }).catch((error: unknown) =>
      this.violations.push(`Redis: ${String(error)}`),
    );
  }
}
