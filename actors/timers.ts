/**
 * One index of everything that waits for a time, for resident and passivated actors alike.
 *
 * T1 A timer is armed by the record that entered its state and disarmed by the one that left it; `armSeq` tells a stale
 *    firing from a present one.
 * T2 Durations beyond what setTimeout can hold (24.8 days) are slept in parts.
 * T3 A timer never fires early by its own clock: `at` timers by the node's wall clock, `up` timers by its active clock.
 */
import type { Instant, NodeClock } from './clock.ts';

export type Deadline = { at: number } | { up: number };

export interface Timer {
  address: string;
  invoke: string;
  /** Seq of the record that armed it. */
  armSeq: number;
  deadline: Deadline;
}

const LONGEST_SLEEP_MS = 2 ** 31 - 1;

interface Entry {
  timer: Timer;
  /** On the active clock, to which both kinds of deadline are reduced (both clocks advance together). */
  dueUp: number;
  live: boolean;
}

export class TimerIndex {
  readonly #heap: Entry[] = [];
  readonly #byKey = new Map<string, Entry>();
  readonly #clock: NodeClock;
  readonly #fire: (timer: Timer) => void;
  #sleep: NodeJS.Timeout | undefined;
  #sleepUntil = Infinity;
  #running = false;

  constructor(clock: NodeClock, fire: (timer: Timer) => void) {
    this.#clock = clock;
    this.#fire = fire;
  }

  get size(): number {
    return this.#byKey.size;
  }

  all(): Timer[] {
    return [...this.#byKey.values()].map(({ timer }) => timer);
  }

  arm(timer: Timer): void {
    const key = keyOf(timer.address, timer.invoke);
    const old = this.#byKey.get(key);
    if (old) {
      if (old.timer.armSeq === timer.armSeq) return;
      old.live = false;
    }
    const entry = { timer, dueUp: dueOnActiveClock(timer.deadline, this.#clock.now()), live: true };
    this.#byKey.set(key, entry);
    this.#push(entry);
    if (this.#running && entry.dueUp < this.#sleepUntil) this.#reschedule();
  }

  disarm(address: string, invoke: string): void {
    const key = keyOf(address, invoke);
    const entry = this.#byKey.get(key);
    if (entry === undefined) return;
    entry.live = false; // leaves the heap when its time comes, or when the dead outnumber the living
    this.#byKey.delete(key);
    if (this.#heap.length > 64 && this.#heap.length > 2 * this.#byKey.size) this.#rebuild();
  }

  /** Nothing fires before this: restored actors must be complete first. */
  start(): void {
    this.#running = true;
    this.#reschedule();
  }

  stop(): void {
    this.#running = false;
    clearTimeout(this.#sleep);
    this.#sleepUntil = Infinity;
  }

  #reschedule(): void {
    clearTimeout(this.#sleep);
    const next = this.#heap[0];
    this.#sleepUntil = next?.dueUp ?? Infinity;
    if (next === undefined) return;
    const wait = Math.max(0, next.dueUp - this.#clock.now().up);
    this.#sleep = setTimeout(() => this.#wake(), Math.min(wait, LONGEST_SLEEP_MS)); // T2
  }

  #wake(): void {
    const { up } = this.#clock.now();
    for (let head = this.#heap[0]; head && (head.dueUp <= up || !head.live); head = this.#heap[0]) {
      this.#pop();
      if (!head.live) continue;
      head.live = false;
      this.#byKey.delete(keyOf(head.timer.address, head.timer.invoke));
      this.#fire(head.timer);
    }
    if (this.#running) this.#reschedule();
  }

  #rebuild(): void {
    const living = this.#heap.filter((entry) => entry.live);
    this.#heap.length = 0;
    for (const entry of living) this.#push(entry);
  }

  #push(entry: Entry): void {
    const heap = this.#heap;
    let i = heap.push(entry) - 1;
    while (i > 0) {
      const parent = (i - 1) >> 1;
      if ((heap[parent] as Entry).dueUp <= entry.dueUp) break;
      heap[i] = heap[parent] as Entry;
      i = parent;
    }
    heap[i] = entry;
  }

  #pop(): void {
    const heap = this.#heap;
    const last = heap.pop();
    if (last === undefined || heap.length === 0) return;
    let i = 0;
    for (;;) {
      let child = 2 * i + 1;
      if (child >= heap.length) break;
      const right = heap[child + 1];
      if (right && right.dueUp < (heap[child] as Entry).dueUp) child += 1;
      if ((heap[child] as Entry).dueUp >= last.dueUp) break;
      heap[i] = heap[child] as Entry;
      i = child;
    }
    heap[i] = last;
  }
}

function dueOnActiveClock(deadline: Deadline, now: Instant): number {
  return 'up' in deadline ? deadline.up : now.up + (deadline.at - now.at);
}

const keyOf = (address: string, invoke: string): string => `${address}\n${invoke}`;
