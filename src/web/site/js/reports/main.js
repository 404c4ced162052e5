// Reports: which, of what, of which time; then the result, its files, and an address that shows it again.
import * as api from '../api.js';
import { el, fill } from '../dom.js';
import { icon } from '../icons.js';
import { read, write } from '../pages/address.js';
import { head, itemsOf } from '../pages/frame.js';
import { start } from '../shell.js';
import { empty, failed, skeleton } from '../ui.js';
import { resultNodes } from './result.js';
import { PRESETS, dayBegin, dayOf, spanOf } from './span.js';
import { pickSubject } from './subject.js';

const DEFAULTS = { report: '', preset: 'yesterday', from: '', to: '', group: '', asset: '' };
// Seconds after which a running report says that it takes long.
const LONG_S = 4;

const { me, main } = await start('reports', 'Reports');
const asked = read(DEFAULTS);
const form = el('form.card.report-form', { 'aria-label': 'What to report' });
const about = el('p.quiet.report-about');
const files = el('div.row.no-print');
const result = el('div.column.report-result', { 'aria-live': 'polite' });
let reports = [];
let running = null;
// Groups that have assets, and those of the assets that were chosen one by one.
let inUse = [];
let groupsOfChosen = [];

fill(main, head('Reports'), form, files, result);
// Days of reports are days of the zone of the group, or of those of the chosen assets; where these differ, of UTC. The server says the same.
function zone() {
  const chosen = asked.group ? [Number(asked.group)] : groupsOfChosen.length ? groupsOfChosen : inUse;
  const zones = new Set(me.groups.filter((group) => chosen.includes(group.id)).map((group) => group.time_zone));
  return zones.size === 1 ? [...zones][0] : zones.size ? 'UTC' : me.groups[0]?.time_zone ?? 'UTC';
}
const span = () => (asked.preset === 'custom' && asked.from && asked.to ? [dayBegin(asked.from, zone()), dayBegin(asked.to, zone(), 1)] : spanOf(asked.preset, zone()));

function build() {
  if (!reports.some((one) => one.name === asked.report)) asked.report = '';
  const chosen = asked.report || reports[0]?.name;
  const report = el('select', { id: 'report', on: { change: () => { describe(report.value); } } }, reports.map((one) => el('option', { value: one.name }, one.title)));
  report.value = chosen;
  const presets = el('div.chips.presets', { role: 'group', 'aria-label': 'Time' }, PRESETS.map(([key, name]) => el('button.chip', { type: 'button', 'aria-pressed': String(asked.preset === key), dataset: { preset: key }, on: { click: () => preset(key) } }, name)));
  const from = el('input', { type: 'date', id: 'from', 'aria-label': 'First day', on: { change: () => preset('custom') } });
  const to = el('input', { type: 'date', id: 'to', 'aria-label': 'Last day', on: { change: () => preset('custom') } });
  const showDays = () => {
    const [first, end] = span();
    from.value = dayOf(first, zone());
    to.value = dayOf(end - 1, zone());
  };
  const preset = (key) => {
    asked.preset = key;
    if (key === 'custom') Object.assign(asked, { from: from.value, to: to.value });
    for (const button of presets.children) button.setAttribute('aria-pressed', String(button.dataset.preset === key));
    if (key !== 'custom') { Object.assign(asked, { from: '', to: '' }); showDays(); }
  };
  const zoneNote = el('small.quiet', {}, zone());
  const subject = pickSubject(me, asked, (groups) => { groupsOfChosen = groups; if (asked.preset !== 'custom') showDays(); zoneNote.textContent = zone(); });
  fill(form,
    el('div.field.report-which', {}, el('label', { for: 'report' }, 'Report'), report, about),
    el('div.field.report-of', {}, subject),
    el('div.field.report-time', {}, el('span', {}, 'Days of ', zoneNote), presets, el('div.row.report-days', {}, from, el('span.quiet', {}, 'to'), to)),
    el('div.row.report-go', {}, el('button.primary', { type: 'submit' }, icon('report'), 'Show report')));
  describe(chosen);
  if (asked.preset === 'custom' && asked.from) { from.value = asked.from; to.value = asked.to; } else showDays();
  form.onsubmit = (event) => {
    event.preventDefault();
    asked.report = report.value;
    if (asked.preset === 'custom') Object.assign(asked, { from: from.value, to: to.value });
    if (asked.preset === 'custom' && (!asked.from || !asked.to || asked.from > asked.to)) {
      fill(result, failed({ message: 'The first day must not be after the last one.' }));
      return;
    }
    run(true);
  };
}

function describe(name) {
  about.textContent = reports.find((one) => one.name === name)?.description ?? '';
}

// Days rather than moments: the server knows the zone of the assets best. The last day is meant whole.
function params() {
  const [from, to] = span();
  return { from: dayOf(from, zone()), to: dayOf(to - 1, zone()), group: asked.group, asset: asked.asset };
}

async function run(push = false) {
  write(asked, DEFAULTS, push);
  running?.abort();
  const mine = new AbortController();
  running = mine;
  fill(files);
  const began = Date.now();
  const waiting = el('p.quiet', { role: 'status' }, 'The server works it out …');
  const clock = setInterval(() => {
    const s = Math.round((Date.now() - began) / 1000);
    if (s >= LONG_S) waiting.textContent = `The server works it out: ${s} s so far. Long spans of many assets take a while; after a minute it gives up.`;
  }, 1000);
  fill(result, el('div.card.column', {}, el('div.row.between', {}, el('span.row', {}, el('span.spinner'), waiting), el('button', { type: 'button', on: { click: () => mine.abort() } }, 'Cancel')), skeleton(5)));
  try {
    const report = await api.get(`/reports/${asked.report}`, params(), { signal: mine.signal });
    if (running !== mine) return;
    fill(files, saveLinks());
    fill(result, resultNodes(report, me, subjectWords()));
    document.title = `${report.title} – trackport`;
  } catch (error) {
    if (running !== mine) return;
    fill(result, error.name === 'AbortError' ? empty('Cancelled', 'Nothing was changed by it.', el('button', { type: 'button', on: { click: () => run() } }, 'Run it after all')) : failed(longText(error), () => run()));
  } finally {
    clearInterval(clock);
  }
}

function longText(error) {
  if (error.status !== 504) return error;
  return { status: 504, message: `${error.message} A shorter time or fewer assets would be faster.` };
}

function subjectWords() {
  const group = me.groups.find((one) => String(one.id) === asked.group);
  const n = asked.asset ? asked.asset.split(',').length : 0;
  if (n) return n === 1 ? 'One asset' : `${n} assets`;
  return group ? `Group ${group.name}` : 'All assets';
}

function saveLinks() {
  const link = (format, name) => el('a.button', { href: api.address(`/reports/${asked.report}`, { ...params(), format }), download: '' }, icon('download'), name);
  return [link('xlsx', 'Excel'), link('csv', 'CSV'), el('button', { type: 'button', on: { click: () => window.print() } }, 'Print'),
    el('button.plain', { type: 'button', on: { click: share } }, icon('copy'), 'Copy link')];
}

// The link names the days, so that it shows the same tomorrow.
async function share(event) {
  const button = event.currentTarget;
  const [from, to] = span();
  const link = new URL(location.href);
  for (const [key, value] of Object.entries({ preset: 'custom', from: dayOf(from, zone()), to: dayOf(to - 1, zone()), report: asked.report })) link.searchParams.set(key, value);
  try {
    await navigator.clipboard.writeText(link.href);
    button.lastChild.textContent = 'Copied';
  } catch {
    history.replaceState(null, '', link);
    button.lastChild.textContent = 'It is in the address bar';
  }
}

window.addEventListener('popstate', () => location.reload());

try {
  const [offered, groups] = await Promise.all([api.get('/reports'), api.all('/groups')]);
  reports = itemsOf(offered);
  inUse = groups.filter((group) => group.n_assets > 0).map((group) => group.id);
  build();
  if (asked.report) run();
  else fill(result, empty('Choose a report', 'Then its time and its assets. The address of the result can be shared with whoever may see the same assets.'));
} catch (error) {
  fill(form, failed(error, () => location.reload()));
}
