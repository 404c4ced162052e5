// The assets: vehicles, trailers, machines and boxes, whatever device tracks them.
import * as api from '../api.js';
import { afterPause, el, fill } from '../dom.js';
import { icon } from '../icons.js';
import { read, write } from '../pages/address.js';
import { groupName, head, managed, manages } from '../pages/frame.js';
import { start } from '../shell.js';
import { KINDS, STATES, badge, flagBadge, stateBadge } from '../states.js';
import { ageNode } from '../time.js';
import { during, empty, load, pager, searchField, table } from '../ui.js';
import { temperature } from '../units.js';
import { editAsset, fitDevice, retire } from './edit.js';

const DEFAULTS = { search: '', group: '', state: '', kind: '', retired: '', sort: 'name', page: '1' };
const PER_PAGE = 50;

const { me, main } = await start('assets', 'Assets');
let asked = read(DEFAULTS);
const list = el('div.column');
const search = searchField('Search name, IMEI', asked.search, afterPause(250, (text) => ask({ search: text.trim(), page: '1' })));
const choices = [
  choose('group', 'All groups', me.groups.map((group) => [group.id, group.name])),
  choose('state', 'All states', Object.entries(STATES).map(([key, state]) => [key, state.name])),
  choose('kind', 'All kinds', KINDS.map((kind) => [kind, kind])),
];
const retired = el('label.check', {}, el('input', { type: 'checkbox', checked: asked.retired === 'true', on: { change: (event) => ask({ retired: event.target.checked ? 'true' : '', page: '1' }) } }), el('span', {}, 'Retired ones'));
fill(main, head('Assets', 'What is tracked. A tracker may be replaced; the asset and its past stay.', managed(me).length > 0 && el('button.primary', { type: 'button', on: { click: () => editAsset(me, null, refresh) } }, icon('plus'), 'Add asset')),
  el('div.row.filters', {}, search, choices, retired), list);

function choose(key, all, options) {
  if (key === 'group' && options.length < 2) return null;
  const node = el('select', { 'aria-label': all.replace('All ', ''), on: { change: () => ask({ [key]: node.value, page: '1' }) } }, [['', all], ...options].map(([value, text]) => el('option', { value: String(value) }, text)));
  node.value = asked[key];
  return el('div.choose', { dataset: { key } }, node);
}

function ask(change, push = false) {
  asked = { ...asked, ...change };
  write(asked, DEFAULTS, push);
  showList();
}

function showList(quiet = false) {
  return load(list, async () => {
    const answer = await api.get('/assets', { ...asked, per_page: PER_PAGE });
    if (!answer.items.length) return nothing();
    return [table(columns(), answer.items, { sorting: { key: asked.sort, change: (sort) => ask({ sort, page: '1' }) }, rowProps: (one) => (one.retired_at ? { class: 'retired' } : {}) }), pager(answer, (page) => { ask({ page: String(page) }, true); scrollTo({ top: 0 }); })];
  }, { lines: 8, quiet });
}

const refresh = () => showList(true);

function nothing() {
  const filtered = ['search', 'group', 'state', 'kind', 'retired'].some((key) => asked[key]);
  if (filtered) return empty('No such asset', 'No asset is like this search and filter.', el('button', { type: 'button', on: { click: () => location.assign('/assets') } }, 'Show all'));
  return empty('No assets yet', me.is_admin ? 'Every device that is accepted gets an asset of its own; so accept a device first.' : 'You are in no group that has assets. Who runs this server can change that.', me.is_admin && el('a.button.primary', { href: '/devices' }, 'To the devices'));
}

function columns() {
  return [
    { name: 'Asset', sort: 'name', cell: (one) => el('div', {}, el('a', { href: `/asset/${one.id}` }, one.name), el('div.quiet.small', {}, one.kind, one.retired_at ? [', retired ', ageNode(one.retired_at)] : null)) },
    me.groups.length > 1 && { name: 'Group', sort: 'group', cell: (one) => groupName(me, one.group) },
    { name: 'State', sort: 'state', cell: (one) => (one.retired_at ? badge('retired', 'offline', 'dash') : el('span.row', {}, one.state ? stateBadge(one.state) : null, (one.flags ?? []).map(flagBadge))) },
    { name: 'Newest record', sort: 'time', cell: (one) => ageNode(one.time, one.group) },
    { name: 'Limits', cell: limits },
    { name: 'Device', cell: (one) => (one.imei ? el('div', {}, el('a.imei', { href: `/device/${one.imei}` }, one.imei), one.model && el('div.quiet.small', {}, one.model)) : el('span.quiet', {}, 'none fitted')) },
    { name: 'Note', cell: (one) => (one.note ? el('span.quiet.remark', {}, one.note) : '') },
    { name: '', label: 'Actions', cell: (one) => (manages(me, one.group) ? actions(one) : null) },
  ].filter(Boolean);
}

function limits(one) {
  const own = (value) => (value === null || value === undefined ? null : temperature(value));
  const [low, high] = [own(one.temperature_min), own(one.temperature_max)];
  if (!low && !high) return el('span.quiet', {}, 'as its group');
  return low && high ? `${low} to ${high}` : low ? `from ${low}` : `up to ${high}`;
}

function actions(one) {
  const button = (name, label, act) => el('button.plain.icon-only', { type: 'button', title: label, 'aria-label': `${label}: ${one.name}`, on: { click: act } }, icon(name));
  return el('span.row.actions', {},
    button('edit', 'Edit', () => editAsset(me, one, refresh)),
    button('device', 'Fit a device', () => fitDevice(one, refresh)),
    button(one.retired_at ? 'refresh' : 'trash', one.retired_at ? 'Take back into use' : 'Retire', (event) => during(event.currentTarget, () => retire(one, refresh))));
}

window.addEventListener('popstate', () => location.reload());
window.addEventListener('zone', refresh);
showList();
