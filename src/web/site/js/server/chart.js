// Records a second of the last minutes, as the page has seen them.
import { uPlot } from '../vendor.js';
import { colour } from '../states.js';
import { clock } from '../time.js';
import { number } from '../units.js';
import { KEPT_S } from './rates.js';

export class RateChart {
  constructor(node) {
    this.node = node;
    this.make();
    new ResizeObserver(() => this.plot.setSize(this.size())).observe(node);
    window.addEventListener('theme', () => { this.plot.destroy(); this.make(); this.show(this.data); });
  }

  size() {
    return { width: Math.max(200, this.node.clientWidth), height: 180 };
  }

  // Two minutes at least, and then what there is, so that a young chart is no empty one.
  window() {
    const now = Date.now() / 1000;
    const first = this.data?.[0]?.[0] ?? now;
    return [now - Math.min(KEPT_S, Math.max(120, now - first)), now];
  }

  make() {
    const ink = colour('--ink-2');
    const line = colour('--line');
    const accent = colour('--accent');
    const axis = { stroke: ink, grid: { stroke: line, width: 1 }, ticks: { stroke: line, width: 1 }, font: '12px system-ui, sans-serif' };
    this.plot = new uPlot({
      ...this.size(),
      legend: { show: false },
      cursor: { show: false },
      scales: { x: { time: true, range: () => this.window() }, y: { range: (u, low, high) => [0, Math.max(10, (high ?? 0) * 1.15)] } },
      axes: [{ ...axis, incrs: [60, 120, 300], values: (u, ticks) => ticks.map((at) => clock(at * 1000)), space: 80 }, { ...axis, values: (u, ticks) => ticks.map((value) => number(value)), size: 64 }],
      series: [{}, { stroke: accent, width: 2, fill: `color-mix(in srgb, ${accent} 14%, transparent)`, points: { show: false } }],
    }, [[], []], this.node);
  }

  show(data) {
    this.data = data ?? [[], []];
    this.plot.setData(this.data);
  }
}
