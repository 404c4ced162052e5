// The parameters by which a report was made, in words.
import { hours, number, temperature, withUnit } from '../units.js';

const TRIP_BY = { ignition: 'the ignition', movement: 'the device\'s movement sensor', speed: 'the speed' };

// Seconds as the API may write them: a number, or PostgreSQL's "00:05:00".
export function secondsOf(value) {
  if (typeof value === 'number') return value;
  const found = /^(?:(\d+) days? ?)?(?:(\d+):(\d\d):(\d\d))?/.exec(String(value ?? ''));
  return found ? (Number(found[1] ?? 0) * 86400) + (Number(found[2] ?? 0) * 3600) + (Number(found[3] ?? 0) * 60) + Number(found[4] ?? 0) : null;
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
