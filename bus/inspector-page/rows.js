/** Which actors the list shows, in which order: missions with their agents, then the runtime's own. Pure. */

/**
 * `view`: {words: what each shown actor's name, id or state contains, lower case; status: '' for any; folded: keys of rows that
 * hide what is below}. A row is `{key, level, position, siblings, isOpen, below, actor | title}`; `isOpen` undefined: nothing is below.
 */
export function rowsOf(model, view) {
  const groups = [
    { key: '/missions', title: 'Missions', roots: [] },
    { key: '/runtime', title: 'Runtime', roots: [] },
  ];
  const children = new Map();
  for (const actor of model.actors.values()) {
    const { parent } = actor;
    if (parent === undefined || !model.actors.has(parent))
      groups[actor.address.startsWith('cell/') ? 0 : 1].roots.push(actor);
    else if (children.has(parent)) children.get(parent).push(actor);
    else children.set(parent, [actor]);
  }
  const shown = groups.map((group) => ({ ...group, roots: chosen(group.roots, children, view) }));
  const rows = [];
  const used = shown.filter(({ roots }) => roots.length > 0);
  for (const [i, { key, title, roots }] of used.entries()) {
    const isOpen = !view.folded.has(key);
    const place = { key, level: 1, position: i + 1, siblings: used.length };
    rows.push({ ...place, isOpen, below: roots.length, title });
    if (isOpen) pushRoots(rows, roots, view);
  }
  return rows;
}

/** Roots that are wanted, or that have a child that is: `{actor, below}`, each by name. */
function chosen(roots, children, view) {
  const found = [];
  for (const actor of roots) {
    const all = children.get(actor.address) ?? [];
    const isWhole = isWanted(actor, view) && view.status === '';
    const below = isWhole ? all : all.filter((child) => isWanted(child, view));
    if (isWanted(actor, view) || below.length > 0)
      found.push({ actor, below: [...below].sort(byAddress) });
  }
  return found.sort(({ actor: a }, { actor: b }) => byLabel(a, b));
}

function isWanted(actor, { words, status }) {
  if (status !== '' && (actor.snapshot.status ?? 'active') !== status) return false;
  if (words.length === 0) return true;
  const text = `${actor.address} ${actor.label} ${actor.where}`.toLowerCase();
  return words.every((word) => text.includes(word));
}

function pushRoots(rows, roots, view) {
  for (const [i, { actor, below }] of roots.entries()) {
    const key = actor.address;
    const isOpen = below.length > 0 ? !view.folded.has(key) : undefined;
    const place = { key, level: 2, position: i + 1, siblings: roots.length };
    rows.push({ ...place, isOpen, below: below.length, actor });
    if (isOpen !== true) continue;
    for (const [j, child] of below.entries()) {
      const childPlace = { key: child.address, level: 3, position: j + 1, siblings: below.length };
      rows.push({ ...childPlace, isOpen: undefined, below: 0, actor: child });
    }
  }
}

const compare = (a, b) => (a < b ? -1 : a > b ? 1 : 0);
const byAddress = (a, b) => compare(a.address, b.address);
const byLabel = (a, b) => compare(a.label.toLowerCase(), b.label.toLowerCase()) || byAddress(a, b);
