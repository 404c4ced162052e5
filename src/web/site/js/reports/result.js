// A report as it is shown: how complete it is, its figures, its picture, its table, and by which parameters it was made.
import { el, fill } from '../dom.js';
import { ageNode } from '../time.js';
import { empty, notice, table } from '../ui.js';
import { UNKNOWN, count, number } from '../units.js';
import { cell, isNumber, isPlace, minuteIn, summaryText } from './cells.js';
import { parameterWords } from './parameters.js';
import { picture } from './pictures.js';

// Rows in the page at first; a month of a fleet has tens of thousands, and a browser is slow with so many cells.
const ROWS_STEP = 300;
// Owing devices that are named before "and n more".
const OWING_SHOWN = 6;
const HIDDEN = new Set(['asset_id', 'device_id', 'fitting_id', 'group_id', 'imei_id']);

export function resultNodes(report, me, subject) {
  return [
    el('div.report-title', {}, el('h2', {}, report.title), el('p.quiet', {}, `${subject}: ${minuteIn(report.from, report.time_zone)} to ${minuteIn(report.to, report.time_zone)}, days and times of ${report.time_zone}`)),
    completeness(report),
    tiles(report),
    picture(report, me.tiles),
    report.rows.length ? rows(report) : empty('Nothing to report', nothingText(report)),
    parameters(report),
  ];
}

function nothingText(report) {
  const none = { trips: 'No asset made a trip in this time.', stops: 'No asset stopped in this time.', temperature: 'No temperature was beyond its limits for long enough. Limits are set on the asset or on its group.', events: 'No shock, towing or harsh driving was recorded.', offline: 'Every asset was heard of as usual.' };
  return none[report.report] ?? 'No records of these assets lie in this time.';
}

// What the report does not know yet stands before what it says.
function completeness(report) {
  const owing = report.owing ?? [];
  const until = report.complete_up_to;
  const whole = !owing.length && (!until || Date.parse(until) >= Math.min(Date.parse(report.to), Date.now() - 60_000));
  if (whole) return notice('good', el('b', {}, 'Complete'), until ? ` up to ${minuteIn(until, report.time_zone)}: no device owes data for this time.` : ': no device owes data for this time.');
  const name = (one) => one.asset?.name ?? one.name ?? one.asset_name ?? one.asset;
  const line = (one) => el('li', {}, el('b', {}, String(name(one))), ', last contact ', ageNode(one.last_contact_at), one.device || one.imei ? [' (', el('a', { href: `/device/${one.imei ?? one.device}` }, String(one.imei ?? one.device)), ')'] : null);
  const list = el('ul.owing', {}, owing.slice(0, OWING_SHOWN).map(line));
  const more = owing.length > OWING_SHOWN && el('button.slim', { type: 'button', on: { click: () => { fill(list, owing.map(line)); more.remove(); } } }, `and ${number(owing.length - OWING_SHOWN)} more`);
  return notice('warn', el('div', {}, until ? el('b', {}, `Complete up to ${minuteIn(until, report.time_zone)}.`) : el('b', {}, 'Not complete yet.'), owing.length ? ` ${count(owing.length, 'device')} may still have data of this time:` : ' What is later may still arrive.'), owing.length ? [list, more] : null);
}

function tiles(report) {
  const summary = Object.entries(report.summary ?? {}).filter(([, value]) => value !== null && value !== undefined && typeof value !== 'object');
  if (!summary.length) return null;
  return el('div.figures.cards', {}, summary.slice(0, 8).map(([key, value]) => el('div.card.figure', {}, el('b', {}, summaryText(key, value, report.time_zone)), el('span', {}, titleOf(key)))));
}

function titleOf(key) {
  const words = key.replace(/^n_/, '').replace(/_(s|m|kmh|l|c|percent|mv)$/, '').replaceAll('_', ' ');
  return words.charAt(0).toUpperCase() + words.slice(1);
}

function rows(report) {
  const columns = report.columns.map((column, i) => ({ ...column, i })).filter((column) => !HIDDEN.has(column.key) && !(isPlace(column) && report.report !== 'events'));
  const shown = columns.map((column) => ({ name: column.title ?? column.key, number: isNumber(column), cell: (row) => cell(row[column.i], column, report, row) }));
  const place = el('div.column');
  let n = ROWS_STEP;
  const show = () => fill(place, table(shown, report.rows.slice(0, n), { tight: true, caption: `${number(report.rows.length)} ${report.rows.length === 1 ? 'row' : 'rows'}` }),
    n < report.rows.length ? el('div.row.no-print', {}, el('button', { type: 'button', on: { click: () => { n += 1000; show(); } } }, 'Show more rows'), el('span.quiet', {}, `${number(Math.min(n, report.rows.length))} of ${number(report.rows.length)} shown; the files have all.`)) : null);
  show();
  // On paper all rows stand.
  window.addEventListener('beforeprint', () => { if (place.isConnected && n < Math.min(report.rows.length, 5000)) { n = 5000; show(); } });
  return place;
}

function parameters(report) {
  const sets = [].concat(report.parameters ?? {});
  const lines = sets.flatMap((one) => {
    const groups = typeof one === 'object' && Object.values(one).some((value) => value && typeof value === 'object' && !Array.isArray(value)) ? Object.entries(one) : [[one.group ?? null, one]];
    return groups.map(([name, values]) => [typeof name === 'string' && name ? name : null, parameterWords(values)]);
  }).filter(([, words]) => words.length);
  if (!lines.length) return null;
  return el('p.quiet.small.parameters', {}, lines.map(([name, words]) => el('span', {}, name ? el('b', {}, `${name}: `) : 'By these parameters: ', words.join(', ') || UNKNOWN, '. ')), 'They are set in ', el('a', { href: '/settings#groups' }, 'the settings of the group'), '.');
}
