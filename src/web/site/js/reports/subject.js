// Whose report it is: all assets, a group's, or some assets that are searched for and put together.
import * as api from '../api.js';
import { afterPause, el, fill } from '../dom.js';
import { icon } from '../icons.js';
import { itemsOf } from '../pages/frame.js';

// The two fields; writes `asked.group` and `asked.asset` (ids with commas) and tells `changed`
// the groups of the chosen assets.
export function pickSubject(me, asked, changed) {
  // Assets by their number: name, and group where it is known.
  const chosen = new Map();
  const groups = () => [...new Set([...chosen.values()].map((one) => one.group).filter(Boolean))];
  const group = el('select', { id: 'group', on: { change: () => { asked.group = group.value; changed(groups()); } } }, el('option', { value: '' }, me.groups.length > 1 || me.is_admin ? 'All groups' : 'All assets'), me.groups.map((one) => el('option', { value: String(one.id) }, one.name)));
  group.value = asked.group;
  const chips = el('div.chips');
  const offers = el('ul.offers', { hidden: true });
  const search = el('input', { type: 'search', id: 'asset-search', placeholder: 'All; or search to choose some', autocomplete: 'off', on: { input: afterPause(200, offer) } });
  const keep = () => {
    asked.asset = [...chosen.keys()].join(',');
    fill(chips, [...chosen].map(([id, { name }]) => el('button.chip', { type: 'button', 'aria-label': `Leave out ${name}`, on: { click: () => { chosen.delete(id); keep(); search.focus(); } } }, name, icon('close'))));
    changed(groups());
  };
  async function offer() {
    const text = search.value.trim();
    if (!text) { offers.hidden = true; return; }
    try {
      const found = itemsOf(await api.get('/assets', { search: text, group: asked.group, per_page: 8 })).filter((one) => !chosen.has(one.id));
      if (search.value.trim() !== text) return;
      fill(offers, found.length ? found.map((one) => el('li', {}, el('button.plain', { type: 'button', on: { click: () => { chosen.set(one.id, one); search.value = ''; offers.hidden = true; keep(); search.focus(); } } }, one.name, el('span.quiet.small', {}, one.kind)))) : el('li.quiet', {}, 'No such asset.'));
      offers.hidden = false;
    } catch {
      offers.hidden = true;
    }
  }
  const box = el('div.offer-box', {}, search, offers);
  box.addEventListener('keydown', (event) => {
    if (event.key === 'Escape') offers.hidden = true;
    if (event.key === 'Enter' && event.target === search && search.value.trim()) {
      event.preventDefault();
      offers.querySelector('button')?.click();
    }
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (!step) return;
    const stops = [search, ...offers.querySelectorAll('button')];
    event.preventDefault();
    stops[(stops.indexOf(document.activeElement) + step + stops.length) % stops.length].focus();
  });
  document.addEventListener('click', (event) => { if (!box.contains(event.target)) offers.hidden = true; });
  restore(asked, chosen, keep);
  return [el('div.field', {}, el('label', { for: 'group' }, 'Group'), group), el('div.field', {}, el('label', { for: 'asset-search' }, 'Assets'), box, chips)];
}

// The address has ids; names come from the server.
async function restore(asked, chosen, keep) {
  const ids = asked.asset.split(',').filter((id) => /^\d+$/.test(id)).slice(0, 50);
  if (!ids.length) return;
  for (const id of ids) chosen.set(Number(id), { name: `asset ${id}` });
  keep();
  await Promise.all(ids.map(async (id) => {
    try {
      chosen.set(Number(id), await api.get(`/assets/${id}`));
    } catch {
      // It keeps its number; the report itself says what is not there.
    }
  }));
  keep();
}
