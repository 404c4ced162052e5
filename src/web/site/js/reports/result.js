// A report as it is shown: how complete it is, its figures, its picture, its table, and by which parameters it was made.
import { el, fill } from '../dom.js';
import { ageNode } from '../time.js';
import { empty, notice, table } from '../ui.js';
import { count, number, withUnit } from '../units.js';
import { cell, isNumber, isPlace, minuteIn, text, valueOf } from './cells.js';
import { parameterWords } from './parameters.js';
import { picture } from './pictures.js';

// Rows in the page at first; a month of a fleet has tens of thousands, and a browser is slow with so many cells.
const ROWS_STEP = 300;
// Owing devices that are named before "and n more".
const OWING_SHOWN = 6;
const HIDDEN = new Set(['asset_id', 'device_id', 'begins_before', 'goes_on']);

export function resultNodes(report, me, subject) {
  const pictures = picture(report, me.tiles);
  const look = pictures?.[1]?.look ?? null;
  return [
    el('div.report-title', {}, el('h2', {}, report.title), el('p.quiet', {}, `${subject}: ${minuteIn(report.from, report.time_zone)} to ${minuteIn(report.to, report.time_zone)}, days and times of ${report.time_zone}`)),
    completeness(report),
    tiles(report),
    pictures,
    report.rows.length ? rows(report, look) : empty('Nothing to report', nothingText(report)),
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
  const line = (one) => el('li', {}, el('a', { href: `/asset/${one.asset_id}` }, one.asset), ', last contact ', ageNode(one.last_contact_at), ' (', el('a', { href: `/device/${one.device}` }, one.device), ')', one.n_quarantined ? `, ${count(one.n_quarantined, 'packet')} in quarantine` : null);
  const list = el('ul.owing', {}, owing.slice(0, OWING_SHOWN).map(line));
  const more = owing.length > OWING_SHOWN && el('button.slim', { type: 'button', on: { click: () => { fill(list, owing.map(line)); more.remove(); } } }, `and ${number(owing.length - OWING_SHOWN)} more`);
  return notice('warn', el('div', {}, until ? el('b', {}, `Complete up to ${minuteIn(until, report.time_zone)}.`) : el('b', {}, 'Not complete yet.'), owing.length ? ` ${count(report.n_owing, 'device')} may still have data of this time:` : ' What is later may still arrive.'), owing.length ? [list, more] : null);
}

function tiles(report) {
  if (!report.rows.length) return null;
  const figure = (value, name) => el('div.card.figure', {}, el('b', {}, value), el('span', {}, name));
  const sums = report.columns.filter((column) => typeof report.summary[column.key] === 'number');
  const assets = new Set(report.rows.map((row) => valueOf(report, row, 'asset_id'))).size;
  return el('div.figures.cards', {}, figure(number(assets), assets === 1 ? 'asset' : 'assets'), ROWS[report.report] && figure(number(report.summary.n_rows), ROWS[report.report]),
    sums.filter((column) => column.key !== 'n_records').map((column) => figure(sumText(report.summary[column.key], column, report.time_zone), column.title)));
}

// Sums of many hours need no minutes.
const sumText = (value, column, zone) => (column.type === 'duration' && value >= 100 * 3600 ? withUnit(value / 3600, 'h') : text(value, column, zone));

// What the rows of a report are, where their number says something.
const ROWS = { trips: 'trips', stops: 'stops', temperature: 'excursions', events: 'events', offline: 'times offline' };

function rows(report, look) {
  const columns = report.columns.map((column, i) => ({ ...column, i }))
    .filter((column) => !HIDDEN.has(column.key) && !(isPlace(column) && report.report !== 'events') && report.rows.some((row) => row[column.i] !== null));
  const shown = columns.map((column) => ({ name: column.title ?? column.key, number: isNumber(column), cell: (row) => cell(row[column.i], column, report, row) }));
  if (look) shown.push({ name: '', label: 'Curve', cell: (row) => el('button.slim.no-print', { type: 'button', 'aria-label': `Curve of ${valueOf(report, row, 'asset')}`, on: { click: () => { look(row); document.querySelector('.report-result figure:last-of-type')?.scrollIntoView({ block: 'nearest' }); } } }, 'Curve') });
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
  const sets = report.parameters?.sets ?? [report.parameters ?? {}];
  const lines = sets.map(({ groups, time_zone: zone, ...values }) => el('p', {}, el('b', {}, `${groups}: `), `days of ${zone}, `, parameterWords(values).join(', '), '.'));
  if (!sets.length || !sets[0].groups) return null;
  return el('div.quiet.small.parameters', {}, el('p', {}, 'Made by these parameters:'), lines, el('p', {}, 'They are set in ', el('a', { href: '/settings#groups' }, 'the settings of the group'), '.'));
}
