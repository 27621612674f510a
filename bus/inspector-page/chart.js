/**
 * A machine as boxes in boxes, those that the actor is in marked. It is built once for a definition; afterwards only the
 * marks change.
 */
import { el, setAttribute, setText } from './dom.js';
import { invokesOf, statesBelow, transitionsOf, valueIn } from './states.js';

const MAX_DEPTH = 24;

export class Chart {
  element = el('div', { className: 'chart' });
  #definition;
  /** Boxes: `{element, here, name, children}`. */
  #boxes = [];
  #everywhere = el('ul', { className: 'transitions' });

  draw(definition, value) {
    if (definition !== this.#definition) this.#build(definition);
    mark(this.#boxes, value);
  }

  #build(definition) {
    this.#definition = definition;
    this.#boxes = boxesOf(definition, 0);
    this.#everywhere = transitionList(definition);
    const states = el('ul', { className: 'states' }, ...this.#boxes.map(({ element }) => element));
    if (this.#boxes.length === 0)
      this.element.replaceChildren(
        el('p', { className: 'dim', text: 'Its states are not known.' }),
      );
    else this.element.replaceChildren(this.#everywhere, states);
  }
}

function boxesOf(node, depth) {
  if (depth >= MAX_DEPTH) return [];
  return statesBelow(node).map(([name, below]) => {
    const isInitial = node.initial === name;
    return boxOf(name, below, { isInitial, isRegion: node.type === 'parallel', depth });
  });
}

function boxOf(name, node, { isInitial, isRegion, depth }) {
  const children = boxesOf(node, depth + 1);
  const here = el('span', { className: 'here' });
  const head = el(
    'div',
    { className: 'head' },
    here,
    el('span', { className: 'name', text: name }),
  );
  if (isInitial) head.append(el('span', { className: 'kind', text: 'initial' }));
  if (typeof node.type === 'string')
    head.append(el('span', { className: 'kind', text: node.type }));
  for (const { src, id } of invokesOf(node))
    head.append(
      el('span', { className: 'invoke', text: `⟳ ${src || id}`, title: `invokes ${src} as ${id}` }),
    );
  const element = el('li', { className: isRegion ? 'state region' : 'state' }, head);
  if (node.type === 'final') element.classList.add('final');
  const transitions = transitionList(node);
  if (transitions.childElementCount > 0) element.append(transitions);
  if (children.length > 0)
    element.append(el('ul', { className: 'states' }, ...children.map((child) => child.element)));
  return { element, here, name, children };
}

function transitionList(node) {
  const items = transitionsOf(node).map(({ on, guard, target, actions }) => {
    const item = el('li', {}, el('code', { text: on }));
    if (guard !== '') item.append(el('span', { className: 'dim', text: ` if ${guard}` }));
    if (target !== '') item.append(' → ', el('code', { className: 'target', text: target }));
    if (actions !== '') item.append(el('span', { className: 'dim', text: ` / ${actions}` }));
    return item;
  });
  return el('ul', { className: 'transitions' }, ...items);
}

function mark(boxes, value) {
  for (const { element, here, name, children } of boxes) {
    const { isIn, below } = valueIn(value, name);
    setAttribute(element, 'aria-current', isIn ? 'true' : undefined);
    setText(here, isIn ? '● ' : '');
    mark(children, below);
  }
}
