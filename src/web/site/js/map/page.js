// The map page: everything, live. Puts the map, the list beside it, the filters and the card together.

import { el, afterPause, fill, setText } from '../dom.js';
import { icon } from '../icons.js';
import { start } from '../shell.js';
import * as time from '../time.js';
import { L } from '../vendor.js';
import { empty, failed } from '../ui.js';
import { number } from '../units.js';
import { readAddress, writeAddress } from './address.js';
import { makeMap } from './basemap.js';
import { detailsCard } from './details.js';
import { filterBar } from './filters.js';
import { Fleet } from './fleet.js';
import { assetList } from './list.js';
import { follow } from './live.js';
import { fleetMarkers } from './markers.js';
import { latitudeOf, longitudeOf } from './paintlayer.js';
import { makeSheet } from './sheet.js';

// An asset that is chosen is shown at least so near.
const ZOOM_CHOSEN = 13;
// The list is sorted and counted anew at most so often while things move.
const ORDER_EVERY_MS = 2000;
// Of the map's height, how far above its middle a chosen asset is shown where the card lies below it.
const COVERED_BY_CARD = 0.22;
const isPhone = () => matchMedia('(max-width: 700px)').matches;

// Positions are on their way before anything else is asked.
const feed = follow();
const { me, main } = await start('map', 'Map');
const { filter, asset, view } = readAddress();
const fleet = new Fleet();
let selected = asset;
let isFollowed = asset !== null;
let wantsFit = !view;
let lastStatus = '';
let arrangedAt = 0;
let arrangeTimer = 0;

const mapNode = el('div.map', { role: 'application', 'aria-label': 'Map of all assets' });
const liveSign = el('div.live-sign', { role: 'status' });
const fitButton = el('button.icon-only', { type: 'button', title: 'Show everything', 'aria-label': 'Show everything', on: { click: () => fit() } }, icon('fit'));
const card = detailsCard(me.groups, { close: () => select(null), follow: () => setFollowed(!isFollowed) });
const filters = filterBar(filter, me.groups, filterChanged);
const list = assetList(fleet, (id) => select(id, { fly: true }));
const summary = el('div.list-summary.quiet.small', { role: 'status' }, 'Loading…');
const place = el('div.list-place', {}, list.node);
const panel = el('section.list-panel', { 'aria-label': 'List of assets' }, el('h1.visually-hidden', {}, 'Map of all assets'), filters.node, summary, place);
const hint = el('div.map-hint', { hidden: true, 'aria-hidden': 'true' });
fill(main, panel, el('div.map-place', {}, mapNode, hint, el('div.map-top', {}, liveSign, fitButton), card.node));
main.classList.add('map-page');

const map = makeMap(mapNode, me.tiles ?? null);
map.setView(view ? [view.latitude, view.longitude] : [30, 10], view?.zoom ?? 2, { animate: false });
const markers = fleetMarkers(fleet);
markers.layer.addTo(map);
markers.select(selected);
const sheet = makeSheet(panel);

// What was chosen is kept in the address.
const keep = afterPause(300, () => writeAddress(filter, selected, map));
map.on('moveend', keep);

function filterChanged() {
  fleet.setFilter(filter);
  arrange();
  markers.repaint();
  keep();
}

// Order, counts and what the list says when it is empty.
function arrange() {
  clearTimeout(arrangeTimer);
  arrangeTimer = 0;
  arrangedAt = performance.now();
  const counts = fleet.counts();
  filters.count(counts);
  list.show(fleet.order(filter.order));
  list.select(selected, false);
  setText(summary, counts.shown === fleet.n ? `${number(fleet.n)} assets` : `${number(counts.shown)} of ${number(fleet.n)} assets`);
  if (counts.shown) fill(place, list.node);
  else if (filters.isFiltering()) fill(place, empty('Nothing matches', 'No asset is like this now.', el('button', { type: 'button', on: { click: () => filters.clear() } }, 'Show all')));
  else fill(place, empty('No assets yet', 'As soon as a device is accepted and sends, it is shown here.', me.is_admin && el('a.button', { href: '/devices' }, 'Devices')));
}
function arrangeSoon() {
  list.refresh();
  if (arrangeTimer) return;
  arrangeTimer = setTimeout(arrange, Math.max(0, ORDER_EVERY_MS - (performance.now() - arrangedAt)));
}

function fit() {
  const box = fleet.bounds();
  if (!box) return;
  setFollowed(false);
  map.fitBounds(boundsOf(box), { padding: [40, 40], maxZoom: 15, animate: false });
}
const boundsOf = ({ west, east, north, south }) => L.latLngBounds([latitudeOf(south), longitudeOf(west)], [latitudeOf(north), longitudeOf(east)]);

function select(id, { fly = false } = {}) {
  selected = id;
  setFollowed(id !== null);
  markers.select(id);
  list.select(id, true);
  const position = id === null ? null : fleet.get(id);
  if (position && fly) centre(position, Math.max(map.getZoom(), ZOOM_CHOSEN));
  if (id !== null && isPhone()) sheet.set('peek');
  keep();
}

function setFollowed(next) {
  isFollowed = next && selected !== null;
  showCard();
}
function showCard() {
  card.show(selected === null ? null : fleet.get(selected), isFollowed);
}

function centre(position, zoom = map.getZoom()) {
  if (!Number.isFinite(position.longitude)) return;
  // On a phone the card covers the lower part.
  const point = map.project([position.latitude, position.longitude], zoom).add([0, isPhone() ? map.getSize().y * COVERED_BY_CARD : 0]);
  map.setView(map.unproject(point, zoom), zoom, { animate: false });
}

// Live, or since when it is not, and why.
function showStatus({ state, at, error, trouble }) {
  const since = at ? ` as of ${time.clock(at)}` : '';
  const text = state === 'live' ? (trouble ? `Standing still${since}` : 'Live') : at ? `Reconnecting…${since}` : 'Connecting…';
  const why = trouble ?? error?.message ?? '';
  if (`${text} ${why}` === lastStatus) return;
  lastStatus = `${text} ${why}`;
  liveSign.className = `live-sign ${trouble ? 'failed' : state}`;
  liveSign.title = why;
  fill(liveSign, el('span.pulse', { 'aria-hidden': 'true' }), text);
}

fleet.setFilter(filter);
feed.listen({
  changed(positions, removed, isWhole) {
    const first = fleet.n === 0;
    const came = fleet.apply(positions);
    if (isWhole) fleet.retain(positions);
    fleet.remove(removed);
    if (first || came || removed.length) arrange();
    else arrangeSoon();
    if (first && wantsFit) {
      wantsFit = false;
      if (selected !== null && fleet.get(selected)) centre(fleet.get(selected), ZOOM_CHOSEN);
      else fit();
    }
    if (selected !== null && (isWhole || removed.includes(selected) || positions.some((one) => one.asset === selected))) {
      showCard();
      const position = fleet.get(selected);
      if (isFollowed && position) centre(position);
    }
    markers.repaint();
  },
  status(status) {
    showStatus(status);
    if (status.state === 'failed' && fleet.n === 0) {
      fill(place, failed(status.error, () => location.reload()));
      setText(summary, '');
    }
  },
});

setInterval(() => {
  if (fleet.age()) {
    arrangeSoon();
    markers.repaint();
  } else {
    list.refresh();
  }
}, 5000);

// What the pointer is over, and what a click does.
map.on('click', (event) => {
  const one = markers.at(event.containerPoint);
  if (!one) select(null);
  else if (one.id !== undefined) select(one.id);
  else map.fitBounds(boundsOf(one.box), { padding: [60, 60], maxZoom: 15, animate: true });
});
map.on('dragstart', () => setFollowed(false));
map.on('mousemove', (event) => {
  const one = markers.at(event.containerPoint);
  mapNode.style.cursor = one ? 'pointer' : '';
  hint.hidden = !one;
  if (!one) return;
  const position = one.id === undefined ? null : fleet.get(one.id);
  setText(hint, position ? `${position.name}, ${position.state}` : `${number(one.n)} assets${one.flagged ? `, ${number(one.flagged)} with a warning` : ''}`);
  hint.style.transform = `translate(${event.containerPoint.x + 14}px, ${event.containerPoint.y + 14}px)`;
});
map.on('mouseout', () => { hint.hidden = true; });

document.addEventListener('keydown', (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const inField = event.target.closest('input, select, textarea');
  if (event.key === '/' && !inField) {
    event.preventDefault();
    if (isPhone()) sheet.set('full');
    filters.focus();
  } else if (event.key === 'Escape') {
    if (inField) inField.blur();
    else select(null);
  } else if (event.key === 'ArrowDown' && inField?.type === 'search') {
    event.preventDefault();
    list.focus();
  }
});
window.addEventListener('zone', showCard);
