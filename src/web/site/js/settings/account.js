// My account: the password, and tokens for programs.
import * as api from '../api.js';
import { el, fill } from '../dom.js';
import { icon } from '../icons.js';
import { buttons, field, textIn, tick } from '../pages/form.js';
import { itemsOf } from '../pages/frame.js';
import { badge } from '../states.js';
import { ageNode, day } from '../time.js';
import { confirm, dialog, during, empty, load, notice, table } from '../ui.js';

// Characters that a password has at least.
const PASSWORD_MIN = 10;
const LIFETIMES = [['', 'until it is revoked'], ['30', '30 days'], ['90', '90 days'], ['365', 'a year']];

export function accountPanel(me, panel) {
  if (me.name === null) {
    fill(panel, el('div.card', {}, el('h2', {}, 'Open access'), el('p', {}, 'Nobody logs in here: the server is reached from its own machine only, and whoever reaches it may do everything. To have accounts, set ', el('code', {}, 'access = "login"'), ' in the section [http] of its configuration.')));
    return;
  }
  const tokens = el('div.column');
  fill(panel, passwordCard(me), el('section.column', {}, el('div.row.between', {}, el('div', {}, el('h2', {}, 'Tokens'), el('p.quiet', {}, 'What programs show instead of a password. A token may what you may.')), el('button', { type: 'button', on: { click: () => newToken(tokens) } }, icon('plus'), 'New token')), tokens));
  showTokens(tokens);
}

function passwordCard(me) {
  const said = el('div', { role: 'alert' });
  const form = el('form.card.stack.narrow-card', {}, el('h2', {}, 'Password'),
    el('input.visually-hidden', { type: 'text', name: 'username', autocomplete: 'username', value: me.name, tabindex: -1, 'aria-hidden': 'true', readonly: true }),
    field({ name: 'present', label: 'Present password', kind: 'password', required: true, autocomplete: 'current-password' }),
    field({ name: 'password', label: 'New password', kind: 'password', required: true, minlength: PASSWORD_MIN, autocomplete: 'new-password', hint: `At least ${PASSWORD_MIN} characters; a few words are easier to remember than signs.` }),
    field({ name: 'again', label: 'New password again', kind: 'password', required: true, autocomplete: 'new-password' }),
    el('p.quiet.small', {}, 'You log in anew afterwards, here and wherever else you are logged in.'),
    said, el('div.row', {}, el('button.primary', { type: 'submit' }, 'Change password')));
  form.addEventListener('submit', (event) => {
    event.preventDefault();
    fill(said);
    const data = new FormData(form);
    if (data.get('password') !== data.get('again')) {
      fill(said, notice('bad', 'The two new passwords differ.'));
      return;
    }
    during(form.querySelector('[type=submit]'), async () => {
      try {
        await api.patch(`/users/${me.id}`, { password: data.get('password'), current_password: data.get('present') });
        location.assign('/login?next=%2Fsettings');
      } catch (error) {
        fill(said, notice('bad', error.message.startsWith('current_password') ? 'The present password is another one.' : error.message));
      }
    });
  });
  return form;
}

function showTokens(place) {
  load(place, async () => {
    const tokens = itemsOf(await api.get('/tokens'));
    if (!tokens.length) return empty('No tokens', 'Make one for a program that asks this server, for example Grafana or a script.');
    return table([
      { name: 'Name', cell: (one) => el('b', {}, one.name) },
      { name: 'May', cell: (one) => (one.scope === 'write' ? 'read and change' : 'read') },
      { name: 'Made', cell: (one) => day(one.created_at) },
      { name: 'Last used', cell: (one) => ageNode(one.last_used_at) },
      { name: 'Until', cell: (one) => (one.revoked_at ? badge('revoked', 'offline', 'dash') : one.expires_at ? day(one.expires_at) : 'no end') },
      { name: '', label: 'Actions', cell: (one) => (one.revoked_at ? null : el('button.slim', { type: 'button', 'aria-label': `Revoke ${one.name}`, on: { click: (event) => during(event.currentTarget, async () => {
        if (!await confirm(`Revoke ${one.name}?`, 'The program that uses this token is turned away from now on. This cannot be undone.', 'Revoke')) return;
        await api.remove(`/tokens/${one.id}`);
        showTokens(place);
      }) } }, 'Revoke')) },
    ], tokens, { tight: true });
  }, { quiet: place.childElementCount > 0 });
}

function newToken(place) {
  dialog('New token', [
    field({ name: 'name', label: 'What it is for', required: true, maxlength: 100, autocomplete: 'off', placeholder: 'Grafana' }),
    field({ name: 'days', label: 'Holds', kind: 'select', options: LIFETIMES, value: '365' }),
    tick({ name: 'may_write', label: 'May also change things', hint: 'Else it only reads.' }),
  ], buttons('Make'), async (data) => {
    const body = { name: textIn(data, 'name'), scope: data.has('may_write') ? 'write' : 'read' };
    if (data.get('days')) body.expires_at = new Date(Date.now() + Number(data.get('days')) * 86_400_000).toISOString();
    const answer = await api.post('/tokens', body);
    showTokens(place);
    showSecret({ name: body.name, token: answer.token });
  });
}

// It is said once: the server keeps its digest only.
function showSecret({ name, token }) {
  const input = el('input.mono', { type: 'text', readonly: true, value: token, 'aria-label': 'Token' });
  const copy = el('button.primary', { type: 'button', on: { click: async () => {
    input.select();
    try {
      await navigator.clipboard.writeText(token);
      copy.lastChild.textContent = 'Copied';
    } catch {
      copy.lastChild.textContent = 'Press Ctrl+C';
    }
  } } }, icon('copy'), 'Copy');
  dialog(`Token ${name}`, [el('p', {}, 'Copy it now: it is shown this once only.'), el('div.password-row', {}, input, copy), el('p.quiet.small', {}, 'A program sends it as ', el('code', {}, 'Authorization: Bearer TOKEN'), '.')], [el('button', { type: 'button', on: { click: (event) => event.target.closest('dialog').close() } }, 'I have it')]);
  input.select();
}
