// Parts that pages share: states of waiting, emptiness and failure, toasts, dialogs, tabs, tables, pagers.

import { el, fill } from './dom.js';
import { icon } from './icons.js';
import { number } from './units.js';

// While something is loaded: grey bars in the place of what will come.
export function skeleton(lines = 4) {
  const bars = Array.from({ length: lines }, (_, i) => el('span.skeleton', { style: { width: `${[92, 74, 83, 61][i % 4]}%`, height: '14px' } }));
  return el('div.skeletons', { role: 'status', 'aria-label': 'Loading' }, bars);
}

// Nothing is here, and why, and what to do about it.
export function empty(title, text = null, ...actions) {
  return el('div.state', {}, icon('empty'), el('h2', {}, title), text && el('p', {}, text), actions.length ? el('div.row', {}, actions) : null);
}

// It did not work: what the server said, and a button that tries again.
export function failed(error, again = null) {
  const text = error?.message ?? String(error);
  const title = error?.status === 403 ? 'Not allowed' : error?.status === 404 ? 'Not found' : 'This could not be loaded';
  return el('div.state.failed', { role: 'alert' }, icon(error?.status === 0 ? 'unplugged' : 'warning'), el('h2', {}, title), el('p', {}, text),
    again && el('button', { type: 'button', on: { click: again } }, icon('refresh'), 'Try again'));
}

// Shows a skeleton in the place, then what `load` resolves to; a failure with a button that does it all again.
// Resolves to whether it was loaded. A newer call for the same place wins over an older one.
const turns = new WeakMap();
export async function load(place, work, { lines = 4, quiet = false } = {}) {
  const turn = (turns.get(place) ?? 0) + 1;
  turns.set(place, turn);
  if (!quiet) fill(place, skeleton(lines));
  place.setAttribute('aria-busy', 'true');
  try {
    const shown = await work();
    if (turns.get(place) !== turn) return false;
    fill(place, shown);
    return true;
  } catch (error) {
    if (error.name === 'AbortError' || turns.get(place) !== turn) return false;
    if (error.name !== 'Refused') console.error(error);
    fill(place, failed(error, () => load(place, work, { lines })));
    return false;
  } finally {
    if (turns.get(place) === turn) place.removeAttribute('aria-busy');
  }
}

// A box with a remark: kind "note", "good", "warn" or "bad".
export function notice(kind, ...children) {
  return el(`div.notice.${kind}`, {}, icon(kind === 'good' ? 'check' : kind === 'note' ? 'info' : 'warning'), el('div', {}, children));
}

// A message at the lower right that goes by itself, unless it says that something is wrong.
let toasts = null;
export function toast(text, tone = 'note') {
  if (!toasts) {
    toasts = el('div.toasts', { role: 'status', 'aria-live': 'polite' });
    document.body.append(toasts);
  }
  const close = () => node.remove();
  const node = el(`div.toast.tone-${tone}`, {}, el('div', {}, text), el('button.plain.icon-only', { type: 'button', 'aria-label': 'Close', on: { click: close } }, icon('close')));
  toasts.append(node);
  if (tone !== 'bad') setTimeout(close, 6000);
  return close;
}

// Runs what a button began: the button is busy meanwhile, a refusal becomes a toast. Resolves to what the work does, or undefined.
export async function during(button, work) {
  if (button.classList.contains('busy')) return undefined;
  button.classList.add('busy');
  button.setAttribute('aria-busy', 'true');
  try {
    return await work();
  } catch (error) {
    if (error.name !== 'Refused') console.error(error);
    toast(error.message, 'bad');
    return undefined;
  } finally {
    button.classList.remove('busy');
    button.removeAttribute('aria-busy');
  }
}

// A dialog with a title, its content and buttons; it is removed when closed. dialog.close() closes it.
//   const box = dialog('Rename', [el('label.field', …)], [el('button.primary', { type: 'submit' }, 'Save')], async (form) => {…});
// With `submit` the content is a form: the function gets its FormData and the dialog closes unless it throws; what it throws
// is shown in the dialog.
export function dialog(title, content, buttons = [], submit = null) {
  const wrong = el('div', { role: 'alert' });
  const box = el('dialog', { 'aria-label': title });
  const closer = el('button.plain.icon-only', { type: 'button', 'aria-label': 'Close', on: { click: () => box.close() } }, icon('close'));
  const inside = [el('header', {}, el('h2', {}, title), closer), el('div.body', {}, content, wrong), buttons.length ? el('div.foot', {}, buttons) : null];
  if (submit) {
    const form = el('form', { method: 'dialog', novalidate: false }, inside);
    form.addEventListener('submit', async (event) => {
      event.preventDefault();
      const button = event.submitter ?? form.querySelector('[type=submit]');
      button.classList.add('busy');
      fill(wrong);
      try {
        await submit(new FormData(form), form);
        box.close();
      } catch (error) {
        if (error.name !== 'Refused') console.error(error);
        fill(wrong, notice('bad', error.message));
      } finally {
        button.classList.remove('busy');
      }
    });
    box.append(form);
  } else {
    box.append(...inside.filter(Boolean));
  }
  // A click on the dimmed page around it closes it, as people expect; one inside bubbles with another target.
  box.addEventListener('click', (event) => { if (event.target === box) box.close(); });
  box.addEventListener('close', () => box.remove());
  document.body.append(box);
  box.showModal();
  return box;
}

// Asks before something is done; resolves to true or false.
export function confirm(title, text, yes = 'Yes', dangerous = true) {
  return new Promise((resolve) => {
    let answer = false;
    const button = el(`button.${dangerous ? 'danger' : 'primary'}`, { type: 'button', on: { click: () => { answer = true; box.close(); } } }, yes);
    const box = dialog(title, [el('p', {}, text)], [el('button', { type: 'button', on: { click: () => box.close() } }, 'Cancel'), button]);
    box.addEventListener('close', () => resolve(answer));
  });
}

// Tabs: [{ key, name, show: (panel) => … }]; show is called whenever its tab is chosen. Arrow keys go along. Returns the node;
// node.choose(key) chooses.
let made = 0;
export function tabs(list, chosen = list[0].key, changed = () => {}) {
  made += 1;
  const base = `tab-${made}`;
  const panel = el('div', { role: 'tabpanel', id: `${base}-panel`, tabindex: 0 });
  const buttons = list.map((tab) => el('button', { type: 'button', role: 'tab', id: `${base}-${tab.key}`, 'aria-controls': `${base}-panel`, on: { click: () => choose(tab.key) } }, tab.name));
  const choose = (key) => {
    list.forEach((tab, i) => {
      buttons[i].setAttribute('aria-selected', String(tab.key === key));
      buttons[i].tabIndex = tab.key === key ? 0 : -1;
    });
    panel.setAttribute('aria-labelledby', `${base}-${key}`);
    fill(panel);
    list.find((tab) => tab.key === key)?.show(panel);
    changed(key);
  };
  const bar = el('div.tabs', { role: 'tablist' }, buttons);
  bar.addEventListener('keydown', (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    const at = buttons.indexOf(document.activeElement);
    if (!step || at < 0) return;
    event.preventDefault();
    const next = (at + step + list.length) % list.length;
    buttons[next].focus();
    choose(list[next].key);
  });
  const node = el('div.column', {}, bar, panel);
  node.choose = choose;
  choose(chosen);
  return node;
}

// A table that becomes cards on a phone. Columns: { name, cell: (row) => node or text, number, sort (a key, with `sorting`) }.
// sorting: { key: '-time', change: (key) => … } as the API's ?sort= has it.
export function table(columns, rows, { caption = null, sorting = null, tight = false, rowProps = null } = {}) {
  const head = columns.map((column) => {
    const name = column.name ?? '';
    if (!sorting || !column.sort) return el(`th${column.number ? '.number' : ''}`, { scope: 'col' }, name || el('span.visually-hidden', {}, column.label ?? 'Actions'));
    const down = sorting.key === `-${column.sort}`;
    const on = down || sorting.key === column.sort;
    const click = () => sorting.change(on && !down ? `-${column.sort}` : column.sort);
    return el(`th${column.number ? '.number' : ''}`, { scope: 'col', 'aria-sort': on ? (down ? 'descending' : 'ascending') : null }, el('button', { type: 'button', on: { click } }, name));
  });
  const body = rows.map((row) => el('tr', rowProps ? rowProps(row) : {}, columns.map((column) => el(`td${column.number ? '.number' : ''}`, { 'data-label': column.name || null }, column.cell(row)))));
  return el('div.table-wrap', {}, el(`table.cards${tight ? '.tight' : ''}`, {}, caption && el('caption', {}, caption), el('thead', {}, el('tr', {}, head)), el('tbody', {}, body)));
}

// "1–100 of 2 345" with buttons back and forth; the function gets the page to show.
export function pager({ total, page, per_page: perPage }, go) {
  const last = Math.max(1, Math.ceil(total / perPage));
  const from = total ? (page - 1) * perPage + 1 : 0;
  const button = (name, label, to) => el('button.icon-only', { type: 'button', 'aria-label': label, disabled: to < 1 || to > last, on: { click: () => go(to) } }, icon(name));
  return el('div.pager', {}, el('span', {}, `${number(from)}–${number(Math.min(total, page * perPage))} of ${number(total)}`), button('left', 'Previous page', page - 1), button('right', 'Next page', page + 1));
}

// A field for searching with its magnifier.
export function searchField(label, value, input) {
  return el('label.search', {}, icon('search'), el('input', { type: 'search', 'aria-label': label, placeholder: label, value: value ?? '', on: { input: (event) => input(event.target.value) } }));
}
