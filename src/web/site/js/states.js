// States, flags and events of assets: their words, tones (colours by style.css, --moving and so on) and shapes.
// Colour is never alone: each has a shape of its own and a word.

import { el, svg } from './dom.js';

// Filled shapes in a square of 12.
const SHAPES = {
  arrow: 'M6 .5L11 11 6 8.6 1 11z',
  bars: 'M2 1.5h3v9H2zM7 1.5h3v9H7z',
  square: 'M1.5 1.5h9v9h-9z',
  ring: 'M6 .5a5.5 5.5 0 1 0 0 11 5.5 5.5 0 0 0 0-11M6 2.8a3.2 3.2 0 1 1 0 6.4 3.2 3.2 0 0 1 0-6.4',
  dash: 'M1 5h10v2.2H1z',
  dot: 'M6 1a5 5 0 1 0 0 10A5 5 0 0 0 6 1',
  up: 'M6 1l5.5 10H.5z',
  down: 'M6 11L.5 1h11z',
  bolt: 'M7 .3L1.8 7H5l-.8 4.8L10.2 5H6.7z',
  cross: 'M2.2 .8L6 4.6 9.8 .8l1.4 1.4L7.4 6l3.8 3.8-1.4 1.4L6 7.4l-3.8 3.8-1.4-1.4L4.6 6 .8 2.2z',
  diamond: 'M6 .3L11.7 6 6 11.7 .3 6z',
  check: 'M1 6.2l1.5-1.5 2.4 2.4L9.6 2.2l1.5 1.5-6.2 6.4z',
};

// In the order in which they are offered as filters.
export const STATES = {
  moving: { name: 'moving', tone: 'moving', shape: 'arrow' },
  idling: { name: 'idling', tone: 'idling', shape: 'bars', means: 'ignition on, standing still' },
  parked: { name: 'parked', tone: 'parked', shape: 'square' },
  offline: { name: 'offline', tone: 'offline', shape: 'ring', means: 'silent for three times its usual interval' },
  never: { name: 'never located', tone: 'never', shape: 'dash', means: 'no record with a satellite fix yet' },
};

export const FLAGS = {
  too_warm: { name: 'too warm', tone: 'too_warm', shape: 'up' },
  too_cold: { name: 'too cold', tone: 'too_cold', shape: 'down' },
  shaken: { name: 'shaken', tone: 'shaken', shape: 'bolt', means: 'towing, crash, shock or fall within the last 24 hours' },
  sensor_fault: { name: 'sensor fault', tone: 'sensor_fault', shape: 'cross', means: 'a sensor sends an error code instead of a value' },
};

export const EVENTS = {
  towing: { name: 'Towing', tone: 'bad', shape: 'bolt' },
  crash: { name: 'Crash', tone: 'bad', shape: 'bolt' },
  crash_trace: { name: 'Crash trace', tone: 'shaken', shape: 'bolt' },
  shock: { name: 'Shock', tone: 'shaken', shape: 'bolt' },
  fall: { name: 'Fall', tone: 'shaken', shape: 'down' },
  unplug: { name: 'Power unplugged', tone: 'bad', shape: 'cross' },
  battery_unplug: { name: 'Battery unplugged', tone: 'bad', shape: 'cross' },
  jamming: { name: 'Jamming', tone: 'bad', shape: 'cross' },
  alarm_button: { name: 'Alarm button', tone: 'bad', shape: 'up' },
  harsh_acceleration: { name: 'Harsh acceleration', tone: 'warn', shape: 'up' },
  harsh_braking: { name: 'Harsh braking', tone: 'warn', shape: 'down' },
  harsh_cornering: { name: 'Harsh cornering', tone: 'warn', shape: 'diamond' },
  overspeed: { name: 'Overspeed', tone: 'warn', shape: 'up' },
  door_open: { name: 'Door opened', tone: 'note', shape: 'ring' },
  door_closed: { name: 'Door closed', tone: 'note', shape: 'dot' },
  ignition_on: { name: 'Ignition on', tone: 'moving', shape: 'dot' },
  ignition_off: { name: 'Ignition off', tone: 'parked', shape: 'square' },
};

// Events that have a mark on the map and in the charts without being asked for; the rest are routine.
export const GRAVE = new Set(['towing', 'crash', 'shock', 'fall', 'unplug', 'battery_unplug', 'jamming', 'alarm_button']);

// What a kind is called that this list does not know yet.
const unknown = (kind) => ({ name: String(kind).replaceAll('_', ' '), tone: 'note', shape: 'dot' });
export const stateOf = (state) => STATES[state] ?? unknown(state);
export const flagOf = (flag) => FLAGS[flag] ?? unknown(flag);
export const eventOf = (kind) => EVENTS[kind] ?? unknown(kind);

// The path of a shape, for drawing it on a canvas (Path2D).
export const shapePath = (shape) => SHAPES[shape] ?? SHAPES.dot;

export function shapeNode(shape) {
  return svg('svg', { viewBox: '0 0 12 12', 'aria-hidden': 'true' }, svg('path', { d: shapePath(shape), 'fill-rule': 'evenodd' }));
}

// A badge of any tone ("good", "warn", "bad", "note", or a state's or flag's) with shape and word.
export function badge(word, tone = 'note', shape = 'dot', title = null) {
  return el(`span.badge.tone-${tone}`, { title }, shapeNode(shape), word);
}
const badgeOf = (one) => badge(one.name, one.tone, one.shape, one.means);
export const stateBadge = (state) => badgeOf(stateOf(state));
export const flagBadge = (flag) => badgeOf(flagOf(flag));
export const eventBadge = (kind) => badgeOf(eventOf(kind));

// What devices can be, and kinds of assets.
export const DEVICE_STATES = {
  accepted: { name: 'accepted', tone: 'good', shape: 'check' },
  pending: { name: 'pending', tone: 'warn', shape: 'bars' },
  refused: { name: 'refused', tone: 'bad', shape: 'cross' },
  blocked: { name: 'blocked', tone: 'bad', shape: 'cross' },
  removed: { name: 'removed', tone: 'offline', shape: 'dash' },
};
export const deviceBadge = (state) => badgeOf(DEVICE_STATES[state] ?? unknown(state));
export const KINDS = ['vehicle', 'trailer', 'machine', 'box', 'other'];

// The colour that a custom property of style.css has in the theme now, for canvases: colour('--moving') is "rgb(…)".
const probe = el('span', { hidden: true });
export function colour(property) {
  if (!probe.isConnected) document.body.append(probe);
  probe.style.color = `var(${property})`;
  return getComputedStyle(probe).color;
}
// The property of a tone: "too_warm" has --too-warm.
export const toneColour = (tone) => colour(`--${tone.replaceAll('_', '-')}`);
