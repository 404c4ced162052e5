// What a device sent, newest first: each record with its fix, what trackport made of it, and every IO element with its bytes.
import * as api from '../api.js';
import { el, fill } from '../dom.js';
import { badge, eventBadge } from '../states.js';
import { full } from '../time.js';
import { during, empty, load } from '../ui.js';
import { UNKNOWN, coordinates, heading, number, percent, speed, temperature } from '../units.js';

const LIMIT = 50;
// Of a record, what stands in its head or its list of IO elements already.
const HEAD = new Set(['id', 'time', 'received_at', 'longitude', 'latitude', 'altitude_m', 'angle_deg', 'satellites', 'speed_kmh', 'io', 'fix', 'asset', 'digest', 'typed', 'events', 'sensor_faults']);

export function recordsPanel(imei, place) {
  const list = el('div.records');
  const more = el('button', { type: 'button', on: { click: (event) => during(event.currentTarget, older) } }, 'Older records');
  let before = null;
  const take = (answer) => {
    before = answer.before ?? null;
    more.hidden = before === null;
    list.append(...answer.items.map(recordNode));
  };
  const older = async () => take(await api.get(`/devices/${imei}/records`, { before, limit: LIMIT }));
  load(place, async () => {
    const answer = await api.get(`/devices/${imei}/records`, { limit: LIMIT });
    if (!answer.items.length) return empty('No records yet', 'What the device sends appears here, decoded field by field.');
    take(answer);
    return [list, el('div.row', {}, more)];
  });
}

function recordNode(record) {
  const fix = record.fix ?? record.satellites > 0;
  const summary = el('summary', {},
    el('b', {}, full(record.time)),
    (record.events ?? []).map(eventBadge),
    (record.sensor_faults ?? []).map((fault) => badge(`${fault.replaceAll('_', ' ')} faulty`, 'sensor_fault', 'cross')),
    el('span', { class: fix ? null : 'quiet' }, fix ? [coordinates(record.latitude, record.longitude), ', ', speed(record.speed_kmh)] : 'no satellite fix'),
    el('span.quiet', {}, `${number((record.io ?? []).length)} IO elements`));
  const node = el('details.record', {}, summary);
  // Made when it is opened: fifty records have thousands of cells.
  node.addEventListener('toggle', () => { if (node.open && node.childElementCount === 1) node.append(inside(record)); });
  return node;
}

function inside(record) {
  const typed = Object.entries({ ...record, ...record.typed }).filter(([key, value]) => !HEAD.has(key) && value !== null && value !== undefined && value !== '');
  const facts = [
    ['recorded', full(record.time)], ['received', full(record.received_at)],
    ['position', coordinates(record.latitude, record.longitude)], ['altitude', record.altitude_m === undefined ? null : `${number(record.altitude_m)} m`],
    ['heading', heading(record.angle_deg)], ['speed', speed(record.speed_kmh)], ['satellites', number(record.satellites)],
    ...typed.flatMap(([key, value]) => plainFacts(key, value)),
  ].filter(([, value]) => value !== null && value !== UNKNOWN);
  return el('div.record-inside', {},
    el('dl.facts', {}, facts.map(([key, value]) => [el('dt', {}, key.replaceAll('_', ' ')), el('dd', {}, value)])),
    record.io?.length ? ioTable(record.io) : el('p.quiet', {}, 'No IO elements.'));
}

// Units that end the names of typed columns.
const UNITS = [['_mv', ' mV'], ['_kmh', ' km/h'], ['_deg', '°'], ['_m', ' m'], ['_l', ' l'], ['_seconds', ' s'], ['_percent', ' %']];
const YES_NO = new Set(['ignition', 'movement', 'door']);

// A value of a record in words; lists as one fact per place.
function plainFacts(key, value) {
  if (Array.isArray(value)) return value.some((one) => one !== null) ? [[key, value.map((one) => (one === null ? UNKNOWN : typeof one === 'object' ? JSON.stringify(one) : String(one))).join(', ')]] : [];
  if (typeof value === 'object') return Object.entries(value).flatMap(([inner, one]) => (one === null ? [] : plainFacts(`${key} ${inner}`, one)));
  if (/^temperature_\d$/.test(key)) return [[key, temperature(value)]];
  if (/^humidity_\d$|^battery_level$/.test(key)) return [[key, percent(value)]];
  if (typeof value === 'boolean' || YES_NO.has(key)) return [[key, value ? 'yes' : 'no']];
  const unit = UNITS.find(([ending]) => key.endsWith(ending));
  return [unit ? [key.slice(0, -unit[0].length), `${value}${unit[1]}`] : [key, String(value)]];
}

function ioTable(io) {
  const hasBytes = io.some((one) => one.bytes);
  const rows = io.map((one) => el('tr', {},
    el('td.number', {}, String(one.avl_id)),
    el('td', {}, one.name ?? el('span.quiet', {}, 'not in the dictionary for this model')),
    el('td.number', {}, one.error ? el('span.bad', {}, one.error) : `${one.value ?? one.raw ?? UNKNOWN}${one.unit ? ` ${one.unit}` : ''}`),
    el('td.number.mono.quiet', {}, one.raw === null || one.raw === undefined ? '' : String(one.raw)),
    hasBytes && el('td.mono.quiet.bytes', {}, one.bytes ?? '')));
  const head = [['AVL id', 'number'], ['Name', ''], ['Value', 'number'], ['Raw', 'number'], hasBytes && ['Bytes', '']].filter(Boolean);
  return el('div.table-wrap.inner', { tabindex: 0, role: 'region', 'aria-label': 'IO elements' }, el('table.tight', {}, el('thead', {}, el('tr', {}, head.map(([name, kind]) => el('th', { scope: 'col', class: kind || null }, name)))), el('tbody', {}, rows)));
}
