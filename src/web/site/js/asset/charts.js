// The charts under the map, on one axis of time with one cursor. Gaps are left open and shaded, limits are drawn, a sensor's fault
// is hatched with its text and never a value; events have marks. Dragging over a stretch of time looks at it more closely.

import { uPlot } from '../vendor.js';
import { el, fill, onFrame, setText } from '../dom.js';
import { icon } from '../icons.js';
import { eventOf, toneColour } from '../states.js';
import * as time from '../time.js';
import { number } from '../units.js';
import { empty } from '../ui.js';
import { axisTimes, chartTheme, fillSpans, hatch } from './chartpaint.js';
import { columns } from './chartdata.js';
import { indexAt } from './track.js';

const HEIGHT_PX = 132;
const AXIS_PX = 26;
const LEFT_PX = 58;
// A stretch shorter than this on the screen was a click.
const DRAG_MIN_PX = 6;
// More events than this have a tick at the upper edge only: their lines would hide the values.
const LINES_MAX = 60;

// pointed(seconds or null) for the pointer, clicked(seconds), zoomed(from, to) in seconds, closed(key) for a chart put away.
export function chartStack(group, { pointed, clicked, zoomed, closed }) {
  const node = el('div.charts');
  let charts = [];
  let theme = chartTheme();
  let range = { from: 0, to: 1 };
  let marks = [];
  let moment = null;
  window.addEventListener('theme', () => {
    theme = chartTheme();
    charts.forEach(({ plot }) => plot?.redraw(false));
  });
  new ResizeObserver(onFrame(resize)).observe(node);

  function resize() {
    const width = node.clientWidth;
    if (width) charts.forEach((chart) => chart.plot?.setSize({ width, height: height(chart) }));
  }
  const isLast = (chart) => chart === charts[charts.length - 1];
  const height = (chart) => HEIGHT_PX + (isLast(chart) ? AXIS_PX : 0);

  // list: [{ key, name, series, thinned, gaps, limits }] as the series came from the API; events for the marks.
  function show(list, nextRange, events) {
    range = nextRange;
    marks = events;
    charts.forEach(({ plot }) => plot?.destroy());
    charts = list.map((one) => ({ ...one, ...columns(one.series, one.gaps, one.thinned) }));
    if (!charts.length) {
      fill(node, empty('No values in this time', 'Choose another time, or another chart.'));
      return;
    }
    fill(node, charts.map(frame));
    charts.forEach(draw);
    setMoment(moment);
  }

  function frame(chart) {
    chart.values = el('span.chart-values');
    chart.place = el('div.chart-place');
    const close = el('button.plain.icon-only', { type: 'button', 'aria-label': `Put ${chart.name} away`, title: 'Put away', on: { click: () => closed(chart.key) } }, icon('close'));
    const words = summary(chart);
    return el('section.chart', { 'aria-label': words }, el('header', {}, el('h2', {}, chart.name), chart.values, close), chart.place, el('p.visually-hidden', {}, words));
  }

  // What a screen reader gets in place of the picture.
  function summary({ name, series }) {
    const parts = series.map((one) => {
      const least = Math.min(...one.min.filter((value) => value !== null));
      const most = Math.max(...one.max.filter((value) => value !== null));
      return `${one.name}: ${Number.isFinite(least) ? `${number(least, 1)} to ${number(most, 1)} ${one.unit}` : 'no values'}${one.faults.length ? `, ${one.faults.length} times faulty` : ''}`;
    });
    return `${name}. ${parts.join('; ')}`;
  }

  function draw(chart) {
    const lines = chart.series.flatMap((one, k) => {
      const stroke = () => theme.series[k % theme.series.length];
      const line = { stroke, width: 1.6, points: { show: false }, spanGaps: false };
      // Few values are dots too: a line alone would not show a single one.
      if (one.time.length < 40) line.points = { show: true, size: 5, fill: stroke };
      return chart.per === 1 ? [line] : [line, { width: 0, points: { show: false } }, { width: 0, points: { show: false } }];
    });
    const bands = chart.per === 1 ? [] : chart.series.map((_, k) => ({ series: [3 * k + 3, 3 * k + 2], fill: () => theme.bands[k % theme.bands.length] }));
    chart.plot = new uPlot({
      width: node.clientWidth || 600,
      height: height(chart),
      padding: [8, 22, isLast(chart) ? 0 : 6, 0],
      legend: { show: false },
      cursor: { y: false, points: { size: 7 }, drag: { x: true, y: false, setScale: false, dist: DRAG_MIN_PX }, bind: {} },
      tzDate: (at) => uPlot.tzDate(new Date(at * 1000), time.zone(group)),
      scales: { x: { time: true, range: () => [range.from, range.to] }, y: { range: (u, least, most) => yRange(chart, least, most) } },
      axes: [
        { size: isLast(chart) ? AXIS_PX : 0, stroke: () => theme.quiet, font: theme.font, grid: { stroke: () => theme.line, width: 1 }, ticks: { show: false }, space: 70, values: (u, splits, _axis, _space, step) => (isLast(chart) ? axisTimes(splits, step, group) : splits.map(() => null)) },
        { size: LEFT_PX, stroke: () => theme.quiet, font: theme.font, grid: { stroke: () => theme.line, width: 1 }, ticks: { show: false }, space: 26, values: (u, splits) => splits.map((value) => number(value, splits.some((one) => one % 1) ? 1 : 0)) },
      ],
      series: [{}, ...lines],
      bands,
      hooks: {
        drawClear: [(u) => background(u, chart)],
        draw: [(u) => foreground(u, chart)],
        setCursor: [(u) => cursorMoved(u)],
        setSelect: [(u) => selected(u)],
      },
    }, chart.data, chart.place);
    const { over } = chart.plot;
    over.addEventListener('mouseleave', () => pointed(null));
    over.addEventListener('click', () => { if (moment !== null) clicked(moment); });
    touch(chart.plot);
  }

  function yRange({ series, limits }, least, most) {
    if (least === null || most === null) return [0, 1];
    let [low, high] = [least, most];
    // Limits are in the picture when the values come near them, not when they would squeeze the values flat.
    const spread = Math.max(high - low, 1);
    for (const limit of [limits?.temperature_min, limits?.temperature_max]) {
      if (Number.isFinite(limit ?? NaN) && limit > low - spread && limit < high + spread) [low, high] = [Math.min(low, limit), Math.max(high, limit)];
    }
    if (series[0]?.key === 'speed_kmh') [low, high] = [Math.min(0, low), Math.max(20, high)];
    const margin = Math.max((high - low) * 0.08, 0.5 * (series[0]?.factor === 0.001 ? 0.2 : 1));
    return [series[0]?.key === 'speed_kmh' ? 0 : low - margin, high + margin];
  }

  function background(u, chart) {
    fillSpans(u, chart.gaps, theme.gap);
    const { temperature_min: low, temperature_max: high } = chart.limits ?? {};
    if (Number.isFinite(high ?? NaN)) beyond(u, high, true);
    if (Number.isFinite(low ?? NaN)) beyond(u, low, false);
    for (const one of chart.series) for (const fault of one.faults) hatch(u, fault, theme.fault);
  }

  // The region above or below a limit, with the limit as a line.
  function beyond(u, limit, above) {
    const { ctx, bbox } = u;
    const y = u.valToPos(limit, 'y', true);
    const edge = Math.max(bbox.top, Math.min(bbox.top + bbox.height, y));
    ctx.save();
    ctx.fillStyle = above ? theme.warm : theme.cold;
    if (above) ctx.fillRect(bbox.left, bbox.top, bbox.width, edge - bbox.top);
    else ctx.fillRect(bbox.left, edge, bbox.width, bbox.top + bbox.height - edge);
    if (edge === y) {
      ctx.strokeStyle = above ? theme.warmLine : theme.coldLine;
      ctx.setLineDash([6 * devicePixelRatio, 4 * devicePixelRatio]);
      ctx.lineWidth = devicePixelRatio;
      ctx.beginPath();
      ctx.moveTo(bbox.left, y);
      ctx.lineTo(bbox.left + bbox.width, y);
      ctx.stroke();
    }
    ctx.restore();
  }

  function foreground(u, chart) {
    const { ctx, bbox } = u;
    ctx.save();
    ctx.font = `${11 * devicePixelRatio}px system-ui, sans-serif`;
    for (const one of chart.series) {
      for (const fault of one.faults) {
        const from = Math.max(bbox.left, u.valToPos(fault.from, 'x', true));
        const to = Math.min(bbox.left + bbox.width, u.valToPos(fault.to, 'x', true));
        if (to - from < 40 * devicePixelRatio) continue;
        ctx.fillStyle = theme.fault;
        ctx.fillText('fault', from + 4 * devicePixelRatio, bbox.top + bbox.height - 5 * devicePixelRatio);
      }
    }
    for (const mark of marks) {
      const x = Math.round(u.valToPos(mark.at, 'x', true));
      if (x < bbox.left || x > bbox.left + bbox.width) continue;
      ctx.fillStyle = toneColour(eventOf(mark.kind).tone);
      ctx.strokeStyle = ctx.fillStyle;
      if (marks.length <= LINES_MAX) {
        ctx.globalAlpha = 0.55;
        ctx.lineWidth = devicePixelRatio;
        ctx.beginPath();
        ctx.moveTo(x, bbox.top);
        ctx.lineTo(x, bbox.top + bbox.height);
        ctx.stroke();
        ctx.globalAlpha = 1;
      }
      const size = 5 * devicePixelRatio;
      ctx.beginPath();
      ctx.moveTo(x - size, bbox.top);
      ctx.lineTo(x + size, bbox.top);
      ctx.lineTo(x, bbox.top + size * 1.5);
      ctx.fill();
    }
    ctx.restore();
  }

  // uPlot tells of cursors that were moved by setMoment too; those must not come back.
  let moving = false;
  function cursorMoved(u) {
    if (moving) return;
    const { left } = u.cursor;
    if (left === undefined || left < 0) return;
    pointed(u.posToVal(left, 'x'));
  }

  function selected(u) {
    const { left, width } = u.select;
    if (width < DRAG_MIN_PX) return;
    const [from, to] = [u.posToVal(left, 'x'), u.posToVal(left + width, 'x')];
    u.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
    zoomed(from, to);
  }

  // A finger moves the cursor; up and down it scrolls the page.
  function touch({ over, posToVal }) {
    over.style.touchAction = 'pan-y';
    over.addEventListener('pointermove', (event) => {
      if (event.pointerType !== 'touch') return;
      pointed(posToVal(event.clientX - over.getBoundingClientRect().left, 'x'));
    });
  }

  function setMoment(next) {
    moment = next;
    moving = true;
    for (const chart of charts) {
      if (!chart.plot) continue;
      const left = next === null ? -10 : chart.plot.valToPos(next, 'x');
      chart.plot.setCursor({ left, top: next === null ? -10 : 10 }, false);
      fill(chart.values, chart.series.map((one, k) => valueNode(one, k, next)));
    }
    moving = false;
  }

  function valueNode(one, k, at) {
    const swatch = el('i', { style: { background: theme.series[k % theme.series.length] } });
    const name = el('span.quiet', {}, one.name);
    if (at === null) return el('span.chart-value', {}, swatch, name);
    const fault = one.faults.find((each) => at >= each.from && at <= each.to);
    if (fault) return el('span.chart-value', {}, swatch, name, el('b.tone.tone-sensor_fault', {}, `fault: ${fault.text}`));
    const i = indexAt(one.time, at);
    const value = i < 0 ? null : one.last[i];
    const text = value === null ? '–' : `${number(value, Number.isInteger(value) && one.factor === 1 ? 0 : one.factor === 1 ? 1 : 2)}\u202f${one.unit ?? ''}`;
    return el('span.chart-value', {}, swatch, name, el('b', {}, text));
  }

  return { node, show, setMoment, redraw: () => charts.forEach(({ plot }) => plot?.redraw(false)) };
}

// Where a list of charts is being loaded.
export function chartsLoading(node, n) {
  fill(node, Array.from({ length: n }, () => el('section.chart', {}, el('header', {}, el('span.skeleton', { style: { width: '90px', height: '14px' } })), el('span.skeleton', { style: { height: '110px', margin: '0 12px 12px' } }))));
  setText(node.appendChild(el('span.visually-hidden', { role: 'status' })), 'Loading charts');
}
