// Keeps a fleet up to date: everything once, then what changes, by server-sent events. When the stream breaks it is opened again
// and everything is loaded anew, since what happened meanwhile was missed.

import { get } from '../api.js';
import * as time from '../time.js';

const RETRY_MS = [1000, 2000, 5000, 10000, 20000];

// changed(positions, removed, isWhole), status({ state: 'live' | 'connecting' | 'failed', at, error }).
export function follow({ changed, status }) {
  let source = null;
  let attempt = 0;
  let at = null;
  let timer = 0;
  // What the stream says while everything is being loaded is older or newer than that; the newer wins.
  let waiting = null;
  let loaded = false;

  const tell = (state, error = null) => status({ state, at, error });

  async function load() {
    const answer = await get('/positions');
    at = answer.at;
    time.setServerTime(answer.at);
    loaded = true;
    changed(answer.positions, [], true);
  }

  function open() {
    clearTimeout(timer);
    source?.close();
    source = new EventSource('/api/v1/live');
    const mine = source;
    waiting = [];
    source.addEventListener('open', async () => {
      try {
        await load();
      } catch (error) {
        tell('failed', error);
        again();
        return;
      }
      if (mine !== source) return;
      const missed = waiting ?? [];
      waiting = null;
      for (const { positions, removed } of missed) changed(positions, removed, false);
      attempt = 0;
      tell('live');
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
      if (loaded) tell('connecting');
      else load().then(() => tell('connecting'), (error) => tell('failed', error));
    });
  }

  function take(one) {
    if (waiting) {
      waiting.push(one);
      return;
    }
    changed(one.positions, one.removed, false);
    if (one.positions.length) tell('live');
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

  tell('connecting');
  open();
  window.addEventListener('online', () => { if (!source) open(); });
  window.addEventListener('pagehide', () => source?.close());
  window.addEventListener('pageshow', (event) => { if (event.persisted) open(); });
}
