// The list beside the map: only the rows that can be seen exist, so 20 000 cost as much as 20.
//
// A listbox for keyboards and screen readers: the arrows go along, Enter chooses, each row says which of how many it is.

import { el, fill, onFrame, setText } from '../dom.js';
import { FLAGS, shapeNode, stateOf } from '../states.js';
import * as time from '../time.js';
import * as units from '../units.js';

const ROW_PX = 52;
const SPARE_ROWS = 6;

// choose(id) is called for a click or Enter. list.show({ located, never }) takes slots of the fleet; .refresh() their new values.
export function assetList(fleet, choose) {
  let rows = [];
  let selected = null;
  let active = -1;
  const pool = [];
  const tall = el('div.list-tall');
  const node = el('div.asset-list', { role: 'listbox', tabindex: 0, 'aria-label': 'Assets' }, tall);
  const draw = onFrame(paint);
  node.addEventListener('scroll', draw, { passive: true });
  new ResizeObserver(draw).observe(node);

  function paint() {
    const height = node.clientHeight;
    if (!height) return;
    const first = Math.max(0, Math.floor(node.scrollTop / ROW_PX) - SPARE_ROWS);
    const end = Math.min(rows.length, Math.ceil((node.scrollTop + height) / ROW_PX) + SPARE_ROWS);
    while (pool.length < end - first) {
      const row = makeRow();
      pool.push(row);
      tall.append(row.node);
    }
    pool.forEach((row, i) => {
      const index = first + i;
      row.node.hidden = index >= end;
      if (index < end) fillRow(row, index);
    });
    const shown = pool.find((row) => !row.node.hidden && row.index === active);
    if (shown) node.setAttribute('aria-activedescendant', shown.node.id);
    else node.removeAttribute('aria-activedescendant');
  }

  function makeRow() {
    const row = { index: -1, id: null, looks: '' };
    row.shape = el('span.asset-shape');
    row.name = el('span.asset-name.truncate');
    row.text = el('span.asset-text.truncate');
    row.flags = el('span.asset-flags');
    row.node = el('div.asset-row', { id: `asset-row-${pool.length}`, on: { click: () => { if (row.id !== null) { active = row.index; choose(row.id); } } } },
      row.shape, el('span.asset-words', {}, row.name, row.text), row.flags);
    return row;
  }

  function fillRow(row, index) {
    const entry = rows[index];
    row.index = index;
    row.node.style.transform = `translateY(${index * ROW_PX}px)`;
    if (entry.heading) {
      if (row.looks !== entry.heading) {
        row.looks = entry.heading;
        row.id = null;
        row.node.className = 'asset-row heading';
        row.node.setAttribute('role', 'presentation');
        for (const name of ['aria-selected', 'aria-setsize', 'aria-posinset']) row.node.removeAttribute(name);
        fill(row.shape);
        fill(row.flags);
        setText(row.name, entry.heading);
        setText(row.text, entry.text);
      }
      return;
    }
    const position = fleet.get(entry.id);
    if (!position) return;
    row.id = entry.id;
    row.node.className = `asset-row${entry.id === selected ? ' selected' : ''}${index === active ? ' active' : ''}`;
    row.node.setAttribute('role', 'option');
    row.node.setAttribute('aria-selected', String(entry.id === selected));
    row.node.setAttribute('aria-setsize', String(rows.length));
    row.node.setAttribute('aria-posinset', String(index + 1));
    setText(row.name, position.name);
    setText(row.text, subtitle(position));
    const looks = `${position.state} ${(position.flags ?? []).join(' ')}`;
    if (row.looks === looks) return;
    row.looks = looks;
    const state = stateOf(position.state);
    row.shape.className = `asset-shape tone tone-${state.tone}`;
    fill(row.shape, shapeNode(state.shape));
    fill(row.flags, (position.flags ?? []).map((flag) => el(`span.tone.tone-${flag}`, { title: FLAGS[flag]?.name ?? flag }, shapeNode(FLAGS[flag]?.shape ?? 'dot'), el('span.visually-hidden', {}, FLAGS[flag]?.name ?? flag))));
  }

  function go(to) {
    if (!rows.length) return;
    const step = to >= active ? 1 : -1;
    active = Math.max(0, Math.min(rows.length - 1, to));
    if (rows[active].heading) active = Math.max(0, Math.min(rows.length - 1, active + step));
    reveal(active);
    draw();
  }

  function reveal(index) {
    const top = index * ROW_PX;
    if (top < node.scrollTop) node.scrollTop = top;
    else if (top + ROW_PX > node.scrollTop + node.clientHeight) node.scrollTop = top + ROW_PX - node.clientHeight;
  }

  node.addEventListener('keydown', (event) => {
    const page = Math.max(1, Math.floor(node.clientHeight / ROW_PX) - 1);
    const moves = { ArrowDown: active + 1, ArrowUp: active - 1, PageDown: active + page, PageUp: active - page, Home: 0, End: rows.length - 1 };
    if (event.key in moves) go(moves[event.key]);
    else if (event.key === 'Enter' && rows[active]?.id !== undefined) choose(rows[active].id);
    else return;
    event.preventDefault();
  });

  return {
    node,
    show({ located, never }) {
      const ids = (slots) => slots.map((slot) => ({ id: fleet.positions[slot].asset }));
      const activeId = rows[active]?.id;
      rows = ids(located);
      if (never.length) rows.push({ heading: `Never located: ${units.number(never.length)}`, text: 'No record with a satellite fix yet' }, ...ids(never));
      active = activeId === undefined ? -1 : rows.findIndex((row) => row.id === activeId);
      tall.style.height = `${rows.length * ROW_PX}px`;
      draw();
    },
    refresh: draw,
    focus() {
      if (active < 0) go(0);
      node.focus();
    },
    select(id, scroll) {
      selected = id;
      const index = rows.findIndex((row) => row.id === id);
      if (index >= 0) {
        active = index;
        if (scroll) reveal(index);
      }
      draw();
    },
  };
}

// "62 km/h · 4.2 °C · 8 s ago"
function subtitle(position) {
  const parts = [];
  if (position.state === 'moving') parts.push(units.speed(position.speed_kmh));
  else parts.push(stateOf(position.state).name);
  const warmest = (position.temperature ?? []).filter((value) => value !== null && value !== undefined);
  if (warmest.length) parts.push(warmest.map((value) => units.temperature(value)).join(' / '));
  parts.push(position.received_at ? time.age(position.received_at) : 'no contact yet');
  return parts.join(' · ');
}
