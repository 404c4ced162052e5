// Classes of colour for a track: by speed, or by the temperature at each fix. Each class has a name for the legend, so colour is
// explained where it is used.

import { colour, toneColour } from '../states.js';
import { number } from '../units.js';
import { indexAt } from './track.js';

// Upper ends in km/h; what is faster is in the last class.
const SPEEDS = [10, 30, 50, 80, 100, 120];
// A temperature that was measured longer ago than this says nothing about a fix.
const TEMPERATURE_OLD_S = 1800;

// { classes: [{ name, paint }], of: the class of each fix }
export function coloursBySpeed(track) {
  const classes = [...SPEEDS, Infinity].map((upper, i) => ({ name: i === SPEEDS.length ? `> ${SPEEDS[i - 1]} km/h` : i === 0 ? `< ${upper}` : `${SPEEDS[i - 1]}–${upper}`, paint: colour(`--ramp-${i + 1}`) }));
  const of = track.speed.map((speed) => {
    const found = SPEEDS.findIndex((upper) => (speed ?? 0) < upper);
    return found < 0 ? SPEEDS.length : found;
  });
  return { classes, of };
}

// With limits: too cold, within, too warm; without: parts from the lowest to the highest. What is unknown or faulty is grey.
export function coloursByTemperature(track, series, limits) {
  const values = track.time.map((at) => valueAt(series, at));
  const unknown = { name: 'unknown', paint: toneColour('offline') };
  const { temperature_min: low, temperature_max: high } = limits;
  if (Number.isFinite(low ?? NaN) || Number.isFinite(high ?? NaN)) {
    const classes = [{ name: `below ${low ?? ''} °C`, paint: toneColour('too_cold') }, { name: 'within limits', paint: toneColour('good') }, { name: `above ${high ?? ''} °C`, paint: toneColour('too_warm') }, unknown];
    const of = values.map((value) => (value === null ? 3 : value < (low ?? -Infinity) ? 0 : value > (high ?? Infinity) ? 2 : 1));
    return { classes: classes.filter((_, i) => i === 1 || of.includes(i)), of: compact(of, [0, 1, 2, 3].filter((i) => i === 1 || of.includes(i))) };
  }
  const known = values.filter((value) => value !== null);
  const [least, most] = [Math.min(...known), Math.max(...known)];
  const step = (most - least) / 5 || 1;
  const classes = [1, 2, 3, 4, 5].map((part) => ({ name: `${number(least + (part - 1) * step, 1)}–${number(least + part * step, 1)} °C`, paint: colour(`--ramp-${part + 1}`) }));
  const of = values.map((value) => (value === null ? 5 : Math.min(4, Math.floor((value - least) / step))));
  return { classes: of.includes(5) ? [...classes, unknown] : classes, of };
}

// Numbers of classes after those that nothing has were left out.
function compact(of, kept) {
  return of.map((k) => kept.indexOf(k));
}

function valueAt(series, at) {
  const i = indexAt(series.time, at);
  if (i < 0 || at - series.time[i] > TEMPERATURE_OLD_S) return null;
  return series.last[i] ?? null;
}
