/** One actor: where it is in its machine, what it waits for, what it knows, and what happens to it. */
import { Chart } from './chart.js';
import { el, setAttribute, setText } from './dom.js';
import { JsonView } from './json-view.js';
import { EventLog } from './log.js';
import { fullState } from './states.js';
import { statusText } from './tree.js';

export class Detail {
  element;
  #title = el('h2');
  #status = el('span', { className: 'badge' });
  #facts = el('p', { className: 'facts dim' });
  #now = el('p', { className: 'now' });
  #chart = new Chart();
  #sections = {
    error: section('Error'),
    effects: section('Waits for'),
    output: section('Output'),
    context: section('Context'),
  };
  #log;
  #address;
  #drawn;

  constructor({ onSelect, onFilter }) {
    this.#log = new EventLog({ withActors: false, onSelect, onFilter });
    const choice = this.#transitionsChoice();
    const { error, effects, output, context } = this.#sections;
    this.element = el(
      'article',
      { className: 'detail' },
      el('div', { className: 'bar' }, this.#title, this.#status),
      this.#facts,
      error.element,
      el('div', { className: 'bar' }, el('h3', { text: 'States' }), choice),
      this.#now,
      this.#chart.element,
      el(
        'div',
        { className: 'columns' },
        el('div', {}, effects.element, output.element, context.element),
        this.#log.element,
      ),
    );
  }

  #transitionsChoice() {
    const options = [
      ['none', 'no transitions'],
      ['here', 'transitions from where it is'],
      ['all', 'all transitions'],
    ].map(([value, text]) => el('option', { value, text }));
    const choice = el('select', { 'aria-label': 'Transitions' }, ...options);
    const choose = () => (this.#chart.element.dataset['transitions'] = choice.value);
    choice.addEventListener('change', choose);
    choose();
    return choice;
  }

  /** `actor`: undefined when the page does not know it. */
  draw(model, address, actor) {
    this.#log.draw(model.eventsOf(address), address);
    const version = `${address} ${actor?.version}`;
    if (version === this.#drawn) return;
    this.#drawn = version;
    if (actor === undefined && address !== this.#address) this.#drawUnknown(address);
    if (actor !== undefined && !this.#drawActor(actor)) this.#drawn = undefined;
    setAttribute(this.element, 'aria-busy', actor === undefined ? 'true' : undefined);
    this.#address = address;
  }

  #drawUnknown(address) {
    setText(this.#title, address);
    setText(this.#status, 'not here');
    this.#status.className = 'badge';
    setText(this.#facts, 'No such actor is known at present.');
    setText(this.#now, '');
    this.#chart.draw({}, undefined);
    for (const part of Object.values(this.#sections)) part.draw(undefined, address);
  }

  /** False: a part of it is to be drawn again later. */
  #drawActor({ address, label, machine, message, snapshot, last }) {
    const status = statusText(snapshot.status);
    setText(this.#title, label);
    setText(this.#status, status);
    this.#status.className = `badge ${status}`;
    const facts = [address, String(machine.definition.id ?? ''), `session ${message.sessionId}`];
    if (last?.event?.type) facts.push(`last event ${last.event.type}`);
    setText(this.#facts, facts.filter(Boolean).join('  ·  '));
    setText(this.#now, fullState(snapshot.value));
    this.#chart.draw(machine.definition, snapshot.value);
    const { error, effects, output, context } = this.#sections;
    const drawn = [
      error.draw(snapshot.error, address),
      effects.draw(effectsOf(snapshot.children), address),
      output.draw(snapshot.output, address),
      context.draw(snapshot.context, address),
    ];
    return drawn.every(Boolean);
  }
}

/** Title and value; hidden while there is no value. */
function section(title) {
  const view = new JsonView();
  const element = el('section', { hidden: true }, el('h3', { text: title }), view.element);
  return {
    element,
    draw(value, owner) {
      element.hidden = value === undefined;
      return view.draw(value, owner);
    },
  };
}

/** By invoke id: what runs and what it was given. Undefined when it waits for nothing. */
function effectsOf(children) {
  const entries = Object.entries(children ?? {});
  if (entries.length === 0) return undefined;
  return Object.fromEntries(
    entries.map(([id, { src, input }]) => [`${id} (${String(src)})`, input ?? null]),
  );
}
