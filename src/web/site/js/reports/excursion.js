// One temperature excursion as a curve: what the sensor said around it, the limit, gaps left open and faults hatched.
import * as api from '../api.js';
import { chartTheme, fillSpans, hatch } from '../asset/chartpaint.js';
import { el, fill } from '../dom.js';
import { colour } from '../states.js';
import { load } from '../ui.js';
import { temperature } from '../units.js';
import { uPlot } from '../vendor.js';
import { minuteIn, valueOf } from './cells.js';

// Milliseconds that are shown before and after, at least.
const AROUND_MS = 3_600_000;

// The figure; `figure.look(row)` shows the excursion of that row of the report.
export function excursionChart(report) {
  const title = el('h2', {}, '');
  const place = el('div.chart');
  const hover = el('p.quiet.small', { 'aria-hidden': 'true' }, '\u00a0');
  const figure = el('figure.card', {}, el('figcaption', {}, title), place, hover);
  let draw = () => {};
  let width = 0;
  new ResizeObserver(() => { if (place.clientWidth !== width) { width = place.clientWidth; draw(); } }).observe(place);
  window.addEventListener('theme', () => { if (place.isConnected) draw(); });
  figure.look = (row) => {
    const value = (key) => valueOf(report, row, key);
    const [start, end] = [Date.parse(value('start_time')), value('end_time') ? Date.parse(value('end_time')) : Date.parse(report.to)];
    const around = Math.max(AROUND_MS, (end - start) / 2);
    const key = `temperature_${value('sensor')}`;
    title.textContent = `${value('asset')}, sensor ${value('sensor')}: ${value('beyond') === 'below' ? 'too cold' : 'too warm'} from ${minuteIn(start, report.time_zone)}`;
    draw = () => {};
    load(place, async () => {
      const answer = await api.get(`/assets/${value('asset_id')}/series`, { from: new Date(start - around).toISOString(), to: new Date(end + around).toISOString(), points: 800, what: key });
      // Of what is thinned the extremes are shown that made it an excursion.
      const series = answer.series.find((one) => one.key === key);
      const canvas = el('div');
      draw = () => { if (place.clientWidth) curve(canvas, place.clientWidth, series, answer.gaps ?? [], { start, end, limit: value('limit_c'), cold: value('beyond') === 'below' }, report.time_zone, hover); };
      requestAnimationFrame(() => draw());
      return series?.time.length ? canvas : el('p.quiet', {}, 'No values of this sensor lie around it.');
    }, { lines: 5 });
  };
  return figure;
}

const spansOf = (list) => list.map((one) => ({ from: Date.parse(one.from) / 1000, to: Date.parse(one.to) / 1000 }));

function curve(node, width, series, gaps, { start, end, limit, cold }, zone, hover) {
  if (!series?.time.length) return;
  const theme = chartTheme();
  const long = series.time.at(-1) - series.time[0] > 2 * 86_400;
  const ticks = new Intl.DateTimeFormat(undefined, { timeZone: zone, hourCycle: 'h23', ...(long ? { day: 'numeric', month: 'short' } : { hour: '2-digit', minute: '2-digit' }) });
  const axis = { stroke: theme.quiet, font: theme.font, grid: { stroke: theme.line, width: 1 }, ticks: { show: false } };
  const [values, open] = withGaps(series.time, cold ? series.min : series.max, spansOf(gaps));
  fill(node);
  const plot = new uPlot({
    width, height: 240, legend: { show: false }, cursor: { y: false, drag: { x: false, y: false } },
    scales: { x: { time: true }, y: { range: (u, low, high) => { const [a, b] = [Math.min(low ?? limit, limit), Math.max(high ?? limit, limit)]; const room = Math.max(1, (b - a) * 0.1); return [a - room, b + room]; } } },
    axes: [{ ...axis, size: 28, space: 70, incrs: long ? [86_400, 172_800, 432_000] : [300, 900, 1800, 3600, 7200, 14_400, 21_600], values: (u, at) => at.map((one) => ticks.format(one * 1000)) }, { ...axis, size: 64, values: (u, at) => at.map((one) => `${one} °C`) }],
    series: [{}, { stroke: colour('--accent'), width: 2, points: { show: false }, spanGaps: false }],
    hooks: {
      drawClear: [(u) => {
        fillSpans(u, open, theme.gap);
        fillSpans(u, [{ from: start / 1000, to: end / 1000 }], cold ? theme.cold : theme.warm);
        for (const fault of spansOf(series.faults ?? [])) hatch(u, fault, theme.fault);
      }],
      draw: [(u) => {
        const y = Math.round(u.valToPos(limit, 'y', true));
        u.ctx.save();
        u.ctx.strokeStyle = cold ? theme.coldLine : theme.warmLine;
        u.ctx.lineWidth = 1.5 * devicePixelRatio;
        u.ctx.setLineDash([6 * devicePixelRatio, 4 * devicePixelRatio]);
        u.ctx.beginPath();
        u.ctx.moveTo(u.bbox.left, y);
        u.ctx.lineTo(u.bbox.left + u.bbox.width, y);
        u.ctx.stroke();
        u.ctx.restore();
      }],
      setCursor: [(u) => { const i = u.cursor.idx; hover.textContent = i === null || i === undefined || u.data[1][i] === null ? `Limit ${temperature(limit)}` : `${minuteIn(u.data[0][i] * 1000, zone)}: ${temperature(u.data[1][i])}, limit ${temperature(limit)}`; }],
    },
  }, values, node);
  hover.textContent = `Limit ${temperature(limit)}`;
  return plot;
}

// Values with an empty one in each gap, so that no line crosses it.
function withGaps(time, values, gaps) {
  const points = time.map((at, i) => [at, values[i]]);
  for (const gap of gaps) points.push([(gap.from + gap.to) / 2, null]);
  points.sort((a, b) => a[0] - b[0]);
  return [[points.map(([at]) => at), points.map(([, value]) => value)], gaps];
}
