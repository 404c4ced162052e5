// Keeps a fleet up to date: everything once, then what changes, by server-sent events. When the stream breaks it is opened again
// and everything is loaded anew, since what happened meanwhile was missed.

import { get } from '../api.js';
import * as time from '../time.js';

const RETRY_MS = [1000, 2000, 5000, 10000, 20000];

// Begins at once; what comes before somebody listens is kept.
//   follow().listen({ changed(positions, removed, isWhole), status({ state: 'live' | 'connecting' | 'failed', at, error }) })
export function follow() {
  let source = null;
  let attempt = 0;
  let at = null;
  let timer = 0;
  // What the stream says while everything is being loaded; it is newer.
  let waiting = null;
  let loaded = false;
  let listener = null;
  let early = [];

  const tell = (name, ...values) => {
    if (listener) listener[name](...values);
    else early.push([name, values]);
  };
  const status = (state, error = null) => tell('status', { state, at, error });

  async function load() {
    const answer = await get('/positions');
    at = answer.at;
    time.setServerTime(answer.at);
    loaded = true;
    tell('changed', answer.positions, [], true);
  }

  function open() {
    clearTimeout(timer);
    source?.close();
    source = new EventSource('/api/v1/live');
    const mine = source;
    waiting = [];
    // Only what is asked after the stream began misses nothing.
    source.addEventListener('open', async () => {
      try {
        await load();
      } catch (error) {
        status('failed', error);
        again();
        return;
      }
      if (mine !== source) return;
      const missed = waiting ?? [];
      waiting = null;
      for (const { positions, removed } of missed) tell('changed', positions, removed, false);
      attempt = 0;
      status('live');
    });
    source.addEventListener('positions', (event) => {
      const data = JSON.parse(event.data);
      at = data.at;
      time.setServerTime(data.at);
      take({ positions: data.positions, removed: [] });
    });
    source.addEventListener('removed', (event) => take({ positions: [], removed: JSON.parse(event.data) }));
    source.addEventListener('error', () => {
      if (mine !== source) return;
      again();
      // Where the stream is refused, as it is when too many watch, there is at least a picture.
      if (loaded) status('connecting');
      else load().then(() => status('connecting'), (error) => status('failed', error));
    });
  }

  function take(one) {
    if (waiting) {
      waiting.push(one);
      return;
    }
    tell('changed', one.positions, one.removed, false);
    if (one.positions.length) status('live');
  }

  // The browser's own reconnecting gives up at the first answer that is no stream, such as 503.
  function again() {
    source?.close();
    source = null;
    clearTimeout(timer);
    const wait = RETRY_MS[Math.min(attempt, RETRY_MS.length - 1)];
    attempt += 1;
    timer = setTimeout(open, wait * (0.75 + Math.random() / 2));
  }

  status('connecting');
  open();
  window.addEventListener('online', () => { if (!source) open(); });
  window.addEventListener('pagehide', () => source?.close());
  window.addEventListener('pageshow', (event) => { if (event.persisted) open(); });
  return {
    listen(next) {
      listener = next;
      for (const [name, values] of early) listener[name](...values);
      early = [];
    },
  };
}
