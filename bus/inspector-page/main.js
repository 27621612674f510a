/**
 * The page: what comes in goes to the model at once; what is shown follows a few times a second, however much comes.
 * It is read-only: nothing of it reaches the node but requests to watch.
 */
import { Detail } from './detail.js';
import { el, setAttribute, setText } from './dom.js';
import { Link } from './link.js';
import { EventLog } from './log.js';
import { addressOf, Model } from './model.js';
import { StatelyFrame } from './stately.js';
import { statusText, Tree } from './tree.js';

const DRAW_MS = 100;
/** With more actors than `MANY` the list is drawn less often. */
const DRAW_MANY_MS = 400;
const MANY = 2000;
/** The part of the URL behind `#` that names an actor. */
const AT = '#/';

const byId = (id) => document.getElementById(id);
const model = new Model();
const main = byId('main');
const filter = byId('filter');
const status = byId('status');
const tree = new Tree(byId('tree'), select);
const detail = new Detail({ onSelect: select, onFilter: touch });
const everything = new EventLog({ withActors: true, onSelect: select, onFilter: touch });
const link = new Link({ opened, message: take, state: showLink });
const overview = el(
  'article',
  {},
  el('h2', { text: 'All events' }),
  el('p', {
    className: 'dim',
    text: 'As they are committed, from now on. Choose an actor to see more of it.',
  }),
  everything.element,
);
let selected;
let isDirty = false;
let isStill = false;
let wasLost = false;
let stately;

// ---- in --------------------------------------------------------------------------------------------------------------

function opened() {
  model.begin();
  if (wasLost) model.remark('Connected again. What happened meanwhile is not listed.');
  wasLost = false;
  touch();
}

function take(text) {
  const message = JSON.parse(text);
  model.take(message, text.length);
  const root = model.actors.get(addressOf(message.sessionId))?.root;
  if (root !== undefined) stately?.take(message, root);
  touch();
}

function showLink(kind, text) {
  const shown = byId('link');
  setText(shown, text);
  shown.className = `link ${kind}`;
  document.body.classList.toggle('stale', kind !== 'live');
  if (kind === 'lost') wasLost = true;
  touch();
}

// ---- out -------------------------------------------------------------------------------------------------------------

function touch() {
  if (isDirty) return;
  isDirty = true;
  const wait = model.actors.size > MANY ? DRAW_MANY_MS : DRAW_MS;
  setTimeout(() => requestAnimationFrame(draw), wait);
}

function draw() {
  isDirty = false;
  if (!isStill) drawNow();
}

/** At once, for somebody did something. */
function drawNow() {
  const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
  tree.draw(model, { words, status: status.value }, selected);
  if (selected === undefined) everything.draw(model.log, '');
  else detail.draw(model, selected, model.actors.get(selected));
  drawCounts();
}

function drawCounts() {
  const counts = new Map();
  for (const { snapshot } of model.actors.values()) {
    const name = statusText(snapshot.status);
    counts.set(name, (counts.get(name) ?? 0) + 1);
  }
  const parts = ['active', 'held', 'done', 'stopped'].flatMap((name) =>
    counts.has(name) ? [`${counts.get(name)} ${name}`] : [],
  );
  setText(
    byId('counts'),
    `${model.actors.size} actors${parts.length ? ': ' : ''}${parts.join(', ')}`,
  );
  const held = counts.get('held') ?? 0;
  const isLive = !document.body.classList.contains('stale');
  const mark = isLive ? (held > 0 ? `(${held} held) ` : '') : '(not connected) ';
  document.title = `${mark}Lazarus inspector`;
}

function select(address) {
  if (address === undefined) return;
  show(address);
  history.replaceState(null, '', `${AT}${encodeURI(address)}`);
}

function show(address) {
  selected = address;
  main.replaceChildren(address === undefined ? overview : detail.element);
  main.scrollTop = 0;
  drawNow();
}

function showAll() {
  history.replaceState(null, '', location.pathname);
  show(undefined);
}

function hold() {
  isStill = !isStill;
  setAttribute(byId('hold'), 'aria-pressed', String(isStill));
  touch();
}

function toggleStately() {
  if (stately) stately.close();
  const root = selected && (model.actors.get(selected)?.root ?? selected);
  stately = stately ? undefined : new StatelyFrame(model, root);
  const button = byId('stately-open');
  setAttribute(button, 'aria-pressed', String(stately !== undefined));
  setText(button, stately ? 'Close Stately' : 'Stately inspector');
}

function addressInUrl() {
  if (!location.hash.startsWith(AT)) return undefined;
  try {
    return decodeURI(location.hash.slice(AT.length));
  } catch {
    return undefined; // somebody typed it
  }
}

function pressed(event) {
  const isTyping = event.target instanceof HTMLInputElement;
  if (event.key === '/' && !isTyping) {
    filter.focus();
    event.preventDefault();
  } else if (event.key === 'Escape' && event.target === filter) {
    filter.value = '';
    byId('tree').focus();
    drawNow();
  } else if (event.key === 'ArrowDown' && event.target === filter) {
    byId('tree').focus();
    event.preventDefault();
  }
}

filter.addEventListener('input', drawNow);
status.addEventListener('change', drawNow);
byId('all').addEventListener('click', showAll);
byId('hold').addEventListener('click', hold);
byId('stately-open').addEventListener('click', toggleStately);
addEventListener('keydown', pressed);
document.addEventListener('selectionchange', touch);
addEventListener('hashchange', () => {
  if (location.hash.startsWith(AT)) show(addressInUrl());
});
show(addressInUrl());
link.open();
