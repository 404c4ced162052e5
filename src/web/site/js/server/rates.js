// Rates: what the server only counts, by the difference between two looks. Kept in the page, forgotten when it is closed.

// Seconds that the chart shows.
export const KEPT_S = 600;

export class Rates {
  constructor() {
    this.looks = [];
  }

  // Notes one look: `at` in milliseconds, counters by name. A counter that fell belongs to a server that was restarted.
  note(at, counters, generation) {
    const last = this.looks.at(-1);
    if (last && last.generation !== generation) this.looks = [];
    this.looks.push({ at, counters, generation });
    while (this.looks.length > 2 && this.looks[0].at < at - KEPT_S * 1000) this.looks.shift();
  }

  // How much a counter grew a second, over the last `seconds`; null before there are two looks.
  perSecond(name, seconds = 6) {
    const last = this.looks.at(-1);
    if (!last) return null;
    const first = this.looks.find((look) => look.at >= last.at - seconds * 1000 - 200);
    if (!first || first === last) return null;
    const grown = (last.counters.get(name) ?? 0) - (first.counters.get(name) ?? 0);
    return grown < 0 ? null : (grown * 1000) / (last.at - first.at);
  }

  // [seconds since 1970, per second] between each two looks, for the chart.
  series(name) {
    const times = [];
    const values = [];
    for (let i = 1; i < this.looks.length; i += 1) {
      const [before, look] = [this.looks[i - 1], this.looks[i]];
      times.push(look.at / 1000);
      values.push(Math.max(0, ((look.counters.get(name) ?? 0) - (before.counters.get(name) ?? 0)) * 1000 / (look.at - before.at)));
    }
    return [times, values];
  }
}
