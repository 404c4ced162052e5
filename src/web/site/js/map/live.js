// Keeps a fleet up to date: everything once, then what changes, by server-sent events.
//
// Each answer and event has a mark; the stream is asked for what changed since the last one, so that nothing is missed between
// them and a stream that broke goes on where it was. Where the server no longer knows (`reload`), everything is loaded anew.

import { get } from '../api.js';
import * as time from '../time.js';

const RETRY_MS = [1000, 2000, 5000, 10_000, 20_000];
// After so many failed attempts there may be no place for another follower: then the picture is asked for each time.
const ATTEMPTS_PATIENT = 2;

// Begins at once; what comes before somebody listens is kept.
//   follow().listen({ changed(positions, removed, isWhole), status({ state: 'live' | 'connecting' | 'failed', at, error, trouble }) })
export function follow() {
  let source = null;
  let attempt = 0;
  let timer = 0;
  let at = null;
  let mark = null;
  let trouble = null;
  let listener = null;
  let early = [];

  const tell = (name, ...values) => {
    if (listener) listener[name](...values);
    else early.push([name, values]);
  };
  const status = (state, error = null) => tell('status', { state, at, error, trouble });
  const noted = (answer) => {
    at = answer.at;
    time.setServerTime(at);
  };

  async function load() {
    const answer = await get('/positions');
    noted(answer);
    mark = answer.mark ?? null;
    trouble = answer.trouble ?? null;
    tell('changed', answer.positions, [], true);
  }

  async function begin() {
    clearTimeout(timer);
    source?.close();
    source = null;
    try {
      if (mark === null || attempt >= ATTEMPTS_PATIENT) await load();
    } catch (error) {
      status('failed', error);
      again();
      return;
    }
    open();
  }

  function open() {
    const mine = new EventSource(`/api/v1/live${mark === null ? '' : `?since=${encodeURIComponent(mark)}`}`);
    source = mine;
    const on = (name, take) => mine.addEventListener(name, (event) => {
      if (mine !== source) return;
      if (event.lastEventId) mark = event.lastEventId;
      take(event);
    });
    on('open', () => {
      attempt = 0;
      status('live');
    });
    on('positions', (event) => {
      const data = JSON.parse(event.data);
      noted(data);
      tell('changed', data.positions, [], false);
      status('live');
    });
    on('removed', (event) => tell('changed', [], JSON.parse(event.data), false));
    on('trouble', (event) => {
      trouble = JSON.parse(event.data)?.text ?? null;
      status('live');
    });
    on('reload', () => {
      mark = null;
      begin();
    });
    on('error', () => {
      status('connecting');
      again();
    });
  }

  // The browser's own reconnecting gives up at the first answer that is no stream, such as 503.
  function again() {
    source?.close();
    source = null;
    clearTimeout(timer);
    const wait = RETRY_MS[Math.min(attempt, RETRY_MS.length - 1)];
    attempt += 1;
    timer = setTimeout(begin, wait * (0.75 + Math.random() / 2));
  }

  status('connecting');
  begin();
  window.addEventListener('online', () => { if (!source) begin(); });
  window.addEventListener('pagehide', () => source?.close());
  window.addEventListener('pageshow', (event) => { if (event.persisted) begin(); });
  return {
    listen(next) {
      listener = next;
      for (const [name, values] of early) listener[name](...values);
      early = [];
    },
  };
}
