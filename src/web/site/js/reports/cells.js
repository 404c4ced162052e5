// Cells of a report as people read them, by the column's type, unit and name.
import { el } from '../dom.js';
import { badge, eventBadge } from '../states.js';
import { UNKNOWN, distance, hours, number, withUnit } from '../units.js';

const formats = new Map();
function formatter(zone, options) {
  const key = JSON.stringify([zone, options]);
  if (!formats.has(key)) formats.set(key, new Intl.DateTimeFormat(undefined, { timeZone: zone, hourCycle: 'h23', ...options }));
  return formats.get(key);
}

// A time in the report's own zone: its days are days of that zone, whoever reads it.
export const timeIn = (at, zone) => (at ? formatter(zone, { year: 'numeric', month: 'short', day: 'numeric', hour: '2-digit', minute: '2-digit', second: '2-digit' }).format(Date.parse(at)) : UNKNOWN);
export const minuteIn = (at, zone) => (at ? formatter(zone, { year: 'numeric', month: 'short', day: 'numeric', hour: '2-digit', minute: '2-digit' }).format(typeof at === 'number' ? at : Date.parse(at)) : UNKNOWN);
export const dayIn = (day) => (day ? formatter('UTC', { weekday: 'short', day: 'numeric', month: 'short', year: 'numeric' }).format(Date.parse(`${String(day).slice(0, 10)}T00:00:00Z`)) : UNKNOWN);

export const isNumber = (column) => ['number', 'integer', 'duration'].includes(column.type) && column.key !== 'sensor';
export const isPlace = (column) => /longitude|latitude/.test(column.key);

const clockIn = (at, zone) => formatter(zone, { hour: '2-digit', minute: '2-digit', second: '2-digit' }).format(Date.parse(at));

// The value as text.
export function text(value, column, zone) {
  if (value === null || value === undefined || value === '') return UNKNOWN;
  if (column.type === 'time') return timeIn(value, zone);
  if (column.type === 'day') return dayIn(value);
  if (typeof value === 'boolean') return value ? 'yes' : 'no';
  if (column.type === 'duration') return hours(Number(value));
  if (isPlace(column)) return Number(value).toFixed(5);
  if (column.unit === 'm') return distance(Number(value));
  if (typeof value === 'number') return withUnit(value, column.unit, Number.isInteger(value) || column.unit === 'km/h' ? 0 : 1);
  return String(value);
}

// The value as a cell: a link for an asset, a badge for an event; a time outside of the span is said to be that.
export function cell(value, column, report, row) {
  if (value === null || value === undefined || value === '') return '';
  switch (column.key) {
    case 'asset': return el('a', { href: `/asset/${valueOf(report, row, 'asset_id')}` }, value);
    case 'event': return el('span.row', {}, String(value).split(/, */).map((one) => eventBadge(one)));
    case 'beyond': return value === 'below' ? badge('too cold', 'too_cold', 'down') : badge('too warm', 'too_warm', 'up');
    case 'start_time': return [text(value, column, report.time_zone), valueOf(report, row, 'begins_before') ? el('div.quiet.small', {}, 'began before') : null];
    case 'end_time': return [text(value, column, report.time_zone), valueOf(report, row, 'goes_on') ? el('div.quiet.small', {}, 'goes on') : null];
    // A line of the days has its day already.
    case 'first_time': case 'last_time': return report.report === 'daily' ? clockIn(value, report.time_zone) : text(value, column, report.time_zone);
    default: return text(value, column, report.time_zone);
  }
}

// The place of a column by its key; -1 where the report has none.
export const indexOf = (report, key) => report.columns.findIndex((column) => column.key === key);
export const valueOf = (report, row, key) => row[indexOf(report, key)] ?? null;
