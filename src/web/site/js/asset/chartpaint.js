// Colours, backgrounds and labels of the charts.

import { colour } from '../states.js';
import * as time from '../time.js';

const N_SERIES = 6;

// All colours as the theme has them now; canvases know no custom properties.
export function chartTheme() {
  const series = Array.from({ length: N_SERIES }, (_, i) => colour(`--series-${i + 1}`));
  return {
    series,
    bands: series.map((one) => withAlpha(one, 0.22)),
    quiet: colour('--ink-2'),
    line: colour('--line'),
    gap: withAlpha(colour('--ink-2'), 0.13),
    fault: colour('--sensor-fault'),
    warm: withAlpha(colour('--too-warm'), 0.09),
    warmLine: colour('--too-warm'),
    cold: withAlpha(colour('--too-cold'), 0.09),
    coldLine: colour('--too-cold'),
    font: '11px system-ui, sans-serif',
  };
}

function withAlpha(rgb, alpha) {
  const [red, green, blue] = rgb.match(/[\d.]+/g) ?? [0, 0, 0];
  return `rgb(${red} ${green} ${blue} / ${alpha})`;
}

// Spans of time ({ from, to } in seconds) as bands behind the lines.
export function fillSpans(u, spans, paint) {
  const { ctx, bbox } = u;
  ctx.save();
  ctx.fillStyle = paint;
  for (const span of spans) {
    const [from, to] = edges(u, span);
    if (to > from) ctx.fillRect(from, bbox.top, to - from, bbox.height);
  }
  ctx.restore();
}

// A span in slanted lines: there were records, and what they said was no value.
export function hatch(u, span, paint) {
  const { ctx, bbox } = u;
  const [from, to] = edges(u, span);
  if (to <= from) return;
  const width = Math.max(to - from, 2);
  ctx.save();
  ctx.beginPath();
  ctx.rect(from, bbox.top, width, bbox.height);
  ctx.clip();
  ctx.strokeStyle = paint;
  ctx.globalAlpha = 0.6;
  ctx.lineWidth = devicePixelRatio;
  ctx.beginPath();
  const step = 7 * devicePixelRatio;
  for (let x = from - bbox.height; x < from + width; x += step) {
    ctx.moveTo(x, bbox.top + bbox.height);
    ctx.lineTo(x + bbox.height, bbox.top);
  }
  ctx.stroke();
  ctx.globalAlpha = 0.14;
  ctx.fillStyle = paint;
  ctx.fillRect(from, bbox.top, width, bbox.height);
  ctx.restore();
}

function edges(u, { from, to }) {
  const { left, width } = u.bbox;
  const clamp = (x) => Math.max(left, Math.min(left + width, x));
  return [clamp(u.valToPos(from, 'x', true)), clamp(u.valToPos(to, 'x', true))];
}

// Labels of the axis of time, in the zone that is shown: the hour, or the day where a day begins.
export function axisTimes(splits, step, group) {
  let lastDay = null;
  return splits.map((at) => {
    const day = shortDay(at * 1000, group);
    const label = step >= 86_400 || (day !== lastDay && time.clock(at * 1000, group) === '00:00') ? day : step < 60 ? time.clockSeconds(at * 1000, group) : time.clock(at * 1000, group);
    lastDay = day;
    return label;
  });
}

const formats = new Map();
function shortDay(at, group) {
  const zone = time.zone(group);
  if (!formats.has(zone)) formats.set(zone, new Intl.DateTimeFormat(undefined, { timeZone: zone, day: 'numeric', month: 'short' }));
  return formats.get(zone).format(at);
}
