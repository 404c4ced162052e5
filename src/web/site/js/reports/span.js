// The span of a report: presets that count in days of a zone, or two dates of one's own ("custom").
import { dayStart, fromInput, fromWall, parts, toInput } from '../time.js';

export const PRESETS = [['yesterday', 'Yesterday'], ['today', 'Today'], ['last-week', 'Last week'], ['last-month', 'Last month'], ['this-month', 'This month']];

// [from, to) of a preset in milliseconds, by the calendar of the zone; weeks begin on Monday.
export function spanOf(preset, zone, now = Date.now()) {
  const today = parts(now, zone);
  const weekday = (new Date(Date.UTC(today.year, today.month - 1, today.day)).getUTCDay() + 6) % 7;
  switch (preset) {
    case 'today': return [dayStart(now, zone), dayStart(now, zone, 1)];
    case 'last-week': return [dayStart(now, zone, -weekday - 7), dayStart(now, zone, -weekday)];
    case 'last-month': return [fromWall(zone, today.year, today.month - 1, 1), fromWall(zone, today.year, today.month, 1)];
    case 'this-month': return [fromWall(zone, today.year, today.month, 1), dayStart(now, zone, 1)];
    default: return [dayStart(now, zone, -1), dayStart(now, zone)];
  }
}

// The day in which a moment lies, as <input type="date"> writes it, and the first moment of such a day, or of one some days later.
export const dayOf = (at, zone) => toInput(at, zone).slice(0, 10);
export const dayBegin = (text, zone, later = 0) => dayStart(fromInput(`${text}T12:00`, zone), zone, later);
