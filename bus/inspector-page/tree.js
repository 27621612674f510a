/**
 * The list of actors: a tree by the rules of the ARIA practices, of which only the rows in sight exist, so that ten thousand
 * actors cost as much as fifty.
 *
 * T1 A row keeps its element while it is in sight: a click is not lost because something changed meanwhile.
 * T2 Order and filter are worked out anew only when actors came or went, or when what is filtered by may have changed.
 * T3 Whoever is at a row stays there, also at one that is no actor, until another actor is selected.
 */
import { el, setAttribute, setText } from './dom.js';
import { rowsOf } from './rows.js';

const ROW_PX = 24;
const SPARE_ROWS = 8;
const STATUS = { active: 'active', done: 'done', error: 'held', stopped: 'stopped' };

export const statusText = (status) => STATUS[status] ?? 'active';

export class Tree {
  #container;
  #sizer = el('div', { className: 'sizer', role: 'presentation' });
  #rows = [];
  #elements = new Map();
  #nextId = 0;
  #folded = new Set();
  /** Key of the row that the keyboard is at. */
  #current;
  #selected;
  #model;
  #filter = { words: [], status: '' };
  #arranged = '';
  #foldings = 0;
  #onSelect;

  constructor(container, onSelect) {
    this.#container = container;
    this.#onSelect = onSelect;
    container.append(this.#sizer);
    container.addEventListener('scroll', () => this.#drawRows(), { passive: true });
    container.addEventListener('keydown', (event) => this.#pressed(event));
    container.addEventListener('click', (event) => this.#clicked(event));
    new ResizeObserver(() => this.#drawRows()).observe(container);
  }

  /** `selected`: the address, if any, of what is shown beside it. */
  draw(model, { words, status }, selected) {
    this.#model = model;
    this.#filter = { words, status };
    if (selected !== this.#selected) this.#current = selected; // T3
    this.#selected = selected;
    this.#redraw();
  }

  #redraw() {
    this.#arrange();
    this.#drawRows();
  }

  /** T2. */
  #arrange() {
    const { words, status } = this.#filter;
    const { treeVersion, version } = this.#model;
    const states = words.length > 0 || status !== '' ? version : 0;
    const wanted = JSON.stringify([treeVersion, states, words, status, this.#foldings]);
    if (wanted === this.#arranged) return;
    this.#arranged = wanted;
    this.#rows = rowsOf(this.#model, { words, status, folded: this.#folded });
    this.#sizer.style.height = `${Math.max(1, this.#rows.length) * ROW_PX}px`;
  }

  #drawRows() {
    const { scrollTop, clientHeight } = this.#container;
    const first = Math.max(0, Math.floor(scrollTop / ROW_PX) - SPARE_ROWS);
    const last = Math.ceil((scrollTop + clientHeight) / ROW_PX) + SPARE_ROWS;
    const inSight = this.#rows.slice(first, last);
    const keys = new Set(inSight.map(({ key }) => key));
    for (const [key, element] of this.#elements)
      if (!keys.has(key)) {
        element.remove();
        this.#elements.delete(key);
      }
    for (const [i, row] of inSight.entries()) {
      const element = this.#drawRow(row, (first + i) * ROW_PX);
      // In the document as on the screen, for those who read the one and those who see the other.
      const there = this.#sizer.children[i];
      if (there !== element) this.#sizer.insertBefore(element, there ?? null);
    }
    const current = this.#elements.get(this.#current)?.id;
    setAttribute(this.#container, 'aria-activedescendant', current);
  }

  #drawRow(row, top) {
    let element = this.#elements.get(row.key);
    if (element === undefined) {
      element = newRow(`row-${(this.#nextId += 1)}`);
      element.dataset['key'] = row.key;
      this.#elements.set(row.key, element);
    }
    element.style.transform = `translateY(${top}px)`;
    setAttribute(element, 'aria-level', String(row.level));
    setAttribute(element, 'aria-posinset', String(row.position));
    setAttribute(element, 'aria-setsize', String(row.siblings));
    setAttribute(
      element,
      'aria-expanded',
      row.isOpen === undefined ? undefined : String(row.isOpen),
    );
    setAttribute(element, 'aria-selected', String(row.key === this.#current));
    fill(element, row);
    return element;
  }

  #clicked({ target }) {
    const element = target instanceof Element ? target.closest('[data-key]') : null;
    if (element === null) return;
    const { key } = element.dataset;
    const row = this.#rows.find((candidate) => candidate.key === key);
    if (row === undefined) return;
    if (row.actor === undefined || target.closest('.fold') !== null) this.#fold(row, !row.isOpen);
    if (row.actor !== undefined && target.closest('.fold') === null) this.#select(row);
  }

  #fold({ key, isOpen }, wanted) {
    if (isOpen === undefined || isOpen === wanted) return;
    if (wanted) this.#folded.delete(key);
    else this.#folded.add(key);
    this.#foldings += 1;
    this.#redraw();
  }

  #select({ key, actor }) {
    this.#current = key;
    this.#drawRows();
    this.#onSelect(actor?.address);
  }

  #pressed(event) {
    const at = this.#rows.findIndex(({ key }) => key === this.#current);
    const row = this.#rows[at];
    const page = Math.max(1, Math.floor(this.#container.clientHeight / ROW_PX) - 1);
    const moves = { ArrowDown: at + 1, ArrowUp: at - 1, PageDown: at + page, PageUp: at - page };
    const ends = { Home: 0, End: this.#rows.length - 1 };
    const to = moves[event.key] ?? ends[event.key];
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    if (to !== undefined) this.#goTo(Math.max(0, Math.min(to, this.#rows.length - 1)));
    else if (row === undefined) return;
    else if (event.key === 'ArrowRight') {
      if (row.isOpen === true) this.#goTo(at + 1);
      else this.#fold(row, true);
    } else if (event.key === 'ArrowLeft') {
      if (row.isOpen === true) this.#fold(row, false);
      else this.#goTo(this.#rows.findLastIndex(({ level }, i) => i < at && level < row.level));
    } else if (event.key === 'Enter' || event.key === ' ') {
      if (row.actor === undefined) this.#fold(row, !row.isOpen);
    } else return;
    event.preventDefault();
  }

  #goTo(at) {
    const row = this.#rows[at];
    if (row === undefined) return;
    const { scrollTop, clientHeight } = this.#container;
    const top = at * ROW_PX;
    if (top < scrollTop) this.#container.scrollTop = top;
    else if (top + ROW_PX > scrollTop + clientHeight)
      this.#container.scrollTop = top + ROW_PX - clientHeight;
    this.#select(row);
  }
}

function newRow(id) {
  return el(
    'div',
    { id, className: 'row', role: 'treeitem' },
    el('span', { className: 'fold', 'aria-hidden': 'true' }),
    el('span', { className: 'dot', 'aria-hidden': 'true' }),
    el('span', { className: 'label' }),
    el('span', { className: 'where' }),
  );
}

function fill(element, { level, isOpen, below, actor, title }) {
  const [fold, dot, label, where] = element.children;
  const status = actor === undefined ? undefined : statusText(actor.snapshot.status);
  element.dataset['level'] = String(level);
  setAttribute(element, 'data-status', status);
  setText(fold, isOpen === undefined ? '' : isOpen ? '▾' : '▸');
  setText(dot, status === 'held' ? '!' : '');
  setText(label, title ?? actor.label);
  setText(where, actor === undefined ? String(below) : actor.where);
  setAttribute(element, 'title', actor?.address);
  const said = actor && [actor.label, actor.where, status].filter(Boolean).join(', ');
  setAttribute(element, 'aria-label', said ?? `${title}, ${below}`);
}
