/**
 * A JSON value to unfold. What is unfolded stays so when the value changes, what changed is marked for a moment, and nothing
 * changes under the hand of who selects text in it.
 */
import { el, isBeingSelected } from './dom.js';

const MAX_PREVIEW = 200;

export class JsonView {
  element = el('div', { className: 'json' });
  #text;
  #owner;
  /** By path: what the reader folded or unfolded. */
  #folds = new Map();
  /** By path: texts of plain values, to see what changed. */
  #seen = new Map();

  /** `owner`: whose value it is; another one's is no change of this one. False: it is to be drawn again later. */
  draw(value, owner) {
    const text = JSON.stringify(value) ?? '';
    if (owner === this.#owner && text === this.#text) return true;
    if (owner === this.#owner && isBeingSelected(this.element)) return false;
    if (owner !== this.#owner) this.#seen.clear();
    this.#owner = owner;
    this.#text = text;
    const focused = document.activeElement?.closest?.('details')?.dataset['path'];
    const isInside = this.element.contains(document.activeElement);
    const seen = new Map();
    const members = isBranch(value) ? Object.entries(value) : [['', value]];
    this.element.replaceChildren(
      ...members.map(([name, member]) => this.#node(name, member, `/${name}`, seen)),
    );
    this.#seen = seen;
    if (isInside && focused !== undefined) this.#focus(focused);
    return true;
  }

  #focus(path) {
    for (const details of this.element.querySelectorAll('details'))
      if (details.dataset['path'] === path) details.firstElementChild.focus();
  }

  #node(name, value, path, seen) {
    return isBranch(value)
      ? this.#branch(name, value, path, seen)
      : this.#leaf(name, value, path, seen);
  }

  #leaf(name, value, path, seen) {
    const text = JSON.stringify(value) ?? 'undefined';
    const before = this.#seen.get(path);
    const leaf = el('span', { className: `value ${typeof value}`, text });
    if (before !== undefined && before !== text) leaf.classList.add('changed');
    seen.set(path, text);
    return el('div', { className: 'member' }, ...keyOf(name), leaf);
  }

  #branch(name, value, path, seen) {
    const entries = Object.entries(value);
    const details = el('details', { open: this.#folds.get(path) ?? false });
    details.dataset['path'] = path;
    const summary = el('summary', {}, ...keyOf(name), previewOf(value, entries));
    const below = el('div', { className: 'below' });
    details.append(summary, below);
    const fill = () => {
      for (const [key, member] of entries)
        below.append(this.#node(key, member, `${path}/${key}`, seen));
    };
    if (details.open) fill();
    details.addEventListener('toggle', () => {
      if (details.open === below.childElementCount > 0) return;
      this.#folds.set(path, details.open);
      if (details.open) fill();
      else below.replaceChildren();
    });
    return details;
  }
}

const isBranch = (value) =>
  typeof value === 'object' && value !== null && Object.keys(value).length > 0;

const keyOf = (name) => (name === '' ? [] : [el('span', { className: 'key', text: name }), ': ']);

function previewOf(value, entries) {
  const count = Array.isArray(value) ? `[${entries.length}]` : `{${entries.length}}`;
  const text = JSON.stringify(value);
  const preview = text.length > MAX_PREVIEW ? `${text.slice(0, MAX_PREVIEW)}…` : text;
  return el(
    'span',
    { className: 'dim' },
    el('span', { className: 'count', text: count }),
    el('span', { className: 'preview', text: ` ${preview}` }),
  );
}
