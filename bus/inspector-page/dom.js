/**
 * Elements. Everything the page shows comes from files that anyone may write: it enters the document as text nodes and as
 * values of attributes that are no addresses, in no other way.
 */

/** `text`, `className`, `title` and so on are properties; names with a dash, and `role`, are attributes. */
export function el(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === undefined) continue;
    if (name === 'text') made.textContent = value;
    else if (name === 'role' || name.includes('-')) made.setAttribute(name, value);
    else made[name] = value;
  }
  made.append(...children);
  return made;
}

/** Changes nothing that is so already: a screen reader would read it again, and a selection in it would be lost. */
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

export function setAttribute(node, name, value) {
  if (value === undefined) node.removeAttribute(name);
  else if (node.getAttribute(name) !== value) node.setAttribute(name, value);
}

/** Somebody copies out of it: leave it as it is. */
export function isBeingSelected(node) {
  const selection = getSelection();
  return selection !== null && !selection.isCollapsed && selection.containsNode(node, true);
}

const clock = new Intl.DateTimeFormat(undefined, {
  hour: '2-digit',
  minute: '2-digit',
  second: '2-digit',
  fractionalSecondDigits: 3,
  hour12: false,
});

/** `ms`: since the epoch; NaN for what is no time. */
export const timeText = (ms) => (Number.isFinite(ms) ? clock.format(ms) : '?');
