// Which charts are shown: usual ones, and any IO element by name.

import { el, fill } from '../dom.js';
import { icon } from '../icons.js';
import { closeOutside } from '../shell.js';
import { number } from '../units.js';
import { choices } from './chartdata.js';

// get() says the chosen keys, set(keys) is called with new ones.
export function chartMenu({ get, set }) {
  const list = el('div.chart-choices');
  const search = el('input', { type: 'search', 'aria-label': 'Search an element', placeholder: 'Search an element', on: { input: paint } });
  const menu = el('details.menu', { on: { toggle: () => { if (menu.open) { paint(); search.focus(); } } } }, el('summary.button', {}, icon('report'), 'Charts'), el('div.sheet', {}, el('div.group', {}, search), list));
  closeOutside(menu);
  let elements = [];

  function paint() {
    const chosen = new Set(get());
    const text = search.value.trim().toLowerCase();
    const { groups, others } = choices(elements);
    const counts = new Map(elements.map((element) => [element.key, element.n]));
    const row = ({ key, name, keys }) => el('label.check', {}, el('input', { type: 'checkbox', checked: chosen.has(key), on: { change: (event) => {
      const next = get().filter((one) => one !== key);
      if (event.target.checked) next.push(key);
      set(next);
    } } }), el('span.truncate', {}, name), el('small.quiet', {}, number(Math.max(...keys.map((one) => counts.get(one) ?? 0)))));
    const rows = [...groups, ...others].filter((one) => !text || one.name.toLowerCase().includes(text) || one.key.includes(text)).map(row);
    fill(list, rows.length ? rows : el('p.quiet', {}, elements.length ? 'No element is called so.' : 'Nothing was sent in this time.'));
  }

  return {
    node: menu,
    show(next) {
      elements = next;
      if (menu.open) paint();
    },
  };
}
