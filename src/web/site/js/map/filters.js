// Above the list: search, group, order, and a chip for each state and flag with how many there are.

import { afterPause, el, setText } from '../dom.js';
import { FLAGS, STATES, shapeNode } from '../states.js';
import { number } from '../units.js';
import { searchField } from '../ui.js';

// filter: { text, states, flags, group, order } as it begins; changed() is called with it whenever the reader changes it.
export function filterBar(filter, groups, changed) {
  const typed = afterPause(120, (text) => {
    filter.text = text;
    changed();
  });
  const search = searchField('Search name or IMEI', filter.text, typed);
  const input = search.querySelector('input');
  input.setAttribute('aria-keyshortcuts', '/');
  const group = el('select', { 'aria-label': 'Group', on: { change: (event) => { filter.group = event.target.value ? Number(event.target.value) : null; changed(); } } },
    el('option', { value: '' }, 'All groups'), groups.map((one) => el('option', { value: one.id, selected: one.id === filter.group }, one.name)));
  const order = el('select', { 'aria-label': 'Order', on: { change: (event) => { filter.order = event.target.value; changed(); } } },
    [['name', 'By name'], ['attention', 'Attention first'], ['silent', 'Longest silent first']].map(([key, name]) => el('option', { value: key, selected: key === filter.order }, name)));
  const chips = new Map();
  const chip = (key, one, set) => {
    const count = el('span.count', {}, '0');
    const node = el('button.chip', { type: 'button', title: one.means, 'aria-pressed': String(set.has(key)), on: { click: () => {
      if (set.has(key)) set.delete(key);
      else set.add(key);
      node.setAttribute('aria-pressed', String(set.has(key)));
      changed();
    } } }, el(`span.chip-shape.tone.tone-${one.tone}`, {}, shapeNode(one.shape)), one.name, count);
    chips.set(key, { node, count, set });
    return node;
  };
  const states = Object.entries(STATES).map(([key, one]) => chip(key, one, filter.states));
  const flags = Object.entries(FLAGS).map(([key, one]) => chip(key, one, filter.flags));
  const node = el('div.filters', {}, search,
    el('div.filter-selects', {}, groups.length > 1 && group, order),
    el('div.chips', { role: 'group', 'aria-label': 'States and warnings' }, states, flags));
  return {
    node,
    focus() {
      input.focus();
      input.select();
    },
    // counts as Fleet.counts() has them. A warning that nothing has needs no chip.
    count(counts) {
      for (const [key, one] of chips) {
        setText(one.count, number(counts[key]));
        one.node.hidden = counts[key] === 0 && !one.set.has(key) && (key in FLAGS || key === 'never');
      }
    },
    clear() {
      input.value = '';
      group.value = '';
      filter.text = '';
      filter.group = null;
      filter.states.clear();
      filter.flags.clear();
      for (const one of chips.values()) one.node.setAttribute('aria-pressed', 'false');
      changed();
    },
    isFiltering: () => Boolean(filter.text || filter.group !== null || filter.states.size || filter.flags.size),
  };
}
