// The page of one asset: where it was in a span of time, what it measured meanwhile, what happened, and each record.

import { get } from '../api.js';
import { el, fill, setText } from '../dom.js';
import { closeOutside, start } from '../shell.js';
import * as time from '../time.js';
import { empty, failed, tabs } from '../ui.js';
import * as units from '../units.js';
import { chartOf, USUAL } from './chartdata.js';
import { chartMenu } from './chartmenu.js';
import { chartStack, chartsLoading } from './charts.js';
import { eventBar } from './eventlist.js';
import { assetHead } from './head.js';
import { recordList } from './records.js';
import { replayBar } from './replay.js';
import { spanChooser, zoomStrip } from './span.js';
import { lengthMetres, makeTrack, placeAt, seconds } from './track.js';
import { trackMap } from './trackmap.js';

const TRACK_POINTS = 3000;
const SERIES_POINTS = 1500;
// How often it is asked whether something new has come, while the span includes now.
const TAIL_EVERY_MS = 10_000;
// Nothing shorter can be looked at.
const ZOOM_MIN_S = 30;

const { me, main } = await start('assets', 'Asset');
const id = location.pathname.split('/')[2];
let asset;
try {
  asset = await get(`/assets/${encodeURIComponent(id)}`);
} catch (error) {
  fill(main, failed(error, error.status === 404 ? null : () => location.reload()));
  // Said what is wrong; nothing of the page can be shown.
  await new Promise(() => {});
}
document.title = `${asset.name} – trackport`;
const { group } = asset;
const path = `/assets/${asset.id}`;
const limits = asset.limits ?? { temperature_min: asset.temperature_min, temperature_max: asset.temperature_max };

let zoom = null;
let track = makeTrack({ segments: [], gaps: [], thinned: false, n_records: 0 });
let elements = [];
let marked = [];
let truncated = false;
let shownSeries = null;
let newest = asset.time ?? null;
let asked = null;
let elementsOf = '';
let tab = 'events';
let chosen = (new URLSearchParams(location.search).get('charts') ?? '').split(',').filter(Boolean);
if (!chosen.length) chosen = USUAL;

// What is looked at now, in milliseconds; the future has no records.
function range() {
  const { from, to } = zoom ?? span.get();
  return { from, to: Math.max(from + 1000, Math.min(to, time.now())) };
}
const inSeconds = ({ from, to }) => ({ from: from / 1000, to: to / 1000 });

const head = assetHead(asset, me.groups, range);
const span = spanChooser(group, () => { zoom = null; load(); });
closeOutside(span.menu);
const strip = zoomStrip(group, { into: () => zoomBy(0.4), out: () => zoomBy(2.5), all: () => setZoom(null) });
const map = trackMap(me.tiles ?? null, { pointed: (at) => setMoment(at, 'map'), pickedEvent: pickEvent });
const mapMessage = el('div.map-message', { hidden: true, role: 'status' });
map.node.append(mapMessage);
const replay = replayBar(group, (at, isPlaying) => setMoment(at, 'replay', isPlaying));
const charts = chartStack(group, {
  pointed: (at) => setMoment(at, 'charts'),
  clicked: (at) => { replay.stop(); replay.set(at); },
  zoomed: (from, to) => setZoom({ from: from * 1000, to: to * 1000 }),
  closed: (key) => choose(shownKeys().filter((one) => one !== key)),
});
const events = eventBar(group, { marked: mark, picked: pickEvent });
const menu = chartMenu({ get: shownKeys, set: choose });
const facts = el('div.track-facts.quiet', { role: 'status' });
const lower = tabs([
  { key: 'events', name: 'Events', show: (panel) => fill(panel, events.list(truncated)) },
  { key: 'records', name: 'Records', show: (panel) => recordList(panel, `${path}/records`, group, range().to) },
  { key: 'fittings', name: 'Devices', show: showFittings },
], 'events', (key) => { tab = key; });
fill(main, el('div.asset-page', {}, head.node,
  el('div.span-bar', {}, span.node, strip.node, menu.node),
  el('section.track-box', { 'aria-label': 'Track' }, map.node, replay.node),
  el('div.row.between.track-line', {}, facts, events.node),
  charts.node, lower));
map.attach();
load();

// Loads everything of the range: track, events, values. What is shown stays until the new is here when `quiet`.
async function load({ quiet = false } = {}) {
  asked?.abort();
  asked = new AbortController();
  const { signal } = asked;
  const looked = range();
  const params = { from: new Date(looked.from), to: new Date(looked.to) };
  strip.show(zoom);
  if (!quiet) {
    message(el('span.spinner'), 'Loading the track…');
    chartsLoading(charts.node, Math.min(3, chosen.length));
  }
  const way = get(`${path}/track`, { ...params, points: TRACK_POINTS }, { signal }).then((answer) => showTrack(answer, looked, quiet));
  const happened = get(`${path}/events`, params, { signal }).then(showEvents);
  const values = loadSeries(looked, signal);
  await Promise.all([
    way.catch((error) => wrong(error, () => message(failed(error, () => load())))),
    happened.catch((error) => wrong(error, () => { if (tab === 'events') fill(lower.lastChild, failed(error, () => load())); })),
    values.catch((error) => wrong(error, () => fill(charts.node, failed(error, () => load())))),
  ]);
  if (signal.aborted) return;
  setMoment(null, 'load');
  if (tab === 'records' && !quiet) lower.choose('records');
  await loadElements(params, signal).catch((error) => wrong(error, () => {}));
}

function wrong(error, show) {
  if (error.name === 'AbortError') return;
  if (error.name !== 'Refused') console.error(error);
  show();
}

// What can be chosen for charts; asked once for a span, since it goes through all of it.
async function loadElements(params, signal) {
  const key = `${span.get().from} ${span.get().to}`;
  if (key === elementsOf) return;
  elements = await get(`${path}/elements`, zoom ? { from: new Date(span.get().from), to: new Date(Math.min(span.get().to, time.now())) } : params, { signal });
  elementsOf = key;
  menu.show(elements);
}

async function loadSeries(looked, signal) {
  const list = chosen.map((key) => chartOf(key, elements));
  const what = list.flatMap((one) => one.keys);
  const answer = what.length ? await get(`${path}/series`, { from: new Date(looked.from), to: new Date(looked.to), points: SERIES_POINTS, what: what.join(',') }, { signal }) : { series: [], gaps: [], thinned: false };
  const found = new Map(answer.series.map((one) => [one.key, { ...one, faults: (one.faults ?? []).map(seconds) }]));
  const gaps = answer.gaps.map(seconds);
  shownSeries = list.map((one) => ({ ...one, name: named(one, found), gaps, thinned: answer.thinned, limits: one.key === 'temperature' ? limits : null,
    series: one.keys.map((key) => found.get(key)).filter((series) => series && (series.last.some((value) => value !== null) || series.max.some((value) => value !== null) || series.faults.length)) }))
    .filter((one) => one.series.length);
  charts.show(shownSeries, inSeconds(looked), marked);
  const warm = shownSeries.find((one) => one.key === 'temperature')?.series[0];
  map.showTemperature(warm ?? null, limits);
}

// An element's chart is named by the answer, where the list of elements is not here yet.
function named(chart, found) {
  return chart.name === chart.key ? found.get(chart.keys[0])?.name ?? chart.name : chart.name;
}

function showTrack(answer, looked, quiet) {
  track = makeTrack(answer);
  map.show(track, { fit: !quiet });
  replay.show(track, inSeconds(looked), { keep: quiet });
  if (track.time.length) message();
  else if (track.n) message(empty('No position in this time', `${units.count(track.n, 'record')} without a satellite fix; their values are below.`));
  else {
    // The last day with records is where most want to go from here.
    const there = newest && el('button', { type: 'button', on: { click: () => span.set(span.dayOf(newest)) } }, 'Show the last day with records');
    message(empty('Nothing was recorded', newest ? `The last record is of ${time.minute(newest, group)}.` : 'No record has come from this asset yet.', ...[there].filter(Boolean)));
  }
  const top = track.speed.reduce((best, one) => Math.max(best, one ?? 0), 0);
  setText(facts, [units.count(track.n, 'record'), track.time.length ? `about ${units.distance(lengthMetres(track))} along the track` : null, track.time.length ? `top ${units.speed(top)}` : null, track.gaps.length ? units.count(track.gaps.length, 'gap') : null, track.thinned ? 'thinned: zoom in for every fix' : null].filter(Boolean).join(' · '));
}

function message(...content) {
  mapMessage.hidden = !content.length;
  fill(mapMessage, content);
}

function showEvents(answer) {
  truncated = answer.truncated;
  events.show(answer.items);
  if (tab === 'events') lower.choose('events');
}

function mark(list) {
  marked = list;
  map.showEvents(list);
  if (shownSeries) charts.show(shownSeries, inSeconds(range()), marked);
}

function pickEvent(event) {
  replay.stop();
  replay.set(event.at);
  setMoment(event.at, 'event');
  if (Number.isFinite(event.longitude)) map.panTo(event.longitude, event.latitude);
}

// One moment for map, charts and replay; whoever moved it is not told. Without a pointer in a chart it is the replay's.
function setMoment(at, by, isPlaying = false) {
  if (replay.isPlaying() && by !== 'replay') return;
  const moment = at ?? replay.moment();
  map.moveMarker(placeAt(track, moment), isPlaying);
  charts.setMoment(moment);
  if (by === 'map') replay.set(moment);
}

function shownKeys() {
  return shownSeries && chosen === USUAL ? shownSeries.map((one) => one.key) : [...chosen];
}

function choose(keys) {
  chosen = keys;
  const query = new URLSearchParams(location.search);
  query.set('charts', keys.join(','));
  history.replaceState(null, '', `${location.pathname}?${query.toString().replaceAll('%2C', ',').replaceAll('%3A', ':')}`);
  chartsLoading(charts.node, Math.min(3, keys.length || 1));
  loadSeries(range(), asked?.signal).catch((error) => wrong(error, () => fill(charts.node, failed(error, () => choose(keys)))));
}

function setZoom(next) {
  if (next && next.to - next.from < ZOOM_MIN_S * 1000) {
    const middle = (next.from + next.to) / 2;
    next = { from: middle - ZOOM_MIN_S * 500, to: middle + ZOOM_MIN_S * 500 };
  }
  zoom = next;
  load();
}

// Around the moment that is looked at.
function zoomBy(factor) {
  const { from, to } = range();
  const whole = span.get();
  const length = (to - from) * factor;
  const at = Math.max(from, Math.min(to, replay.moment() * 1000));
  const next = { from: Math.max(whole.from, at - ((at - from) / (to - from)) * length), to: 0 };
  next.to = Math.min(Math.min(whole.to, time.now()), next.from + length);
  if (factor > 1 && next.from <= whole.from && next.to >= Math.min(whole.to, time.now())) setZoom(null);
  else setZoom(next);
}

function showFittings(panel) {
  const rows = asset.fittings ?? [];
  const when = (at, open) => (at && Math.abs(time.ms(at)) < 8e15 ? time.minute(at, group) : open);
  fill(panel, rows.length ? el('div.table-wrap', {}, el('table.cards', {}, el('thead', {}, el('tr', {}, ['Device', 'Fitted', 'Removed'].map((name) => el('th', { scope: 'col' }, name)))),
    el('tbody', {}, rows.map((one) => el('tr', {}, el('td', { 'data-label': 'Device' }, el('a', { href: `/device/${one.imei}` }, one.imei)), el('td', { 'data-label': 'Fitted' }, when(one.fitted_at, 'from the beginning')), el('td', { 'data-label': 'Removed' }, when(one.removed_at, 'not yet')))))))
    : empty('No device', 'No device was ever fitted to this asset.'));
}

// New records, as long as the span goes on.
setInterval(async () => {
  const looksAtNow = span.get().to > time.now() && !zoom;
  if (document.hidden || !looksAtNow || replay.isPlaying()) return;
  try {
    const now = await get(path);
    head.show(now);
    if (now.time === newest) return;
    newest = now.time;
    await load({ quiet: true });
  } catch (error) {
    // What is shown stays; the next turn tries again.
    wrong(error, () => {});
  }
}, TAIL_EVERY_MS);

document.addEventListener('keydown', (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest('input:not([type=range]), select, textarea, dialog')) return;
  const onControl = event.target.closest('button, summary, a, input, [role=tab]');
  if (event.key === ' ' && !onControl) replay.toggle();
  else if (event.key === 'Escape' && zoom) setZoom(null);
  else if (event.key === '[') span.shift(-1);
  else if (event.key === ']') span.shift(1);
  else if (event.key === '+') zoomBy(0.4);
  else if (event.key === '-') zoomBy(2.5);
  else if (event.key === 'ArrowLeft' && !onControl && !event.target.closest('.map')) replay.step(-1);
  else if (event.key === 'ArrowRight' && !onControl && !event.target.closest('.map')) replay.step(1);
  else return;
  event.preventDefault();
});
window.addEventListener('zone', () => load({ quiet: true }));
