/**
 * The connection to the node, for as long as the page is open.
 *
 * L1 It never gives up: the node may come back in a minute or tomorrow. Between two tries at most `MAX_RETRY_MS`.
 * L2 What is shown is live, or the page says since when it is not. A node that is there and does not answer (it was stopped, the
 *    machine slept) sends no close: when nothing was heard for a while it is asked.
 */
const PATH = '/inspect';
const MIN_RETRY_MS = 500;
const MAX_RETRY_MS = 10_000;
const SILENCE_MS = 10_000;
const ANSWER_MS = 5000;

export class Link {
  #on;
  #socket;
  #retryMs = MIN_RETRY_MS;
  #retry;
  #heardAt = 0;
  #isSilent = false;

  /** `on`: {opened(), message(text), state(kind, text)}; kind: `live`, `trying`, `lost` or `refused`. */
  constructor(on) {
    this.#on = on;
    setInterval(() => void this.#listen(), SILENCE_MS / 2);
    for (const sign of ['online', 'focus']) addEventListener(sign, () => this.#hurry());
  }

  open() {
    this.#connect();
  }

  #connect() {
    const socket = new WebSocket(`${location.origin.replace(/^http/, 'ws')}${PATH}`);
    let wasOpen = false;
    this.#socket = socket;
    socket.addEventListener('open', () => {
      wasOpen = true;
      this.#retryMs = MIN_RETRY_MS;
      this.#heard();
      this.#on.opened();
      this.#on.state('live', 'live');
    });
    socket.addEventListener('message', ({ data }) => {
      this.#heard();
      this.#on.message(data);
    });
    socket.addEventListener('close', ({ reason }) => this.#closed(wasOpen, reason));
  }

  #closed(wasOpen, reason) {
    const lost = 'The connection is lost';
    this.#socket = undefined;
    this.#isSilent = false;
    if (wasOpen) this.#on.state('lost', reason === '' ? lost : `${lost}: ${reason}`);
    else void this.#sayWhy();
    this.#retry = setTimeout(() => this.#connect(), this.#retryMs);
    this.#retryMs = Math.min(this.#retryMs * 2, MAX_RETRY_MS);
  }

  #heard() {
    this.#heardAt = Date.now();
    if (!this.#isSilent) return;
    this.#isSilent = false;
    this.#on.state('live', 'live');
  }

  /** Somebody looks again: no need to let them wait. */
  #hurry() {
    if (this.#socket !== undefined) return;
    clearTimeout(this.#retry);
    this.#connect();
  }

  /** A browser is not told why a WebSocket was refused; a request for the page is. */
  async #sayWhy() {
    const status = await this.#ask(PATH);
    if (this.#socket?.readyState === WebSocket.OPEN) return;
    if (status === undefined) this.#on.state('lost', 'The node does not answer; trying again');
    else if (status === 401 || status === 403)
      this.#on.state('refused', 'This page may not watch any more: run `lazarus inspect` again');
    else this.#on.state('lost', 'The node takes no more watchers at present; trying again');
  }

  /** L2. */
  async #listen() {
    const socket = this.#socket;
    if (socket?.readyState !== WebSocket.OPEN || Date.now() - this.#heardAt < SILENCE_MS) return;
    const askedAt = Date.now();
    const status = await this.#ask('/healthz');
    if (this.#socket !== socket || this.#heardAt > askedAt) return;
    if (status !== undefined) return this.#heard();
    this.#isSilent = true;
    const since = new Date(this.#heardAt).toLocaleTimeString();
    this.#on.state('lost', `The node does not answer; what is shown is of ${since}`);
  }

  /** The status it answered with. */
  async #ask(path) {
    try {
      const signal = AbortSignal.timeout(ANSWER_MS);
      const headers = { accept: 'application/json' };
      const { status } = await fetch(path, { headers, signal, cache: 'no-store' });
      return status;
    } catch {
      return undefined; // nobody is there, or not in time
    }
  }
}
