// Nodes without markup: what comes from devices and people becomes text and attributes only, never HTML.

const SVG = 'http://www.w3.org/2000/svg';

// el('a.button.primary', { href: '/devices', on: { click } }, 'Devices', icon('plus')) makes that element.
// Props: class, dataset, style (an object of properties), on (an object of listeners), properties that only exist on the node
// (value, checked, disabled, hidden, selected), all else attributes; null, undefined and false leave a prop or child out.
export function el(tag, props = {}, ...children) {
  const [name, ...classes] = tag.split('.');
  return build(document.createElement(name), classes, props, children);
}

// The same for SVG.
export function svg(tag, props = {}, ...children) {
  return build(document.createElementNS(SVG, tag), [], props, children);
}

const PROPERTIES = new Set(['value', 'checked', 'disabled', 'hidden', 'selected', 'indeterminate', 'open', 'htmlFor', 'textContent']);

function build(node, classes, props, children) {
  if (classes.length) node.classList.add(...classes);
  for (const [key, value] of Object.entries(props ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (key === 'class') node.classList.add(...String(value).split(/\s+/).filter(Boolean));
    else if (key === 'dataset') Object.assign(node.dataset, value);
    else if (key === 'style') setStyle(node, value);
    else if (key === 'on') for (const [event, listener] of Object.entries(value)) node.addEventListener(event, listener);
    else if (PROPERTIES.has(key)) node[key] = value;
    else node.setAttribute(key, value === true ? '' : String(value));
  }
  node.append(...flat(children));
  return node;
}

function setStyle(node, style) {
  for (const [name, value] of Object.entries(style)) {
    if (name.startsWith('--')) node.style.setProperty(name, value);
    else node.style[name] = value;
  }
}

function flat(children) {
  return children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false);
}

// Puts these children in the place of all that the node had.
export function fill(node, ...children) {
  node.replaceChildren(...flat(children));
  return node;
}

// Sets a node's text only when it differs, so that ticking clocks cost no layout.
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

// Calls the function at most once a frame however often it is asked for.
export function onFrame(work) {
  let asked = 0;
  return () => {
    if (!asked) asked = requestAnimationFrame(() => { asked = 0; work(); });
  };
}

// Calls the function when it was not asked for during `ms`.
export function afterPause(ms, work) {
  let timer = 0;
  return (...args) => {
    clearTimeout(timer);
    timer = setTimeout(() => work(...args), ms);
  };
}
