// The picture that fits a report: bars a day, a line of bars per asset, places on the map.
import { el, svg } from '../dom.js';
import { makeMap } from '../map/basemap.js';
import { colour, eventOf, toneColour } from '../states.js';
import { dayStart } from '../time.js';
import { L, uPlot } from '../vendor.js';
import { excursionChart } from './excursion.js';
import { distance, hours, number } from '../units.js';
import { indexOf, minuteIn, timeIn, valueOf } from './cells.js';

// Assets that a timeline shows; more would be a wall.
const LINES_MAX = 40;
// Bars on one timeline.
const BARS_MAX = 6000;

// The picture, or null where there is none for this report. `tiles` is what GET /me says.
export function picture(report, tiles) {
  if (!report.rows.length) return null;
  switch (report.report) {
    case 'daily': return dailyBars(report);
    case 'trips': return timeline(report, 'Trips', () => 'moving');
    case 'stops': return timeline(report, 'Stops', () => 'parked');
    case 'offline': return timeline(report, 'Times offline', () => 'offline');
    case 'temperature': return temperatures(report);
    case 'events': return eventMap(report, tiles);
    case 'odometer': return distanceBars(report);
    default: return null;
  }
}

const asked = (report) => [Date.parse(report.from), Date.parse(report.to)];
const nameOf = (report, row) => valueOf(report, row, 'asset') ?? '';

// When temperatures were beyond their limits, and the curve of the one that is pointed at; at first the longest.
function temperatures(report) {
  const chart = excursionChart(report);
  const lines = timeline(report, 'Times beyond the limits', (row) => (valueOf(report, row, 'beyond') === 'below' ? 'too_cold' : 'too_warm'), chart.look);
  const at = indexOf(report, 'duration_s');
  chart.look(report.rows.reduce((longest, row) => (row[at] > longest[at] ? row : longest)));
  return [lines, chart];
}

// One line per asset, a bar from its beginning to its end for each row.
function timeline(report, title, toneOf, choose = null) {
  const [fromAt, toAt] = [indexOf(report, 'start_time'), indexOf(report, 'end_time')];
  const lines = new Map();
  for (const row of report.rows.slice(0, BARS_MAX)) {
    const name = nameOf(report, row);
    if (!lines.has(name) && lines.size >= LINES_MAX) continue;
    if (!lines.has(name)) lines.set(name, []);
    lines.get(name).push(row);
  }
  const [from, to] = asked(report);
  const share = (at) => Math.min(1000, Math.max(0, (1000 * (at - from)) / (to - from)));
  const hover = el('p.quiet.small.timeline-hover', { 'aria-hidden': 'true' }, choose ? 'Click a bar to see its curve.' : 'Point at a bar to see when it was.');
  const rows = [...lines].map(([name, bars]) => {
    const drawn = bars.map((row) => {
      const [begin, end] = [Date.parse(row[fromAt]), row[toAt] ? Date.parse(row[toAt]) : to];
      const x = share(begin);
      const words = `${name}: ${timeIn(row[fromAt], report.time_zone)} to ${row[toAt] ? timeIn(row[toAt], report.time_zone) : 'now'}, ${hours((end - begin) / 1000)}`;
      return svg('rect', { x, y: 2, width: Math.max(1.2, share(end) - x), height: 16, rx: 1, class: `bar-${toneOf(row)}`, on: { pointerenter: () => { hover.textContent = words; }, click: () => choose?.(row) } }, svg('title', {}, words));
    });
    return el('div.timeline-line', {}, el('span.truncate', { title: name }, name), svg('svg', { viewBox: '0 0 1000 20', preserveAspectRatio: 'none', role: 'img', 'aria-label': `${name}: ${number(bars.length)}` }, drawn));
  });
  const ticks = ticksOf(from, to, report.time_zone).map(([at, word]) => el('span', { style: { left: `${share(at) / 10}%` } }, word));
  return el('figure.card.timeline', {}, el('figcaption', {}, el('h2', {}, title), lines.size >= LINES_MAX ? el('span.quiet', {}, `The first ${LINES_MAX} assets; the table has all.`) : null),
    rows, el('div.timeline-line', { 'aria-hidden': 'true' }, el('span'), el('div.timeline-axis', {}, ticks)), hover);
}

// Hours of a day or two, else beginnings of days; at most some eight of them.
function ticksOf(from, to, zone) {
  const days = (to - from) / 86_400_000;
  const short = days <= 2.1;
  const format = new Intl.DateTimeFormat(undefined, { timeZone: zone, hourCycle: 'h23', ...(short ? { hour: '2-digit', minute: '2-digit' } : { day: 'numeric', month: 'short' }) });
  const every = Math.ceil(days / 8);
  const ticks = [];
  if (short) for (let at = from; at < to; at += (days <= 1.1 ? 3 : 6) * 3_600_000) ticks.push([at, format.format(at)]);
  else for (let at = from; at < to; at = dayStart(at, zone, every)) ticks.push([at, format.format(at)]);
  return ticks;
}

// Kilometres a day, all assets of the report together.
function dailyBars(report) {
  const [day, metres] = [indexOf(report, 'day'), indexOf(report, 'distance_m')];
  const sums = new Map();
  for (const row of report.rows) {
    const key = String(row[day]).slice(0, 10);
    sums.set(key, (sums.get(key) ?? 0) + (Number(row[metres]) || 0));
  }
  const days = [...sums.keys()].sort();
  const words = days.map((key) => new Intl.DateTimeFormat(undefined, { timeZone: 'UTC', day: 'numeric', month: 'short' }).format(Date.parse(`${key}T00:00:00Z`)));
  return bars('Distance a day', words, days.map((key) => sums.get(key) / 1000), 'km');
}

function distanceBars(report) {
  const metres = indexOf(report, 'distance_m');
  const rows = [...report.rows].filter((row) => row[metres] > 0).sort((a, b) => b[metres] - a[metres]).slice(0, 30);
  if (!rows.length) return null;
  return bars(report.rows.length > 30 ? 'Distance, the thirty longest' : 'Distance', rows.map((row) => nameOf(report, row)), rows.map((row) => row[metres] / 1000), 'km');
}

// Bars by uPlot: one per word.
function bars(title, words, values, unit) {
  const place = el('div.chart');
  const hover = el('p.quiet.small', { 'aria-hidden': 'true' }, '\u00a0');
  const node = el('figure.card', {}, el('figcaption', {}, el('h2', {}, title)), place, hover);
  let plot = null;
  const make = () => {
    plot?.destroy();
    const [ink, line, accent] = [colour('--ink-2'), colour('--line'), colour('--accent')];
    const axis = { stroke: ink, font: '12px system-ui, sans-serif', ticks: { show: false } };
    plot = new uPlot({
      width: Math.max(240, place.clientWidth), height: 220,
      legend: { show: false },
      cursor: { y: false, points: { show: false }, drag: { x: false, y: false } },
      scales: { x: { time: false, range: [-0.6, words.length - 0.4] }, y: { range: (u, low, high) => [0, Math.max(1, high * 1.1)] } },
      axes: [{ ...axis, grid: { show: false }, size: 30, space: 64, incrs: [1, 2, 5, 7, 10, 14, 20, 30, 50, 100], values: (u, at) => at.map((i) => (Number.isInteger(i) ? words[i]?.slice(0, 14) ?? '' : '')) }, { ...axis, grid: { stroke: line, width: 1 }, size: 72, values: (u, at) => at.map((value) => `${number(value)} ${unit}`) }],
      series: [{}, { stroke: accent, fill: accent, paths: uPlot.paths.bars({ size: [0.7, 48], radius: 0.1 }), points: { show: false } }],
      hooks: { setCursor: [(u) => { const i = u.cursor.idx; hover.textContent = i === null || i === undefined ? '\u00a0' : `${words[i]}: ${distance(values[i] * 1000)}`; }] },
    }, [words.map((_, i) => i), values], place);
  };
  // The figure gets its width when it is in the page.
  let width = 0;
  new ResizeObserver(() => { if (place.clientWidth !== width) { width = place.clientWidth; make(); } }).observe(place);
  window.addEventListener('theme', () => { if (place.isConnected) make(); });
  return node;
}

// Events where they happened.
function eventMap(report, tiles) {
  const [longitude, latitude, kind, time] = ['longitude', 'latitude', 'event', 'time'].map((key) => indexOf(report, key));
  const placed = report.rows.filter((row) => row[longitude] !== null && row[latitude] !== null);
  if (!placed.length) return null;
  const place = el('div.report-map', { role: 'application', 'aria-label': 'Map of the events' });
  const figure = el('figure.card.flush', {}, place);
  requestAnimationFrame(() => {
    if (!place.isConnected) return;
    const map = makeMap(place, tiles, { scrollWheelZoom: false });
    const dots = placed.slice(0, 2000).map((row) => {
      const what = eventOf(String(row[kind]).split(/, */)[0]);
      return L.circleMarker([row[latitude], row[longitude]], { radius: 7, weight: 2, color: colour('--surface'), fillColor: toneColour(what.tone), fillOpacity: 0.95 })
        .bindTooltip(el('span', {}, `${nameOf(report, row)}: ${what.name}`, `, ${minuteIn(row[time], report.time_zone)}`));
    });
    const group = L.featureGroup(dots).addTo(map);
    map.fitBounds(group.getBounds().pad(0.2), { maxZoom: 11 });
  });
  return figure;
}
