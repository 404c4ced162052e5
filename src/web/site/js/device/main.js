// One device: what is known of it, what it sent, what is held back, where it was fitted.
import * as api from '../api.js';
import { el, fill } from '../dom.js';
import { icon } from '../icons.js';
import { editDevice } from '../devices/edit.js';
import { chooseModel } from '../devices/models.js';
import { buttons, field, textIn } from '../pages/form.js';
import { head, manages } from '../pages/frame.js';
import { start } from '../shell.js';
import { badge, deviceBadge } from '../states.js';
import { ageNode, full } from '../time.js';
import { dialog, during, empty, load, notice, table, tabs, toast } from '../ui.js';
import { number } from '../units.js';
import { quarantinePanel } from './quarantine.js';
import { recordsPanel } from './records.js';

const imei = decodeURIComponent(location.pathname.split('/')[2] ?? '');
const { me, main } = await start('devices', `Device ${imei}`);
const top = el('div.column');
const recompute = el('div');
const below = el('div');
fill(main, top, recompute, below);
let recomputing = 0;

await show();
const list = [
  { key: 'records', name: 'Records', show: (panel) => recordsPanel(imei, panel) },
  { key: 'quarantine', name: 'Quarantine', show: (panel) => quarantinePanel(imei, panel) },
  { key: 'fittings', name: 'Fittings', show: fittingsPanel },
];
const wanted = () => list.find((one) => one.key === location.hash.slice(1))?.key ?? list[0].key;
const bar = tabs(list, wanted(), (key) => history.replaceState(null, '', `#${key}`));
fill(below, bar);
window.addEventListener('hashchange', () => bar.choose(wanted()));

function show() {
  watchRecompute();
  return load(top, async () => {
    const device = await api.get(`/devices/${imei}`);
    document.title = `${device.name ?? imei} – trackport`;
    const may = me.is_admin || (device.asset && manages(me, device.asset.group));
    return [
      head(device.name ?? device.imei, null,
        may && device.state === 'pending' && el('button.primary', { type: 'button', on: { click: (event) => during(event.currentTarget, () => accept()) } }, icon('check'), 'Accept'),
        may && el('button', { type: 'button', on: { click: () => editDevice(device, show) } }, icon('edit'), 'Edit'),
        may && el('button', { type: 'button', on: { click: () => replace(device) } }, icon('refresh'), 'Replace')),
      remarks(device, may),
      el('div.card', {}, el('dl.facts.two', {}, facts(device).map(([name, value]) => el('div', {}, el('dt', {}, name), el('dd', {}, value ?? '–'))))),
    ];
  }, { lines: 6 });
}

function facts(device) {
  return [
    ['IMEI', el('span.imei', {}, device.imei)],
    ['State', el('span.row', {}, deviceBadge(device.state), device.state === 'accepted' ? (device.connected ? badge('online', 'good', 'dot') : badge('not connected', 'offline', 'ring')) : null)],
    ['Model', device.model ?? (device.suggested_model ? `not set; looks like ${device.suggested_model}` : 'not set')],
    ['Asset', device.asset ? el('a', { href: `/asset/${device.asset.id}` }, device.asset.name) : 'not fitted'],
    ['Last contact', ageNode(device.last_contact_at)],
    ['Last login', ageNode(device.last_login_at)],
    ['Came from', device.address ? `${device.address}${device.port ? ` to port ${device.port}` : ''}` : null],
    ['Newest record', device.latest_time ? ageNode(device.latest_time) : null],
    ['Firmware', device.firmware], ['Phone number', device.phone], ['ICCID', device.iccid],
    ['Added', device.created_at ? full(device.created_at) : null],
    ['Note', device.note],
    ...Object.entries(device.attributes ?? {}).map(([name, value]) => [name, typeof value === 'string' ? value : JSON.stringify(value)]),
  ].filter(([, value]) => value !== null && value !== undefined && value !== '');
}

// What somebody should do about this device, the gravest first.
function remarks(device, may) {
  const list = [];
  const button = (text, act) => may && el('button.slim', { type: 'button', on: { click: act } }, text);
  if (device.last_error) list.push(notice('bad', el('b', {}, 'Last error: '), device.last_error));
  if (device.sends_before_ack_at) list.push(notice('warn', 'It sends packets before the last one is acknowledged, and so loses records when the line breaks. Set "ACK type" (server settings in the configurator) to AVL. Seen ', ageNode(device.sends_before_ack_at), '.'));
  if (!device.model && device.state === 'accepted') {
    const several = device.fitting_models ?? [];
    list.push(notice('warn', el('div.row', {}, el('span', {}, device.suggested_model ? `No model is set; what it sends looks like ${device.suggested_model}.` : `No model is set: IO elements that depend on the model have no name.${several.length > 1 ? ` What it sends fits ${several.slice(0, 6).join(', ')}${several.length > 6 ? ' and others' : ''}.` : ''}`), button(device.suggested_model ? `Confirm ${device.suggested_model}` : 'Set model', () => chooseModel(device, show)))));
  }
  if (!checkDigitRight(device.imei)) list.push(notice('warn', 'The check digit of the IMEI is wrong. Is it typed as it stands on the device?'));
  if (device.login_attempts > 0 && device.state !== 'accepted') list.push(notice('note', `It was turned away ${number(device.login_attempts)} times.`));
  return list;
}

// The Luhn digit that the fifteenth one is.
function checkDigitRight(digits) {
  if (!/^\d{15}$/.test(digits)) return false;
  const sum = [...digits].reduce((total, digit, i) => {
    const doubled = Number(digit) * (i % 2 ? 2 : 1);
    return total + (doubled > 9 ? doubled - 9 : doubled);
  }, 0);
  return sum % 10 === 0;
}

async function accept() {
  await api.post('/devices/accept', { imeis: [imei] });
  toast('Accepted: let in at its next login.', 'good');
  await show();
}

function replace(device) {
  dialog(`Replace ${device.name ?? imei}`, [
    el('p', {}, `Another tracker takes this one's place in ${device.asset?.name ?? 'its asset'}: reports and tracks go on with it, and what was recorded stays. This device is fitted to nothing afterwards.`),
    field({ name: 'new', label: 'IMEI of the new device', required: true, inputmode: 'numeric', pattern: '\\s*[0-9]{15}\\s*', title: '15 digits', autocomplete: 'off', hint: 'It is accepted, and added where it is not known yet.' }),
  ], buttons('Replace'), async (data) => {
    const other = textIn(data, 'new');
    await api.post(`/devices/${imei}/replace`, { new: other });
    toast(`${other} has taken the place of ${imei}.`, 'good');
    location.assign(`/device/${other}`);
  });
}

// The progress of reading anew what is stored, as long as there is some.
async function watchRecompute() {
  clearTimeout(recomputing);
  let state;
  try {
    state = await api.get(`/devices/${imei}/recompute`);
  } catch {
    fill(recompute);
    return;
  }
  const { n_total: total = 0, n_done: done = 0 } = state;
  if (state.state !== 'running' && state.state !== 'waiting') {
    fill(recompute);
    return;
  }
  const share = total > 0 ? Math.min(1, done / total) : 0;
  fill(recompute, el('div.card', { role: 'status' }, el('div.row.between', {}, el('b', {}, 'Reading anew what is stored, for the new model'), el('span.quiet', {}, total ? `${number(done)} of ${number(total)} records, ${number(state.n_changed)} changed` : 'begins soon')),
    el('div.progress', { role: 'progressbar', 'aria-label': 'Reading anew', 'aria-valuemin': 0, 'aria-valuemax': 100, 'aria-valuenow': Math.round(share * 100) }, el('i', { style: { width: `${share * 100}%` } }))));
  recomputing = setTimeout(watchRecompute, 2000);
}

function fittingsPanel(panel) {
  load(panel, async () => {
    const device = await api.get(`/devices/${imei}`);
    const { fittings } = device;
    if (!fittings.length) return empty('Never fitted', 'This device was not in any asset yet. It is fitted to one from the list of assets.');
    return table([
      { name: 'Asset', cell: ({ asset }) => el('a', { href: `/asset/${asset.id}` }, asset.name) },
      { name: 'Fitted', cell: (one) => (one.fitted_at ? full(one.fitted_at) : 'from the beginning') },
      { name: 'Removed', cell: (one) => (one.removed_at ? full(one.removed_at) : badge('fitted now', 'good', 'check')) },
    ], fittings);
  });
}
