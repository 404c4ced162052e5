// How long devices wait for their acknowledgement, since the start: bars per bound, the median and the 99th percentile.
import { el } from '../dom.js';
import { UNKNOWN, number } from '../units.js';

const ms = (value) => (value === null || value === undefined ? UNKNOWN : value < 10 ? `${number(value, 1)} ms` : value < 1000 ? `${number(value)} ms` : `${number(value / 1000, 1)} s`);

// The histogram of the status, whatever it counts in: { bounds: ms[], counts: n[] } with one count more than bounds for what took longer.
export function histogramOf(status) {
  const found = status.ack_latency ?? status.ack_latency_ms ?? null;
  if (!found) return null;
  const bounds = found.bounds_ms ?? (found.bounds_s ?? []).map((bound) => bound * 1000);
  let counts = found.counts ?? [];
  if (found.cumulative) counts = counts.map((n, i) => n - (i ? counts[i - 1] : 0));
  if (!bounds.length || !counts.length) return found.p50_ms === undefined ? null : { bounds: [], counts: [], p50: found.p50_ms, p99: found.p99_ms };
  return { bounds, counts, p50: found.p50_ms ?? quantile(bounds, counts, 0.5), p99: found.p99_ms ?? quantile(bounds, counts, 0.99) };
}

// Within its bar a share is taken to lie evenly.
export function quantile(bounds, counts, share) {
  const total = counts.reduce((sum, n) => sum + n, 0);
  if (!total) return null;
  let left = total * share;
  for (let i = 0; i < counts.length; i += 1) {
    if (left <= counts[i]) {
      const from = i ? bounds[i - 1] : 0;
      return i < bounds.length ? from + ((bounds[i] - from) * left) / counts[i] : bounds.at(-1);
    }
    left -= counts[i];
  }
  return bounds.at(-1);
}

export function latencyNode(histogram) {
  const { bounds, counts, p50, p99 } = histogram;
  const most = Math.max(1, ...counts);
  const shown = counts.map((n, i) => ({ n, name: i < bounds.length ? `up to ${ms(bounds[i])}` : `over ${ms(bounds.at(-1))}` }));
  while (shown.length > 3 && !shown.at(-1).n) shown.pop();
  return el('div.column', {},
    el('div.figures', {}, el('div.figure', {}, el('b', {}, ms(p50)), el('span', {}, 'half are faster')), el('div.figure', {}, el('b', {}, ms(p99)), el('span', {}, '99 of 100 are faster'))),
    shown.length ? el('ul.bars', { 'aria-label': 'Acknowledgements by how long they took' }, shown.map(({ n, name }) => el('li', {}, el('span.quiet', {}, name), el('span.bar', {}, el('i', { style: { width: `${(100 * n) / most}%` } })), el('span.number', {}, number(n))))) : null);
}
