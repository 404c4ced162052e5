// The devices: who waits at the door, then the list with search, filter by state, sorting and pages.
import * as api from '../api.js';
import { afterPause, el, fill } from '../dom.js';
import { icon } from '../icons.js';
import { read, write } from '../pages/address.js';
import { csvCell, head, manages, save } from '../pages/frame.js';
import { start } from '../shell.js';
import { badge, deviceBadge } from '../states.js';
import { ageNode } from '../time.js';
import { during, empty, load, pager, searchField, table } from '../ui.js';
import { number } from '../units.js';
import { addOne, importSheet } from './add.js';
import { editDevice, nameCell } from './edit.js';
import { modelCell } from './models.js';
import { attempts, waitingBox } from './waiting.js';

const DEFAULTS = { search: '', state: '', sort: 'name', page: '1' };
// What is shown before anybody filters.
const STATES = [['', 'All'], ['accepted', 'Accepted'], ['pending', 'Pending'], ['refused', 'Refused'], ['removed', 'Removed']];
const PER_PAGE = 50;
// The columns that `trackport device import` and the import of this page read.
const CSV_COLUMNS = ['imei', 'name', 'model', 'firmware', 'phone', 'iccid', 'note', 'state', 'attributes'];

const { me, main } = await start('devices', 'Devices');
let asked = read(DEFAULTS);
const door = el('div');
const list = el('div.column');
const chips = el('div.chips', { role: 'group', 'aria-label': 'State' });
const search = searchField('Search name, IMEI, model', asked.search, afterPause(250, (text) => ask({ search: text.trim(), page: '1' })));

const actions = [
  el('button', { type: 'button', on: { click: (event) => during(event.currentTarget, exportCsv) } }, icon('download'), 'Export CSV'),
  me.is_admin && el('button', { type: 'button', on: { click: () => importSheet(refresh) } }, icon('upload'), 'Import CSV'),
  me.is_admin && el('button.primary', { type: 'button', on: { click: () => addOne(refresh) } }, icon('plus'), 'Add device'),
];
fill(main, head('Devices', 'Trackers that this server knows, and those that would like to be let in.', actions), door, el('div.row.filters', {}, search, chips), list);

function ask(change, push = false) {
  asked = { ...asked, ...change };
  write(asked, DEFAULTS, push);
  showChips();
  showList();
}

function showChips() {
  fill(chips, STATES.map(([key, name]) => el('button.chip', { type: 'button', 'aria-pressed': String(asked.state === key), on: { click: () => ask({ state: key, page: '1' }) } }, name)));
}

function showList(quiet = false) {
  return load(list, async () => {
    const answer = await api.get('/devices', { ...asked, per_page: PER_PAGE });
    if (!answer.items.length) return nothing();
    return [table(columns(), answer.items, { sorting: { key: asked.sort, change: (sort) => ask({ sort, page: '1' }) } }), pager(answer, (page) => { ask({ page: String(page) }, true); scrollTo({ top: 0 }); })];
  }, { lines: 8, quiet });
}

function nothing() {
  if (asked.search || asked.state) {
    return empty('No such device', 'No device is like this search and filter.', el('button', { type: 'button', on: { click: () => { search.querySelector('input').value = ''; ask({ ...DEFAULTS }); } } }, 'Show all'));
  }
  return empty('No devices yet', me.is_admin ? 'Add one by its IMEI, import a list, or set a tracker to this server: it then waits here to be accepted.' : 'No device is fitted to an asset of your groups.', me.is_admin && el('button.primary', { type: 'button', on: { click: () => addOne(refresh) } }, icon('plus'), 'Add device'));
}

function columns() {
  return [
    { name: 'Device', sort: 'name', cell: (one) => nameCell(one, mayEdit(one), refresh) },
    { name: 'State', sort: 'state', cell: (one) => deviceBadge(one.state) },
    { name: 'Model', sort: 'model', cell: (one) => (mayEdit(one) ? modelCell(one, refresh) : one.model ?? '–') },
    { name: 'Asset', cell: (one) => (one.asset ? el('a', { href: `/asset/${one.asset.id}` }, one.asset.name) : el('span.quiet', {}, '–')) },
    { name: 'Last contact', sort: 'last_contact_at', cell: (one) => (one.state === 'accepted' && one.connected ? el('span.contact', {}, badge('online', 'good', 'dot'), ageNode(one.last_contact_at)) : ageNode(one.last_contact_at)) },
    { name: 'Remark', cell: remark },
    { name: '', label: 'Actions', cell: (one) => (mayEdit(one) ? el('button.plain.icon-only', { type: 'button', 'aria-label': `Edit ${one.name ?? one.imei}`, on: { click: () => editDevice(one, refresh) } }, icon('edit')) : null) },
  ];
}

function remark(one) {
  const parts = [];
  if (one.last_error) parts.push(el('span.bad', {}, one.last_error));
  if (one.login_attempts > 0 && one.state !== 'accepted') parts.push(`turned away ${number(one.login_attempts)} times`);
  if (one.sends_before_ack_at) parts.push('ACK type is not AVL');
  if (one.note) parts.push(el('span.quiet', {}, one.note));
  return parts.length ? el('div.remark', {}, parts.map((part) => el('div', {}, part))) : '';
}

const mayEdit = (one) => me.is_admin || (one.asset && manages(me, one.asset.group));

async function showDoor() {
  if (!me.is_admin) return;
  try {
    fill(door, waitingBox(await attempts(), refresh));
  } catch {
    // The list below says what is wrong; the door comes with the next look.
    fill(door);
  }
}

function refresh() {
  showDoor();
  return showList(true);
}

async function exportCsv() {
  const devices = await api.all('/devices', { search: asked.search, state: asked.state, sort: asked.sort });
  const cell = (device, key) => (key === 'attributes' ? (Object.keys(device.attributes ?? {}).length ? JSON.stringify(device.attributes) : '') : device[key]);
  const lines = [CSV_COLUMNS, ...devices.map((device) => CSV_COLUMNS.map((key) => cell(device, key)))];
  save('devices.csv', 'text/csv', `${lines.map((line) => line.map(csvCell).join(',')).join('\r\n')}\r\n`);
}

window.addEventListener('popstate', () => { asked = read(DEFAULTS); search.querySelector('input').value = asked.search; showChips(); showList(); });
window.addEventListener('zone', () => showList(true));
// Who comes to the door is shown without reloading; the list is not, because somebody may be typing in it.
setInterval(() => { if (!document.hidden) showDoor(); }, 10_000);
showChips();
showDoor();
showList();
