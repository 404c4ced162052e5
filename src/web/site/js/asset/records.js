// The raw records, newest first, each decoded field by field.

import { get } from '../api.js';
import { el, fill } from '../dom.js';
import { icon } from '../icons.js';
import * as time from '../time.js';
import * as units from '../units.js';
import { during, empty, load } from '../ui.js';

const AT_A_TIME = 50;
// Fields of a record that the row itself shows, or that are lists of their own.
const SHOWN = new Set(['time', 'received_at', 'longitude', 'latitude', 'speed_kmh', 'satellites', 'io', 'fix', 'typed']);

// path: "/assets/12/records" or a device's. before: milliseconds, where the list begins.
export function recordList(place, path, group, before) {
  const list = el('div.records');
  const more = el('button', { type: 'button', on: { click: () => during(more, older) } }, 'Older records');
  let last = new Date(before);
  async function page() {
    const { items, before: next } = await get(path, { before: last, limit: AT_A_TIME });
    last = next ?? null;
    more.hidden = last === null;
    return items;
  }
  async function older() {
    list.append(...(await page()).map((item) => recordNode(item, group)));
  }
  return load(place, async () => {
    const items = await page();
    if (!items.length) return empty('No records', 'Nothing was recorded before this moment.');
    fill(list, items.map((item) => recordNode(item, group)));
    return [list, el('div.row', { style: { padding: '12px', justifyContent: 'center' } }, more)];
  }, { lines: 6 });
}

function recordNode(item, group) {
  const flat = { ...item, ...item.typed };
  const body = el('div.record-body');
  const node = el('details.record', { on: { toggle: () => { if (node.open && !body.childNodes.length) fill(body, inside(flat)); } } },
    el('summary', {}, icon('right'), el('span.nowrap', {}, time.full(item.time, group)),
      el('span.quiet.nowrap', {}, units.speed(flat.speed_kmh)),
      el('span.quiet.nowrap', {}, item.fix === false || item.satellites === 0 ? 'no fix' : units.count(item.satellites ?? 0, 'satellite')),
      el('span.quiet.mono.small.nowrap', {}, units.coordinates(flat.latitude, flat.longitude)),
      el('span.quiet.nowrap.record-n', {}, units.count(item.io?.length ?? 0, 'element'))),
    body);
  fill(body);
  return node;
}

function inside(flat) {
  const facts = Object.entries(flat).filter(([key, value]) => !SHOWN.has(key) && value !== null && typeof value !== 'object');
  const lists = Object.entries(flat).filter(([key, value]) => !SHOWN.has(key) && Array.isArray(value) && value.some((one) => one !== null && one !== undefined));
  const late = time.ms(flat.received_at) - time.ms(flat.time);
  const rows = [
    ...(flat.received_at ? [['received', `${time.full(flat.received_at)}${late > 60_000 ? ` (${time.duration(late)} later)` : ''}`]] : []),
    ...facts.map(([key, value]) => [key.replaceAll('_', ' '), typeof value === 'number' ? units.number(value, Number.isInteger(value) ? 0 : 2) : String(value)]),
    ...lists.map(([key, value]) => [key.replaceAll('_', ' '), value.map((one) => (one === null ? '–' : String(one))).join(', ')]),
  ];
  return [el('dl.facts', {}, rows.flatMap(([name, value]) => [el('dt', {}, name), el('dd', {}, value)])), flat.io?.length ? elements(flat.io) : el('p.quiet', {}, 'No IO elements.')];
}

function elements(io) {
  const row = (one) => el('tr', {}, el('td.number', {}, String(one.avl_id)), el('td', {}, one.name ?? el('span.quiet', {}, 'unknown')),
    el('td.number', {}, one.error ? el('span.tone.tone-sensor_fault', {}, one.error) : value(one)), el('td.number.mono.small', {}, one.raw === null || one.raw === undefined ? '–' : String(one.raw)), el('td.mono.small', {}, hex(one.bytes)));
  return el('div.table-wrap', {}, el('table.tight', {}, el('thead', {}, el('tr', {}, ['Id', 'Element', 'Value', 'Raw', 'Bytes'].map((name, i) => el(i === 0 || i === 2 || i === 3 ? 'th.number' : 'th', { scope: 'col' }, name)))), el('tbody', {}, io.map(row))));
}

function value({ value: number, unit }) {
  if (number === null || number === undefined) return '–';
  const text = typeof number === 'number' ? units.number(number, Number.isInteger(number) ? 0 : 2) : String(number);
  return unit ? `${text}\u202f${unit}` : text;
}

// "03 e8"; long ones are cut, their whole is in the title.
function hex(bytes) {
  if (bytes === null || bytes === undefined) return '–';
  const text = String(bytes).replace(/[^0-9a-f]/gi, '');
  const spaced = (text.match(/../g) ?? [String(bytes)]).join(' ');
  return spaced.length > 50 ? el('span', { title: spaced }, `${spaced.slice(0, 47)}…`) : spaced;
}

