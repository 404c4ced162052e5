// The parameters of a group: what each means, in which unit, and how the API calls it.
import { el } from '../dom.js';
import { field, numberIn, textIn, wrong } from '../pages/form.js';
import { secondsOf } from '../reports/parameters.js';

const TRIP_BY = [['ignition', 'the ignition'], ['movement', 'the device\'s movement sensor'], ['speed', 'the speed']];

// `factor`: seconds in the unit that people enter.
const PARAMETERS = [
  { name: 'trip_by', label: 'A trip begins and ends by', options: TRIP_BY, hint: 'Ignition where it is wired; movement for boxes and trailers.' },
  { name: 'trip_speed_kmh', label: 'Moving from', unit: 'km/h', hint: 'Only where trips go by speed.' },
  { name: 'stop_min', label: 'Shortest stop', unit: 'min', factor: 60, hint: 'A shorter stop does not end a trip.' },
  { name: 'trip_min_m', label: 'Shortest trip', unit: 'm', hint: 'A shorter one is no trip.' },
  { name: 'gap_max', label: 'Longest gap within a trip', unit: 'min', factor: 60, hint: 'Where nothing was recorded for so long, a trip ends.' },
  { name: 'believable_kmh', label: 'Highest believable speed', unit: 'km/h', hint: 'Between two fixes that would need more, no distance is counted.' },
  { name: 'temperature_min', label: 'Temperature not below', unit: '°C', optional: true, hint: 'An asset\'s own limits go before it. Empty: no limit.' },
  { name: 'temperature_max', label: 'Temperature not above', unit: '°C', optional: true, hint: 'An asset\'s own limits go before it. Empty: no limit.' },
  { name: 'excursion_min', label: 'Shortest excursion', unit: 'min', factor: 60, hint: 'A temperature beyond its limits for a shorter time is none.' },
];

const shown = (group, one) => {
  const value = group[one.name];
  if (value === null || value === undefined || one.options) return value;
  return one.factor ? secondsOf(value) / one.factor : value;
};

export function parameterFields(group) {
  return el('div.grid', {}, PARAMETERS.map((one) => (one.options
    ? field({ name: one.name, label: one.label, kind: 'select', value: shown(group, one), options: one.options, hint: one.hint })
    : field({ name: one.name, label: one.label, value: shown(group, one) ?? '', unit: one.unit, inputmode: 'decimal', required: !one.optional, autocomplete: 'off', hint: one.hint }))));
}

// What was entered and differs from before, as the API takes it.
export function parametersIn(data, group) {
  const change = {};
  for (const one of PARAMETERS) {
    const entered = one.options ? textIn(data, one.name) : numberIn(data, one.name);
    if ((entered ?? null) === (shown(group, one) ?? null)) continue;
    // Spans of time go as the configuration file has them.
    change[one.name] = one.factor ? `${Math.round(entered * one.factor)} s` : entered;
  }
  if (Object.hasOwn(change, 'temperature_min') || Object.hasOwn(change, 'temperature_max')) {
    const [low, high] = [numberIn(data, 'temperature_min'), numberIn(data, 'temperature_max')];
    if (low !== null && high !== null && low >= high) throw wrong('The lower temperature limit must be below the upper one.');
  }
  return change;
}
