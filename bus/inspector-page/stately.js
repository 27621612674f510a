/**
 * The Stately inspector in a frame: what @statelyai/inspect's own bridge does, but for one mission at a time, and to no other
 * page than the one that is meant.
 */
import { el } from './dom.js';

const STATELY = 'https://stately.ai';
const CONNECTED = '@statelyai.connected';
const MAX_ACTORS = 200;

export class StatelyFrame {
  #root;
  #frame = el('iframe', { id: 'stately', title: 'Stately inspector' });
  #isConnected = false;
  #heard;

  /** `root`: the mission's address; undefined: all. */
  constructor(model, root) {
    this.#root = root;
    this.#heard = ({ data, origin, source }) => {
      const isIts = origin === STATELY && source === this.#frame.contentWindow;
      if (!isIts || data?.type !== CONNECTED) return;
      this.#isConnected = true;
      this.#introduce(model);
    };
    addEventListener('message', this.#heard);
    this.#frame.src = `${STATELY}/inspect`;
    document.body.append(this.#frame);
  }

  /** `root`: of the actor it is about. */
  take(message, root) {
    if (this.#root === undefined || root === this.#root) this.#send(message);
  }

  close() {
    removeEventListener('message', this.#heard);
    this.#frame.remove();
  }

  #introduce(model) {
    const isMeant = ({ root }) => this.#root === undefined || root === this.#root;
    const actors = [...model.actors.values()].filter(isMeant);
    for (const { message, last } of actors.slice(0, MAX_ACTORS)) {
      this.#send(message);
      if (last !== undefined) this.#send(last);
    }
  }

  #send(message) {
    if (this.#isConnected) this.#frame.contentWindow?.postMessage(message, STATELY);
  }
}
