// Times as people read them: in the reader's own zone, or in that of the group whose assets are looked at.
//
// A time is whatever comes from the API (RFC 3339), a Date, or milliseconds. Where a function takes `group`, it is the id of the
// group the time belongs to; it only matters when the reader has chosen the group's zone.

const READER = Intl.DateTimeFormat().resolvedOptions().timeZone || 'UTC';
let zones = new Map();
let first = READER;
let choice = kept();
// Milliseconds that the server's clock is ahead of this one's: ages are the server's.
let ahead = 0;

function kept() {
  try {
    return localStorage.getItem('zone') === 'group' ? 'group' : 'reader';
  } catch {
    return 'reader';
  }
}

// Tells the groups of GET /me; the first is what is taken where no group is given.
export function setGroups(groups) {
  zones = new Map(groups.map((group) => [group.id, group.time_zone]));
  first = groups[0]?.time_zone ?? 'UTC';
}

// "reader" or "group": whose zone is shown.
export const zoneChoice = () => choice;

// Chooses it, keeps it in this browser and tells the page by the event "zone" on window.
export function chooseZone(next) {
  choice = next === 'group' ? 'group' : 'reader';
  try {
    localStorage.setItem('zone', choice);
  } catch {
    // Then it holds for this page only.
  }
  formats.clear();
  window.dispatchEvent(new Event('zone'));
}

// The zone's name, such as Europe/Vienna.
export const zone = (group) => (choice === 'group' ? zones.get(group) ?? first : READER);

// Tells what the server's clock says now (the "at" of an answer).
export function setServerTime(at) {
  const ms = Date.parse(at);
  if (Number.isFinite(ms)) ahead = ms - Date.now();
}

// Milliseconds since 1970 by the server's clock.
export const now = () => Date.now() + ahead;

export const ms = (time) => (typeof time === 'number' ? time : time instanceof Date ? time.getTime() : Date.parse(time));

const formats = new Map();
function format(name, timeZone, options) {
  const key = `${name} ${timeZone}`;
  if (!formats.has(key)) formats.set(key, new Intl.DateTimeFormat(undefined, { timeZone, hourCycle: 'h23', ...options }));
  return formats.get(key);
}

const DAY = { year: 'numeric', month: 'short', day: 'numeric' };
const CLOCK = { hour: '2-digit', minute: '2-digit' };

// "24 Nov 2026, 14:03:20"
export const full = (time, group) => write(time, format('full', zone(group), { ...DAY, ...CLOCK, second: '2-digit' }));
// "24 Nov 2026, 14:03"
export const minute = (time, group) => write(time, format('minute', zone(group), { ...DAY, ...CLOCK }));
// "24 Nov 2026"
export const day = (time, group) => write(time, format('day', zone(group), DAY));
// "14:03"
export const clock = (time, group) => write(time, format('clock', zone(group), CLOCK));
// "14:03:20"
export const clockSeconds = (time, group) => write(time, format('seconds', zone(group), { ...CLOCK, second: '2-digit' }));

function write(time, formatter) {
  const at = ms(time);
  return time !== null && time !== undefined && Number.isFinite(at) ? formatter.format(at) : '–';
}

// "12 s", "3 min", "5 h 20 min", "4 days": how long something lasts or is ago; two parts at most.
export function duration(milliseconds) {
  const s = Math.max(0, Math.round(milliseconds / 1000));
  if (s < 60) return `${s} s`;
  const min = Math.floor(s / 60);
  if (min < 60) return `${min} min`;
  const h = Math.floor(min / 60);
  if (h < 24) return min % 60 ? `${h} h ${min % 60} min` : `${h} h`;
  const d = Math.floor(h / 24);
  if (d === 1) return h % 24 ? `1 day ${h % 24} h` : '1 day';
  return `${d} days`;
}

// "3 min ago"; what lies a little ahead by a device's clock is now.
export function age(time) {
  const passed = now() - ms(time);
  if (!Number.isFinite(passed)) return 'never';
  if (passed < -90_000) return `in ${duration(-passed)}`;
  return passed < 5000 ? 'just now' : `${duration(passed)} ago`;
}

// A <time> that goes on ticking as long as it is in the document; the exact time on hover.
export function ageNode(time, group) {
  const node = document.createElement('time');
  setAge(node, time, group);
  return node;
}

// Gives such a node another time.
export function setAge(node, time, group) {
  if (time === null || time === undefined) {
    node.removeAttribute('datetime');
    node.removeAttribute('title');
    node.textContent = 'never';
    return;
  }
  node.dateTime = new Date(ms(time)).toISOString();
  node.title = full(time, group);
  node.textContent = age(time);
  node.dataset.age = '';
}

function tick() {
  if (document.hidden) return;
  for (const node of document.querySelectorAll('time[data-age]')) {
    const text = age(node.dateTime);
    if (node.textContent !== text) node.textContent = text;
  }
}
setInterval(tick, 1000);
document.addEventListener('visibilitychange', tick);

// Parts of a moment in a zone, as numbers.
export function parts(time, timeZone) {
  const found = {};
  const formatter = format('parts', timeZone, { year: 'numeric', month: 'numeric', day: 'numeric', hour: 'numeric', minute: 'numeric', second: 'numeric', calendar: 'gregory', numberingSystem: 'latn' });
  for (const { type, value } of formatter.formatToParts(ms(time))) found[type] = Number(value);
  return found;
}

// Milliseconds of what the wall clock of a zone shows; overflowing days and months are carried. In the hour that does not exist
// in spring it is the moment after the jump, in the hour that comes twice the first one.
export function fromWall(timeZone, year, month, dayOfMonth, hour = 0, minutes = 0) {
  const wanted = Date.UTC(year, month - 1, dayOfMonth, hour, minutes);
  const offset = (at) => {
    const p = parts(at, timeZone);
    return Date.UTC(p.year, p.month - 1, p.day, p.hour, p.minute, p.second) - Math.floor(at / 1000) * 1000;
  };
  const before = wanted - offset(wanted - 86_400_000);
  if (before + offset(before) === wanted) return before;
  const after = wanted - offset(wanted + 86_400_000);
  return after + offset(after) === wanted ? after : before;
}

// The beginning of the day in which the time lies, `days` later or earlier.
export function dayStart(time, timeZone, days = 0) {
  const p = parts(time, timeZone);
  return fromWall(timeZone, p.year, p.month, p.day + days);
}

const two = (n) => String(n).padStart(2, '0');

// The value of <input type="datetime-local"> for a moment in a zone, and back; NaN for what is no time.
export function toInput(time, timeZone) {
  const p = parts(time, timeZone);
  return `${String(p.year).padStart(4, '0')}-${two(p.month)}-${two(p.day)}T${two(p.hour)}:${two(p.minute)}`;
}
export function fromInput(text, timeZone) {
  const found = /^(\d{4})-(\d\d)-(\d\d)(?:T(\d\d):(\d\d))?/.exec(text ?? '');
  if (!found) return NaN;
  const [year, month, date, hour, minutes] = found.slice(1).map((part) => Number(part ?? 0));
  return fromWall(timeZone, year, month, date, hour, minutes);
}
