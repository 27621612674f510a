/** A machine's states, and where in them an actor is. Pure. */

const isObject = (value) => typeof value === 'object' && value !== null && !Array.isArray(value);

/** The states below a state of a definition: `[name, state]`. */
export const statesBelow = (node) =>
  isObject(node?.states) ? Object.entries(node.states).filter(([, below]) => isObject(below)) : [];

/** What a state value says about the state `name`: whether the actor is in it, and the value below. */
export function valueIn(value, name) {
  if (value === name) return { isIn: true, below: undefined };
  if (isObject(value) && Object.hasOwn(value, name)) return { isIn: true, below: value[name] };
  return { isIn: false, below: undefined };
}

/** Of the innermost states: `['a.b']`, of parallel ones several. */
function pathsOf(value) {
  if (typeof value === 'string') return [value];
  if (!isObject(value)) return [''];
  return Object.entries(value).flatMap(([name, below]) =>
    pathsOf(below).map((path) => (path === '' ? name : `${name}.${path}`)),
  );
}

/** Where it is, all of it. */
export const fullState = (value) => pathsOf(value).join(' · ');

/** Where it is, in short: the innermost names, and without parallel regions that stand where they began. */
export function shortState(definition, value) {
  const names = [];
  let node = definition;
  let rest = value;
  while (isObject(rest) && Object.keys(rest).length === 1) {
    const [[name, below]] = Object.entries(rest);
    names.push(name);
    node = isObject(node?.states) ? node.states[name] : undefined;
    rest = below;
  }
  if (!isObject(rest)) return innermost([...names, ...pathsOf(rest)].filter(Boolean).join('.'));
  const moved = Object.entries(rest).filter(
    ([name, below]) => !standsAtStart(node?.states?.[name], below),
  );
  if (moved.length === 0) return innermost(names.join('.'));
  return pathsOf(Object.fromEntries(moved)).map(innermost).join(' · ');
}

const innermost = (path) => path.split('.').slice(-2).join('.');

function standsAtStart(node, value) {
  if (!isObject(node)) return false;
  if (typeof value === 'string') return node.initial === value;
  if (!isObject(value)) return false;
  const isAtStart = ([name, below]) =>
    (node.type === 'parallel' || node.initial === name) &&
    standsAtStart(node.states?.[name], below);
  return Object.entries(value).every(isAtStart);
}

/** The transitions out of a state: `{on, guard, target, actions}`, all texts, empty where there is none. */
export function transitionsOf(node) {
  const found = [];
  const add = (on, config) => {
    for (const one of Array.isArray(config) ? config : [config]) found.push(transition(on, one));
  };
  if (isObject(node.on)) for (const [on, config] of Object.entries(node.on)) add(on, config);
  if (isObject(node.after))
    for (const [delay, config] of Object.entries(node.after)) add(`after ${delay}`, config);
  for (const { id, onDone, onError } of invokesOf(node)) {
    if (onDone !== undefined) add(`${id} done`, onDone);
    if (onError !== undefined) add(`${id} failed`, onError);
  }
  if (node.onDone !== undefined) add('done', node.onDone);
  if (node.always !== undefined) add('at once', node.always);
  return found;
}

function transition(on, config) {
  const { target, guard, actions } = isObject(config) ? config : { target: config };
  const listed = (value) => (Array.isArray(value) ? value : [value]).map(nameOf).filter(Boolean);
  return {
    on,
    guard: nameOf(guard),
    target: listed(target).join(', '),
    actions: listed(actions).join(', '),
  };
}

/** `{id, src, onDone, onError}` of each. */
export function invokesOf(node) {
  const all = Array.isArray(node.invoke) ? node.invoke : [node.invoke];
  return all.filter(isObject).map(({ id, src, onDone, onError }) => {
    const name = nameOf(src);
    return { id: typeof id === 'string' ? id : name, src: name, onDone, onError };
  });
}

/** Of a guard, an action or a source: functions come as `{type: name}`. */
function nameOf(value) {
  if (typeof value === 'string') return value;
  if (isObject(value)) return typeof value.type === 'string' ? value.type : '';
  return '';
}
