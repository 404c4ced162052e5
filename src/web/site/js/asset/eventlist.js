// The events of the span as chips by kind, that say what is marked, and as a list.

import { el, fill } from '../dom.js';
import { EVENTS, GRAVE, eventBadge, eventOf, shapeNode } from '../states.js';
import * as time from '../time.js';
import * as units from '../units.js';
import { empty, table } from '../ui.js';

// marked(events) is called with those that shall be marked; picked(event) for one of the list.
export function eventBar(group, { marked, picked }) {
  const node = el('div.chips', { role: 'group', 'aria-label': 'Events that are marked' });
  const wanted = new Set(GRAVE);
  let events = [];

  function tell() {
    marked(events.filter((event) => wanted.has(event.kind)));
  }

  function show(items) {
    events = items.map((event) => ({ ...event, at: Date.parse(event.time) / 1000 }));
    const counts = new Map();
    for (const { kind } of events) counts.set(kind, (counts.get(kind) ?? 0) + 1);
    const order = Object.keys(EVENTS);
    const kinds = [...counts.keys()].sort((a, b) => order.indexOf(a) - order.indexOf(b));
    fill(node, kinds.map((kind) => {
      const one = eventOf(kind);
      const chip = el('button.chip', { type: 'button', 'aria-pressed': String(wanted.has(kind)), on: { click: () => {
        if (wanted.has(kind)) wanted.delete(kind);
        else wanted.add(kind);
        chip.setAttribute('aria-pressed', String(wanted.has(kind)));
        tell();
      } } }, el(`span.chip-shape.tone.tone-${one.tone}`, {}, shapeNode(one.shape)), one.name, el('span.count', {}, units.number(counts.get(kind))));
      return chip;
    }));
    node.hidden = !kinds.length;
    tell();
  }

  function list(truncated) {
    if (!events.length) return empty('No events', 'No towing, crash, shock, door or ignition event in this time.');
    const columns = [
      { name: 'Time', cell: (event) => el('button.link', { type: 'button', on: { click: () => picked(event) } }, time.full(event.time, group)) },
      { name: 'Event', cell: (event) => eventBadge(event.kind) },
      { name: 'Value', number: true, cell: (event) => (event.value === null || event.value === undefined ? '' : units.number(event.value)) },
      { name: 'Place', cell: (event) => el('span.mono.small', {}, units.coordinates(event.latitude, event.longitude)) },
    ];
    return table(columns, [...events].reverse(), { tight: true, caption: truncated ? 'There are more events than can be shown; choose a shorter time.' : null });
  }
  return { node, show, list };
}
