// Groups: owners of assets, each with its time zone and the parameters of its reports.
import * as api from '../api.js';
import { el, fill } from '../dom.js';
import { icon } from '../icons.js';
import { buttons, field, textIn } from '../pages/form.js';
import { manages } from '../pages/frame.js';
import { parameterWords } from '../reports/parameters.js';
import { confirm, dialog, during, empty, load, toast } from '../ui.js';
import { count } from '../units.js';
import { parameterFields, parametersIn } from './parameters.js';
import { membersBox } from './users.js';

const ZONES = typeof Intl.supportedValuesOf === 'function' ? Intl.supportedValuesOf('timeZone') : ['UTC'];
// Of a group's answer, what its reports go by.
const PARAMETER = /^(trip_|stop_min|gap_max|believable_|temperature_|excursion_)/;

export function groupsPanel(me, panel) {
  const list = el('div.column');
  const show = () => load(list, async () => {
    const groups = await api.all('/groups');
    if (!groups.length) return empty('No group', 'You have a role in no group yet. Who runs this server can give you one.');
    return groups.map((group) => card(me, group, show));
  }, { quiet: list.childElementCount > 0 });
  fill(panel, el('div.row.between', {}, el('p.quiet', {}, 'A group has assets, those who see them, a time zone, and the parameters of its reports.'), me.is_admin && el('button.primary', { type: 'button', on: { click: () => editGroup(null, show) } }, icon('plus'), 'Add group')), list);
  show();
}

function card(me, group, changed) {
  const role = me.groups.find((one) => one.id === group.id)?.role;
  const parameters = parameterWords(Object.fromEntries(Object.entries(group).filter(([key]) => PARAMETER.test(key))));
  const members = (me.is_admin || role === 'admin') && el('details', {}, el('summary', {}, 'Who may see it'));
  members?.addEventListener?.('toggle', () => { if (members.open && members.childElementCount === 1) members.append(membersBox(group)); });
  return el('section.card.column', {},
    el('div.row.between', {}, el('div', {}, el('h2', {}, group.name), el('p.quiet', {}, `${group.time_zone}${group.n_assets === undefined ? '' : `, ${count(group.n_assets, 'asset')}`}`)),
      manages(me, group.id) && el('div.row', {},
        el('button', { type: 'button', 'aria-label': `Edit ${group.name}`, on: { click: () => editGroup(group, changed) } }, icon('edit'), 'Edit'),
        me.is_admin && group.id !== 1 && el('button.plain.icon-only', { type: 'button', 'aria-label': `Remove ${group.name}`, on: { click: (event) => during(event.currentTarget, () => removeGroup(group, changed)) } }, icon('trash')))),
    group.note && el('p', {}, group.note),
    el('p.quiet', {}, `Reports: ${parameters.join(', ')}.`),
    members);
}

function editGroup(group, changed) {
  dialog(group ? `Group ${group.name}` : 'Add a group', [
    el('div.grid', {},
      field({ name: 'name', label: 'Name', value: group?.name, required: true, maxlength: 200, autocomplete: 'off' }),
      field({ name: 'time_zone', label: 'Time zone', value: group?.time_zone ?? Intl.DateTimeFormat().resolvedOptions().timeZone, required: true, options: ZONES, autocomplete: 'off', hint: 'The days of its reports are days there.' })),
    field({ name: 'note', label: 'Note', value: group?.note, kind: 'textarea', rows: 2 }),
    group ? el('fieldset', {}, el('legend', {}, 'Parameters of its reports'), parameterFields(group)) : null,
  ], buttons(group ? 'Save' : 'Add'), async (data) => {
    const values = { name: textIn(data, 'name'), time_zone: textIn(data, 'time_zone'), note: textIn(data, 'note') };
    if (group) {
      const change = parametersIn(data, group);
      for (const [key, value] of Object.entries(values)) if ((value ?? null) !== (group[key] ?? null)) change[key] = value;
      if (Object.keys(change).length) await api.patch(`/groups/${group.id}`, change);
    } else {
      await api.post('/groups', Object.fromEntries(Object.entries(values).filter(([, value]) => value !== null)));
    }
    toast(`${values.name} saved.`, 'good');
    changed();
  }).classList.add('wide');
}

async function removeGroup(group, changed) {
  if (!await confirm(`Remove ${group.name}?`, 'Only a group without assets can be removed. Roles in it end.', 'Remove')) return;
  await api.remove(`/groups/${group.id}`);
  toast(`${group.name} is removed.`, 'good');
  changed();
}
