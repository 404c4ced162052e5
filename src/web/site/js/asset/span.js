// Which time is looked at: today, yesterday, 7 days, 30 days, a year, or from one moment to another; back and forth by its length.
// Days are days of the zone that is shown. The address keeps it: ?span=yesterday, or ?from=…&to=….

import { el, fill, setText } from '../dom.js';
import { icon } from '../icons.js';
import * as time from '../time.js';
import { toast } from '../ui.js';

const PRESETS = [
  { key: 'today', name: 'Today', days: 1, until: 1 },
  { key: 'yesterday', name: 'Yesterday', days: 1, until: 0 },
  { key: '7d', name: '7 days', days: 7, until: 1 },
  { key: '30d', name: '30 days', days: 30, until: 1 },
  { key: 'year', name: 'Year', days: 365, until: 1 },
];
// Longer than this is asked of nobody.
const SPAN_MAX_MS = 5 * 366 * 86_400_000;

// group: whose zone it is where the reader chose the group's. chosen({ from, to }) is called for each choice, in milliseconds.
export function spanChooser(group, chosen) {
  let span = fromAddress(group) ?? preset('today', group);
  const buttons = PRESETS.map((one) => el('button', { type: 'button', on: { click: () => set(preset(one.key, group)) } }, one.name));
  const label = el('span.span-label', { role: 'status' });
  const from = el('input', { type: 'datetime-local', name: 'from', required: true });
  const to = el('input', { type: 'datetime-local', name: 'to', required: true });
  const zone = el('small.quiet');
  const form = el('form.sheet.span-form', { on: { submit: applyForm } },
    el('label.field', {}, el('span', {}, 'From'), from), el('label.field', {}, el('span', {}, 'To'), to), zone, el('button.primary', { type: 'submit' }, 'Show'));
  const menu = el('details.menu', { on: { toggle: fillForm } }, el('summary.button', {}, icon('calendar'), 'From – to'), form);
  const step = (name, text, sign) => el('button.icon-only', { type: 'button', 'aria-label': text, title: text, on: { click: () => shift(sign) } }, icon(name));
  const node = el('div.span-chooser', {}, el('div.buttons', { role: 'group', 'aria-label': 'Time' }, buttons), menu,
    el('div.row.span-steps', {}, step('left', 'Earlier', -1), label, step('right', 'Later', 1)));

  function set(next) {
    span = next;
    paint();
    toAddress(span);
    menu.open = false;
    chosen(span);
  }

  function paint() {
    buttons.forEach((button, i) => button.setAttribute('aria-pressed', String(PRESETS[i].key === span.key)));
    setText(label, words(span, group));
  }

  function shift(sign) {
    const zoneName = time.zone(group);
    // Whole days stay whole days where clocks change.
    const days = span.days ?? wholeDays(span, zoneName);
    const next = days
      ? { from: time.dayStart(span.from, zoneName, sign * days), to: time.dayStart(span.from, zoneName, sign * days + days), days }
      : { from: span.from + sign * (span.to - span.from), to: span.to + sign * (span.to - span.from) };
    if (next.from > time.now()) return;
    set({ key: null, ...next });
  }

  function fillForm() {
    if (!menu.open) return;
    from.value = time.toInput(span.from, time.zone(group));
    to.value = time.toInput(Math.min(span.to, time.now()), time.zone(group));
    setText(zone, `Times of ${time.zone(group)}`);
    from.focus();
  }

  function applyForm(event) {
    event.preventDefault();
    const next = { key: null, from: time.fromInput(from.value, time.zone(group)), to: time.fromInput(to.value, time.zone(group)) };
    if (!(next.from < next.to)) toast('The beginning must lie before the end.', 'bad');
    else if (next.to - next.from > SPAN_MAX_MS) toast('That is too long: five years at most.', 'bad');
    else set(next);
  }

  window.addEventListener('zone', () => set(span.key ? preset(span.key, group) : span));
  paint();
  const dayOf = (at) => {
    const zoneName = time.zone(group);
    return { key: null, days: 1, from: time.dayStart(at, zoneName), to: time.dayStart(at, zoneName, 1) };
  };
  return { node, menu, shift, get: () => span, set, dayOf };
}

function preset(key, group) {
  const one = PRESETS.find((each) => each.key === key);
  const zone = time.zone(group);
  return { key, days: one.days, from: time.dayStart(time.now(), zone, one.until - one.days), to: time.dayStart(time.now(), zone, one.until) };
}

function wholeDays({ from, to }, zone) {
  const isDay = (at) => time.dayStart(at, zone) === at;
  return isDay(from) && isDay(to) ? Math.round((to - from) / 86_400_000) : 0;
}

function words({ from, to }, group) {
  const zone = time.zone(group);
  if (!wholeDays({ from, to }, zone)) return `${time.minute(from, group)} – ${time.minute(to, group)}`;
  const [first, last] = [time.day(from, group), time.day(to - 1, group)];
  return first === last ? first : `${first} – ${last}`;
}

function fromAddress(group) {
  const query = new URLSearchParams(location.search);
  const key = query.get('span');
  if (PRESETS.some((one) => one.key === key)) return preset(key, group);
  const [from, to] = [Date.parse(query.get('from')), Date.parse(query.get('to'))];
  return from < to && to - from <= SPAN_MAX_MS ? { key: null, from, to } : null;
}

function toAddress({ key, from, to }) {
  const query = new URLSearchParams(location.search);
  for (const name of ['span', 'from', 'to']) query.delete(name);
  if (key) query.set('span', key);
  else {
    query.set('from', new Date(from).toISOString());
    query.set('to', new Date(to).toISOString());
  }
  history.replaceState(null, '', `${location.pathname}?${query.toString().replaceAll('%3A', ':').replaceAll('%2C', ',')}`);
}

// A strip that says how far the charts are zoomed in, with the way back.
export function zoomStrip(group, { into, out, all }) {
  const label = el('span', { role: 'status' });
  const button = (name, text, work) => el('button.icon-only', { type: 'button', 'aria-label': text, title: text, on: { click: work } }, icon(name));
  const back = el('button', { type: 'button', hidden: true, on: { click: all } }, icon('close'), 'Whole span');
  const node = el('div.row.zoom-strip', {}, label, back, button('minus', 'Longer time', out), button('plus', 'Shorter time', into));
  return {
    node,
    show(zoom) {
      back.hidden = !zoom;
      fill(label, zoom ? `${time.full(zoom.from, group)} – ${time.clockSeconds(zoom.to, group)}` : null);
    },
  };
}
