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
export const dayIn = (day) => (day ? formatter('UTC', { weekday: 'short', year: 'numeric', month: 'short', day: 'numeric' }).format(Date.parse(`${String(day).slice(0, 10)}T00:00:00Z`)) : UNKNOWN);

export const isNumber = (column) => ['number', 'integer', 'float', 'real', 'duration', 'seconds'].includes(column.type) && !isTime(column);
export const isTime = (column) => ['time', 'timestamp', 'timestamptz', 'datetime'].includes(column.type);
export const isDay = (column) => column.type === 'date' || column.type === 'day';
export const isPlace = (column) => /longitude|latitude/.test(column.key);
export const isSeconds = (column) => column.type === 'duration' || column.type === 'seconds' || column.unit === 's' || /_s$/.test(column.key);

// The value as text.
export function text(value, column, zone) {
  if (value === null || value === undefined || value === '') return UNKNOWN;
  if (isTime(column)) return timeIn(value, zone);
  if (isDay(column)) return dayIn(value);
  if (typeof value === 'boolean') return value ? 'yes' : 'no';
  if (Array.isArray(value)) return value.join(', ');
  if (isSeconds(column)) return hours(Number(value));
  if (isPlace(column)) return Number(value).toFixed(5);
  if (column.unit === 'm' || /_m$/.test(column.key)) return distance(Number(value));
  if (column.unit === 'min') return hours(Number(value) * 60);
  if (typeof value === 'number') return withUnit(value, column.unit, Number.isInteger(value) || column.unit === 'km/h' ? 0 : 1);
  return String(value);
}

// The value as a cell: a link for an asset, a badge for an event.
export function cell(value, column, report, row) {
  if (value === null || value === undefined || value === '') return '';
  if (column.key === 'asset' || column.key === 'asset_name' || column.key === 'name') {
    const id = valueOf(report, row, 'asset_id') ?? (typeof value === 'object' ? value.id : null);
    const name = typeof value === 'object' ? value.name : String(value);
    return id ? el('a', { href: `/asset/${id}` }, name) : el('b', {}, name);
  }
  if (/^(kind|event|events)$/.test(column.key)) return el('span.row', {}, [].concat(value).map((one) => eventBadge(one)));
  if (column.type === 'boolean') return badge(value ? 'yes' : 'no', value ? 'good' : 'offline', value ? 'check' : 'dash');
  return text(value, column, report.time_zone);
}

// The place of a column by its key; -1 where the report has none.
export const indexOf = (report, ...keys) => {
  for (const key of keys) {
    const at = report.columns.findIndex((column) => (key instanceof RegExp ? key.test(column.key) : column.key === key));
    if (at >= 0) return at;
  }
  return -1;
};
export const valueOf = (report, row, ...keys) => {
  const at = indexOf(report, ...keys);
  return at < 0 ? null : row[at];
};

// A summary's value, whose key says what it is.
export function summaryText(key, value, zone) {
  if (typeof value === 'string' && /^\d{4}-\d\d-\d\dT/.test(value)) return minuteIn(value, zone);
  const unit = { kmh: 'km/h', c: '°C', l: 'l', mv: 'mV', percent: '%' }[key.split('_').at(-1)];
  return text(value, { key, type: typeof value, unit: unit ?? null }, zone) || number(value);
}
