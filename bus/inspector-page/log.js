/** Events as they come, the newest first: of one actor, or of all. Only what came since the last drawing is made anew. */
import { el, isBeingSelected, setText, timeText } from './dom.js';
import { JsonView } from './json-view.js';

const MAX_SHOWN = 300;
const MAX_PREVIEW = 160;

export class EventLog {
  element;
  #list = el('ol', { className: 'log', role: 'log', 'aria-live': 'off', 'aria-label': 'Events' });
  #title = el('h3', { text: 'Events' });
  #search = el('input', {
    type: 'search',
    placeholder: 'Filter events',
    'aria-label': 'Filter events by type or content',
    autocomplete: 'off',
    maxLength: 200,
  });
  #owner;
  #wanted = '';
  #lastSeq = 0;
  #withActors;
  #onSelect;

  /** `withActors`: whose event it is, is shown. */
  constructor({ withActors, onSelect, onFilter }) {
    this.#withActors = withActors;
    this.#onSelect = onSelect;
    this.#search.addEventListener('input', onFilter);
    const bar = el('div', { className: 'bar' }, this.#title, this.#search);
    this.element = el('section', { className: 'events' }, bar, this.#list);
  }

  /** `entries`: oldest first. `owner`: whose they are. */
  draw(entries, owner) {
    const wanted = this.#search.value.trim().toLowerCase();
    if (owner !== this.#owner || wanted !== this.#wanted) {
      this.#owner = owner;
      this.#wanted = wanted;
      this.#lastSeq = 0;
      this.#list.replaceChildren();
    }
    setText(this.#title, `Events (${entries.length})`);
    if (isBeingSelected(this.#list)) return;
    for (const entry of this.#unseen(entries)) this.#list.prepend(this.#itemOf(entry));
    this.#lastSeq = entries.at(-1)?.seq ?? this.#lastSeq;
    while (this.#list.childElementCount > MAX_SHOWN) this.#list.lastElementChild.remove();
  }

  #unseen(entries) {
    const found = [];
    for (let i = entries.length - 1; i >= 0 && found.length < MAX_SHOWN; i -= 1) {
      if (entries[i].seq <= this.#lastSeq) break;
      if (this.#isWanted(entries[i])) found.push(entries[i]);
    }
    return found.reverse();
  }

  #isWanted({ address, source, event, remark }) {
    if (this.#wanted === '' || remark !== undefined) return true;
    return `${address} ${source} ${JSON.stringify(event)}`.toLowerCase().includes(this.#wanted);
  }

  #itemOf({ at, address, source, event, remark }) {
    const time = el('time', { text: timeText(at) });
    const { type, ...data } = event;
    const note = remark ?? (type === 'inspector.skipped' ? skippedText(data) : undefined);
    if (note !== undefined)
      return el('li', { className: 'remark' }, time, el('span', { text: note }));
    const isRefused = typeof data.refused === 'string';
    const item = el('li', { className: isRefused ? 'refused' : '' });
    const head = [time, el('strong', { className: 'type', text: String(type) })];
    if (this.#withActors) head.push(this.#actorLink('', address));
    if (source !== '' && source !== address) head.push(this.#actorLink('from ', source));
    if (isRefused) head.push(el('span', { className: 'badge held', text: 'refused' }));
    item.append(...head);
    if (Object.keys(data).length > 0) item.append(contentOf(data));
    return item;
  }

  #actorLink(before, address) {
    const button = el('button', { type: 'button', className: 'actor', text: address });
    button.addEventListener('click', () => this.#onSelect(address));
    return el('span', {}, before, button);
  }
}

const skippedText = ({ count }) =>
  `${count} events are not shown here: more came than could be sent. The states are right all the same.`;

function contentOf(data) {
  const text = JSON.stringify(data);
  const preview = text.length > MAX_PREVIEW ? `${text.slice(0, MAX_PREVIEW)}…` : text;
  const details = el('details', {}, el('summary', {}, el('code', { text: preview })));
  details.addEventListener(
    'toggle',
    () => {
      const view = new JsonView();
      view.draw(data, '');
      details.append(view.element);
    },
    { once: true },
  );
  return details;
}
