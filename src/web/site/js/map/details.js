// The card of the asset that is selected.

import { el, fill } from '../dom.js';
import { icon } from '../icons.js';
import { flagBadge, stateBadge } from '../states.js';
import * as time from '../time.js';
import * as units from '../units.js';

// A fix that is so much older than the record it came with was not renewed: satellites are not seen.
const FIX_STALE_MS = 60_000;

// close() and follow() are called by its buttons. card.show(position, isFollowed) fills it; null hides it.
export function detailsCard(groups, { close, follow }) {
  const names = new Map(groups.map((group) => [group.id, group.name]));
  const title = el('h2.truncate');
  const about = el('div.quiet.truncate');
  const badges = el('div.row.badges');
  const facts = el('dl.facts');
  const open = el('a.button.primary', {}, icon('clock'), 'Track and charts');
  const report = el('a.button', {}, icon('report'), 'Report');
  const following = el('button.icon-only', { type: 'button', title: 'Keep in the middle', 'aria-label': 'Keep in the middle of the map', on: { click: follow } }, icon('target'));
  const node = el('section.details.card', { 'aria-label': 'Selected asset', hidden: true },
    el('header', {}, el('div.details-title', {}, title, about), following, el('button.plain.icon-only', { type: 'button', 'aria-label': 'Close', on: { click: close } }, icon('close'))),
    badges, facts, el('div.row', {}, open, report));
  return {
    node,
    show(position, isFollowed) {
      node.hidden = !position;
      if (!position) return;
      title.textContent = position.name;
      about.textContent = [position.kind, names.get(position.group), position.model].filter(Boolean).join(' · ');
      following.setAttribute('aria-pressed', String(isFollowed));
      following.disabled = position.longitude === undefined || position.longitude === null;
      open.href = `/asset/${position.asset}`;
      report.href = `/reports?asset=${position.asset}`;
      fill(badges, stateBadge(position.state), (position.flags ?? []).map(flagBadge));
      fill(facts, lines(position).flatMap(([name, value]) => [el('dt', {}, name), el('dd', {}, value)]));
    },
  };
}

function lines(position) {
  const { group } = position;
  const known = (value) => value !== null && value !== undefined;
  const list = [];
  list.push(['Last contact', known(position.received_at) ? time.ageNode(position.received_at, group) : 'never']);
  if (known(position.longitude)) {
    const stale = known(position.fix_time) && known(position.time) && time.ms(position.time) - time.ms(position.fix_time) > FIX_STALE_MS;
    if (known(position.fix_time)) list.push(['Last fix', [time.ageNode(position.fix_time, group), stale ? el('span.warn', {}, ' no satellites since') : null]]);
    list.push(['Place', el('span.mono.small', {}, units.coordinates(position.latitude, position.longitude))]);
  } else {
    list.push(['Place', 'never located']);
  }
  if (known(position.speed_kmh)) list.push(['Speed', units.speed(position.speed_kmh)]);
  if (known(position.angle_deg) && position.state === 'moving') list.push(['Heading', units.heading(position.angle_deg)]);
  (position.temperature ?? []).forEach((value, i) => { if (known(value)) list.push([`Temperature ${i + 1}`, units.temperature(value)]); });
  (position.humidity ?? []).forEach((value, i) => { if (known(value)) list.push([`Humidity ${i + 1}`, units.percent(value)]); });
  if (known(position.door)) list.push(['Door', position.door ? 'open' : 'closed']);
  if (known(position.ignition)) list.push(['Ignition', position.ignition ? 'on' : 'off']);
  if (known(position.battery_level)) list.push(['Battery', units.percent(position.battery_level)]);
  else if (known(position.battery_voltage_mv)) list.push(['Battery', units.volts(position.battery_voltage_mv)]);
  if (known(position.external_voltage_mv)) list.push(['External voltage', units.volts(position.external_voltage_mv)]);
  if (known(position.signal)) list.push(['Signal', `${position.signal} of 5`]);
  if (known(position.satellites)) list.push(['Satellites', units.number(position.satellites)]);
  return list;
}
