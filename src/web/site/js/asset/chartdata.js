// Which charts there are, and the columns that each needs.

import { uPlot } from '../vendor.js';

// In this order; a chart is there when the asset sends one of its values. `keys` are the API's.
const GROUPS = [
  { key: 'speed', name: 'Speed', keys: ['speed_kmh'] },
  { key: 'temperature', name: 'Temperature', keys: ['temperature_1', 'temperature_2', 'temperature_3', 'temperature_4'] },
  { key: 'humidity', name: 'Humidity', keys: ['humidity_1', 'humidity_2', 'humidity_3', 'humidity_4'] },
  { key: 'battery', name: 'Battery', keys: ['battery_level'] },
  { key: 'battery_voltage', name: 'Battery voltage', keys: ['battery_voltage_mv'] },
  { key: 'external_voltage', name: 'External voltage', keys: ['external_voltage_mv'] },
  { key: 'signal', name: 'Signal', keys: ['signal'] },
];
const GROUPED = new Set(GROUPS.flatMap((group) => group.keys));

// What is asked for before it is known what there is.
export const USUAL = ['speed', 'temperature', 'humidity', 'battery', 'external_voltage', 'signal'];

// Charts by their keys: a group's, or any element's ("io:72").
export function chartOf(key, elements) {
  const group = GROUPS.find((one) => one.key === key);
  if (group) return group;
  const element = elements.find((one) => one.key === key);
  return { key, name: element ? nameOf(element) : key, keys: [key] };
}

// What can be chosen: groups with something in them, then each further element.
export function choices(elements) {
  // Some elements are texts or bytes.
  const numbers = elements.filter((element) => element.number !== false);
  const known = new Set(numbers.map((element) => element.key));
  const groups = GROUPS.filter((group) => group.keys.some((key) => known.has(key)));
  const others = numbers.filter((element) => !GROUPED.has(element.key)).map((element) => ({ key: element.key, name: nameOf(element), keys: [element.key] }));
  return { groups, others };
}

// An element that no list names is called by its id already.
const nameOf = ({ name, avl_id: id }) => (id === null || id === undefined || name.endsWith(` ${id}`) ? name : `${name} (${id})`);

// Values in units that people use: millivolts as volts.
function inUse(series) {
  if (series.unit !== 'mV') return { ...series, factor: 1 };
  const volts = (column) => column.map((value) => (value === null ? null : value / 1000));
  return { ...series, unit: 'V', factor: 0.001, min: volts(series.min), max: volts(series.max), last: volts(series.last) };
}

// Columns for uPlot on one axis of time: for each series least, greatest and last of each part where it was thinned, else the last
// alone. In a gap there is a null, so that no line is drawn over it.
export function columns(series, gaps, thinned) {
  const used = series.map(inUse);
  const tables = used.map((one) => {
    const [time, ...values] = withBreaks(thinned ? [one.time, one.last, one.min, one.max] : [one.time, one.last], gaps);
    return [time, ...values];
  });
  const data = tables.length ? uPlot.join(tables, tables.map((table) => table.map(() => 1))) : [[]];
  return { data, series: used, per: thinned ? 3 : 1 };
}

function withBreaks(table, gaps) {
  const [time] = table;
  const breaks = gaps.map((gap) => (gap.from + gap.to) / 2).filter((at) => time.length && at > time[0] && at < time[time.length - 1]);
  if (!breaks.length) return table;
  const out = table.map(() => []);
  let next = 0;
  time.forEach((at, i) => {
    while (next < breaks.length && breaks[next] < at) {
      out.forEach((column, k) => column.push(k === 0 ? breaks[next] : null));
      next += 1;
    }
    out.forEach((column, k) => column.push(table[k][i]));
  });
  return out;
}
