// Users and what each may do where.
import * as api from '../api.js';
import { el, fill } from '../dom.js';
import { icon } from '../icons.js';
import { buttons, field, textIn, tick } from '../pages/form.js';
import { itemsOf } from '../pages/frame.js';
import { badge } from '../states.js';
import { ageNode, day } from '../time.js';
import { confirm, dialog, during, empty, load, table, toast } from '../ui.js';

const PASSWORD_MIN = 10;
export const ROLES = [['', 'nothing'], ['viewer', 'viewer: sees and exports'], ['manager', 'manager: changes assets and devices'], ['admin', 'admin: decides who else may']];

export function usersPanel(me, panel) {
  const list = el('div.column');
  const show = () => load(list, async () => {
    const users = await api.all('/users');
    if (!users.length) return empty('No users yet', 'Without any, only the command line gets in: trackport user add.');
    return table([
      { name: 'Name', cell: (one) => el('span.row', {}, el('b', {}, one.name), one.disabled ? badge('locked out', 'bad', 'cross') : null) },
      { name: 'May', cell: (one) => (one.is_admin ? badge('administrator: everything', 'note', 'diamond') : roles(one)) },
      { name: 'Last login', cell: (one) => ageNode(one.last_login_at) },
      { name: 'Added', cell: (one) => day(one.created_at) },
      { name: '', label: 'Actions', cell: (one) => el('span.row.actions', {},
        button('edit', `Edit ${one.name}`, () => editUser(me, one, show)),
        button('trash', `Remove ${one.name}`, (event) => during(event.currentTarget, () => removeUser(one, show)))) },
    ], users);
  }, { quiet: list.childElementCount > 0 });
  fill(panel, el('div.row.between', {}, el('p.quiet', {}, 'Who may log in. A user sees nothing until a role in a group is given.'), el('button.primary', { type: 'button', on: { click: () => addUser(me, show) } }, icon('plus'), 'Add user')), list);
  show();
}

const button = (name, label, act) => el('button.plain.icon-only', { type: 'button', title: label, 'aria-label': label, on: { click: act } }, icon(name));

function roles(user) {
  const list = user.groups;
  if (!list.length) return el('span.quiet', {}, 'nothing yet');
  return el('span', {}, list.map((one) => `${one.name}: ${one.role}`).join(', '));
}

function addUser(me, changed) {
  dialog('Add a user', [
    field({ name: 'name', label: 'Name', required: true, maxlength: 100, autocomplete: 'off' }),
    field({ name: 'password', label: 'First password', kind: 'password', minlength: PASSWORD_MIN, required: true, autocomplete: 'new-password', hint: `At least ${PASSWORD_MIN} characters. Tell it on another way than e-mail; it can be changed in the settings.` }),
    roleFields(me, null),
  ], buttons('Add'), async (data) => {
    const user = await api.post('/users', { name: textIn(data, 'name'), password: data.get('password'), is_admin: data.has('is_admin') });
    await setRoles(me, user.id, [], data);
    toast(`${textIn(data, 'name')} may log in.`, 'good');
    changed();
  });
}

function editUser(me, user, changed) {
  dialog(`User ${user.name}`, [
    field({ name: 'password', label: 'New password', kind: 'password', minlength: PASSWORD_MIN, autocomplete: 'new-password', hint: 'Left empty, it stays. A new one ends the logins with the old one.' }),
    tick({ name: 'disabled', label: 'Locked out', value: user.disabled, hint: 'May do nothing, and is logged out everywhere.' }),
    roleFields(me, user),
  ], buttons('Save'), async (data) => {
    const change = {};
    if (data.get('password')) change.password = data.get('password');
    if (data.has('disabled') !== user.disabled) change.disabled = data.has('disabled');
    if (data.has('is_admin') !== user.is_admin) change.is_admin = data.has('is_admin');
    if (Object.keys(change).length) await api.patch(`/users/${user.id}`, change);
    await setRoles(me, user.id, user.groups, data);
    toast(`${user.name} saved.`, 'good');
    changed();
  });
}

function roleFields(me, user) {
  const admin = tick({ name: 'is_admin', label: 'Administrator', value: user?.is_admin, hint: 'Sees and changes everything, this page included.' });
  const groups = el('div.grid', {}, me.groups.map((group) => field({ name: `group-${group.id}`, label: `In ${group.name}`, kind: 'select', value: (user?.groups ?? []).find((one) => one.id === group.id)?.role ?? '', options: ROLES })));
  const box = el('fieldset', {}, el('legend', {}, 'Roles'), admin, groups);
  const sync = () => { groups.hidden = admin.querySelector('input').checked; };
  admin.addEventListener('change', sync);
  sync();
  return box;
}

async function setRoles(me, user, before, data) {
  if (data.has('is_admin')) return;
  for (const group of me.groups) {
    const role = data.get(`group-${group.id}`) ?? '';
    const present = before.find((one) => one.id === group.id)?.role ?? '';
    if (role === present) continue;
    if (role) await api.put(`/groups/${group.id}/members/${user}`, { role });
    else await api.remove(`/groups/${group.id}/members/${user}`);
  }
}

async function removeUser(user, changed) {
  if (!await confirm(`Remove ${user.name}?`, 'Its logins and tokens end at once. What it did stays in the log of who did what. To keep it from logging in for a while, lock it out instead.', 'Remove')) return;
  await api.remove(`/users/${user.id}`);
  toast(`${user.name} is removed.`, 'good');
  changed();
}

// The members of a group, for who is admin of it.
export function membersBox(group) {
  const list = el('div.column');
  const show = () => load(list, async () => {
    const members = itemsOf(await api.get(`/groups/${group.id}/members`));
    if (!members.length) return el('p.quiet', {}, 'Nobody has a role in this group; administrators see it all the same.');
    return table([{ name: 'Name', cell: (one) => el('b', {}, one.name) }, { name: 'Role', cell: (one) => one.role }, { name: '', label: 'Actions', cell: (one) => el('button.slim', { type: 'button', 'aria-label': `Take out ${one.name}`, on: { click: (event) => during(event.currentTarget, async () => {
      await api.remove(`/groups/${group.id}/members/${one.user}`);
      show();
    }) } }, 'Take out') }], members, { tight: true });
  }, { lines: 2, quiet: list.childElementCount > 0 });
  show();
  return list;
}
