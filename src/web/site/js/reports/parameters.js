// The parameters by which a report was made, in words.
import { hours, number, temperature, withUnit } from '../units.js';

const TRIP_BY = { ignition: 'the ignition', movement: 'the device\'s movement sensor', speed: 'the speed' };

const SECONDS = { ms: 0.001, s: 1, min: 60, h: 3600, day: 86400, days: 86400, week: 604800, weeks: 604800 };

// Seconds of a span of time as the configuration file has it ("5 min", "1 h 30 min"), or of a number of them.
export function secondsOf(value) {
  if (typeof value === 'number') return value;
  let seconds = 0;
  for (const [, n, unit] of String(value ?? '').matchAll(/(\d+(?:\.\d+)?)\s*([a-z]+)/g)) seconds += Number(n) * (SECONDS[unit] ?? NaN);
  return seconds;
}

const WORDS = {
  trip_by: (value) => `trips by ${TRIP_BY[value] ?? value}`,
  trip_speed_kmh: (value, all) => (all.trip_by && all.trip_by !== 'speed' ? null : `moving from ${withUnit(value, 'km/h')}`),
  stop_min: (value) => `stops of at least ${hours(secondsOf(value))}`,
  trip_min_m: (value) => `trips of at least ${withUnit(value, 'm')}`,
  gap_max: (value) => `a gap of ${hours(secondsOf(value))} splits`,
  believable_kmh: (value) => `no distance above ${withUnit(value, 'km/h')}`,
  temperature_min: (value) => (value === null ? null : `not below ${temperature(value)}`),
  temperature_max: (value) => (value === null ? null : `not above ${temperature(value)}`),
  excursion_min: (value) => `excursions of at least ${hours(secondsOf(value))}`,
};

// A list of short sentences; what is not known here is shown as it is.
export function parameterWords(parameters) {
  const words = Object.entries(parameters ?? {}).map(([key, value]) => {
    const name = key.replace(/_s$/, '');
    if (value === null || value === undefined) return null;
    if (WORDS[name]) return WORDS[name](value, parameters);
    if (typeof value === 'object') return null;
    return `${key.replaceAll('_', ' ')}: ${typeof value === 'number' ? number(value) : value}`;
  });
  return words.filter(Boolean);
}
