// Who did what: logins, acceptances, changes and exports.
import * as api from '../api.js';
import { afterPause, el, fill } from '../dom.js';
import { badge } from '../states.js';
import { full } from '../time.js';
import { empty, load, pager, searchField, table } from '../ui.js';

export function auditPanel(panel) {
  const list = el('div.column');
  const asked = { user: '', action: '', page: 1 };
  const show = () => load(list, async () => {
    const answer = await api.get('/audit', { ...asked, per_page: 50 });
    if (!answer.items.length) return empty('Nothing is noted', asked.user || asked.action ? 'Nobody did such a thing.' : 'Logins, changes and exports are noted here.');
    return [table([
      { name: 'When', cell: (one) => el('span.nowrap', {}, full(one.at)) },
      { name: 'Who', cell: (one) => el('b', {}, one.user_name ?? (one.address ? 'nobody' : 'command line')) },
      { name: 'Did', cell: (one) => badge(String(one.action).replaceAll('_', ' '), /fail|refus|remov|delet/.test(one.action) ? 'warn' : 'note', 'dot') },
      { name: 'What', cell: (one) => el('span.remark', {}, what(one.what)) },
      { name: 'From', cell: (one) => one.address ?? '' },
    ], answer.items, { tight: true }), pager(answer, (page) => { asked.page = page; show(); })];
  }, { lines: 8, quiet: list.childElementCount > 0 });
  const search = (label, key) => searchField(label, '', afterPause(250, (text) => { asked[key] = text.trim(); asked.page = 1; show(); }));
  fill(panel, el('div.row.filters', {}, search('Name of a user', 'user'), search('Action, for example login', 'action')), list);
  show();
}

// An object in words: "device: 3563…, name: Van 7".
function what(value) {
  if (value === null || value === undefined) return '';
  if (typeof value !== 'object') return String(value);
  if (Array.isArray(value)) return value.map(what).join(', ');
  return Object.entries(value).map(([key, one]) => `${key.replaceAll('_', ' ')}: ${one === null ? '–' : typeof one === 'object' ? `(${what(one)})` : one}`).join(', ');
}
