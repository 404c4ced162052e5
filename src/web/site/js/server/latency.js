// How long devices wait for their acknowledgement, since the start: bars per bound, the median and the 99th percentile.
import { el } from '../dom.js';
import { UNKNOWN, number } from '../units.js';

const FAMILY = 'trackport_ack_latency_seconds_bucket';

const ms = (value) => (value === null || value === undefined ? UNKNOWN : value < 10 ? `${number(value, 1)} ms` : value < 1000 ? `${number(value)} ms` : `${number(value / 1000, 1)} s`);

// The histogram in what /metrics says, whatever store made the packets durable: bounds in milliseconds, and one count for each
// and one more for what took longer. Null before the first acknowledgement.
export function histogramIn(metrics) {
  const upTo = new Map();
  for (const line of metrics.split('\n')) {
    if (!line.startsWith(FAMILY)) continue;
    const bound = /le="([^"]+)"/.exec(line)?.[1];
    const n = Number(line.slice(line.indexOf('}') + 1).trim().split(' ')[0]);
    if (bound === undefined || !Number.isFinite(n)) continue;
    const at = bound === '+Inf' ? Infinity : Number(bound) * 1000;
    upTo.set(at, (upTo.get(at) ?? 0) + n);
  }
  const sorted = [...upTo].sort((a, b) => a[0] - b[0]);
  if (!sorted.length || !sorted.at(-1)[1]) return null;
  const counts = sorted.map(([, n], i) => n - (i ? sorted[i - 1][1] : 0));
  return { bounds: sorted.map(([at]) => at).filter(Number.isFinite), counts };
}

// Within its bar a share is taken to lie evenly; what is beyond the last bound is said to be that.
export function quantile({ bounds, counts }, share) {
  const total = counts.reduce((sum, n) => sum + n, 0);
  let left = total * share;
  for (let i = 0; i < counts.length; i += 1) {
    if (left <= counts[i] && i < bounds.length) return (i ? bounds[i - 1] : 0) + ((bounds[i] - (i ? bounds[i - 1] : 0)) * left) / counts[i];
    left -= counts[i];
  }
  return bounds.at(-1) ?? null;
}

export function latencyNode(histogram) {
  const { bounds, counts } = histogram;
  const most = Math.max(1, ...counts);
  const shown = counts.map((n, i) => ({ n, name: i < bounds.length ? `up to ${ms(bounds[i])}` : `over ${ms(bounds.at(-1))}` }));
  while (shown.length > 3 && !shown.at(-1).n) shown.pop();
  while (shown.length > 3 && !shown[0].n && !shown[1].n) shown.shift();
  return el('div.column', {},
    el('div.figures', {}, el('div.figure', {}, el('b', {}, ms(quantile(histogram, 0.5))), el('span', {}, 'half are faster')), el('div.figure', {}, el('b', {}, ms(quantile(histogram, 0.99))), el('span', {}, '99 of 100 are faster'))),
    el('ul.bars', { 'aria-label': 'Acknowledgements by how long they took' }, shown.map(({ n, name }) => el('li', {}, el('span.quiet', {}, name), el('span.bar', {}, el('i', { style: { width: `${(100 * n) / most}%` } })), el('span.number', {}, number(n))))));
}
