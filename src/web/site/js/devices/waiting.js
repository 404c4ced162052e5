// Who stands at the door: devices that tried to log in and were turned away, each with "Accept".
import * as api from '../api.js';
import { el, fill } from '../dom.js';
import { icon } from '../icons.js';
import { itemsOf } from '../pages/frame.js';
import { badge } from '../states.js';
import { ageNode } from '../time.js';
import { confirm, during, toast } from '../ui.js';
import { count, number } from '../units.js';

// Devices shown before "Show more".
const SHOWN = 5;

// The logins that were refused, one entry per IMEI, the newest first.
export async function attempts() {
  const byImei = new Map();
  for (const one of itemsOf(await api.get('/login_attempts', { per_page: 1000 }))) {
    const there = byImei.get(one.imei);
    const logins = one.n_attempts;
    if (!there) byImei.set(one.imei, { ...one, logins, ports: [one.port].filter(Boolean) });
    else {
      there.logins += logins;
      if (one.port && !there.ports.includes(one.port)) there.ports.push(one.port);
      if (one.last_at > there.last_at) Object.assign(there, { last_at: one.last_at, last_address: one.last_address, reason: one.reason });
    }
  }
  return [...byImei.values()].sort((a, b) => (a.last_at < b.last_at ? 1 : -1));
}

// Somebody has said that this device shall not come in; "Accept all" leaves it out.
const turnedDown = (one) => /refuse|remove/.test(`${one.state ?? ''} ${one.reason ?? ''}`);

// The box above the list, or null where nobody waits. `changed` is called after devices were let in.
export function waitingBox(waiting, changed) {
  if (!waiting.length) return null;
  const accept = async (imeis) => {
    await api.post('/devices/accept', { imeis });
    toast(`${count(imeis.length, 'device')} accepted: let in at the next login.`, 'good');
    changed();
  };
  const open = waiting.filter((one) => !turnedDown(one));
  const everyone = async () => {
    const sure = await confirm(`Accept ${count(open.length, 'device')}?`, 'Each is registered, gets an asset of its own, and what it sends is stored from its next login on. Accept only devices that are yours: whoever knows this server\'s address can log in with any IMEI.', `Accept all (${number(open.length)})`, false);
    if (sure) await accept(open.map((one) => one.imei));
  };
  const list = el('ul.waiting');
  const show = (all) => fill(list, (all ? waiting : waiting.slice(0, SHOWN)).map((one) => line(one, accept)));
  show(false);
  const more = waiting.length > SHOWN && el('button.plain', { type: 'button', on: { click: () => { show(true); more.remove(); } } }, `Show ${number(waiting.length - SHOWN)} more`);
  return el('section.card.at-the-door', { 'aria-labelledby': 'at-the-door' },
    el('div.row.between', {},
      el('div', {}, el('h2', { id: 'at-the-door' }, `${count(waiting.length, 'device')} at the door`), el('p.quiet', {}, 'They tried to log in and were turned away.')),
      open.length > 1 && el('button.primary', { type: 'button', on: { click: (event) => during(event.currentTarget, everyone) } }, icon('check'), `Accept all (${number(open.length)})`)),
    list, more);
}

function line(one, accept) {
  const from = [one.last_address && `from ${one.last_address}`, one.ports.length && `on ${one.ports.join(', ')}`].filter(Boolean).join(' ');
  const button = el('button', { type: 'button', 'aria-label': `Accept ${one.imei}`, on: { click: (event) => during(event.currentTarget, () => accept([one.imei])) } }, 'Accept');
  return el('li', {},
    el('div', {}, el('div.row', {}, el('span.imei', {}, one.imei), turnedDown(one) ? badge('refused before', 'bad', 'cross') : null),
      el('div.quiet.small', {}, count(one.logins, 'login'), one.last_at ? [', last ', ageNode(one.last_at)] : null, from && `, ${from}`)),
    button);
}
