// The map under everything: the outlines of countries from Natural Earth, which are in the program, so that no network is needed
// and no third party learns where the fleet is. Tiles only where the server's configuration names them.

import { L, topojson } from '../vendor.js';
import { onFrame } from '../dom.js';
import { colour } from '../states.js';
import { latitudeOf, longitudeOf, paintLayer, worldX, worldY } from './paintlayer.js';

// Points of an outline that are nearer to each other than this on the screen are one.
const STEP_PX = 0.8;
// Graticule: degrees between lines, so that they are at least this far apart.
const LINE_PX_MIN = 90;
const ZOOM_LINES_ON_LAND = 8;
const LINE_DEGREES = [30, 15, 10, 5, 2, 1, 0.5, 0.2, 0.1, 0.05, 0.02, 0.01, 0.005, 0.002, 0.001];

// Makes the map in the node, with its base; `tiles` is what GET /me says. Returns Leaflet's map.
export function makeMap(node, tiles, options = {}) {
  const map = L.map(node, {
    zoomControl: false,
    attributionControl: false,
    minZoom: 2,
    maxZoom: 18,
    zoomSnap: 0.5,
    wheelPxPerZoomLevel: 100,
    maxBounds: [[-85, -190], [85, 190]],
    maxBoundsViscosity: 0.6,
    preferCanvas: true,
    trackResize: false,
    ...options,
  });
  L.control.zoom({ position: 'bottomright', zoomInTitle: 'Zoom in', zoomOutTitle: 'Zoom out' }).addTo(map);
  L.control.scale({ position: 'bottomleft', imperial: false }).addTo(map);
  // The middle stays the middle. A node that is hidden for a moment has no size, which must not be taken for one.
  const resize = onFrame(() => { if (node.clientWidth && node.clientHeight) map.invalidateSize({ animate: false }); });
  new ResizeObserver(resize).observe(node);
  const pane = map.createPane('base');
  pane.style.zIndex = '150';
  pane.style.pointerEvents = 'none';
  if (tiles) {
    L.control.attribution({ position: 'bottomright', prefix: false }).addAttribution(plain(tiles.attribution)).addTo(map);
    L.tileLayer(tiles.url, { maxZoom: 19, noWrap: true }).addTo(map);
  } else {
    outlines(map);
  }
  return map;
}

// Leaflet takes an attribution as markup; the configuration's text is text.
function plain(text) {
  const span = document.createElement('span');
  span.textContent = text ?? '';
  return span.innerHTML;
}

function outlines(map) {
  let countries = [];
  let colours = paints();
  const layer = paintLayer((ctx, view) => {
    drawGraticule(ctx, view, colours);
    drawLand(ctx, view, countries, colours);
    // Where land fills the view, its lines are all that the eye can hold on to.
    if (view.zoom >= ZOOM_LINES_ON_LAND) drawGraticule(ctx, view, { line: colours.lineOnLand });
    drawNames(ctx, view, countries, colours);
  }, { pane: 'base', padding: 0.5 }).addTo(map);
  window.addEventListener('theme', () => {
    colours = paints();
    layer.repaint();
  });
  loadCountries().then((loaded) => {
    countries = loaded;
    layer.repaint();
  });
}

function paints() {
  return { land: colour('--land'), border: colour('--border-land'), line: colour('--graticule'), lineOnLand: colour('--graticule-land'), name: colour('--ink-2'), halo: colour('--land') };
}

// Countries as rings of world coordinates, each with the box around it.
let loading = null;
function loadCountries() {
  loading ??= fetch('/site/vendor/world-atlas/countries-50m.json')
    .then((response) => (response.ok ? response.json() : Promise.reject(new Error(`outlines: ${response.status}`))))
    .then((atlas) => topojson.feature(atlas, atlas.objects.countries).features.map(country))
    .catch((error) => {
      // Without outlines the map still shows where things are to each other.
      console.warn(error);
      return [];
    });
  return loading;
}

function country(feature) {
  const { type, coordinates } = feature.geometry ?? { type: 'Polygon', coordinates: [] };
  const polygons = type === 'Polygon' ? [coordinates] : coordinates;
  const rings = polygons.flat().map(worldRing);
  const largest = rings.reduce((best, ring) => (!best || size(ring) > size(best) ? ring : best), null);
  return { name: feature.properties?.name ?? '', rings, largest, centre: largest && centroid(largest.at) };
}

// Outlines run over the antimeridian without a cut (Russia, Fiji): the ring goes on beyond the edge of the world. One that ends
// a world away from where it began goes around the pole (Antarctica) and is closed along it.
function worldRing(points) {
  const at = [];
  let turn = 0;
  points.forEach(([longitude, latitude], i) => {
    const x = worldX(longitude);
    if (i > 0) {
      const step = x + turn - at[2 * i - 2];
      if (step > 0.5) turn -= 1;
      else if (step < -0.5) turn += 1;
    }
    at.push(x + turn, worldY(latitude));
  });
  if (Math.abs(at[at.length - 2] - at[0]) > 0.5) at.push(at[at.length - 2], 1, at[0], 1);
  const ring = { at: Float64Array.from(at), west: Infinity, east: -Infinity, north: Infinity, south: -Infinity };
  for (let i = 0; i < at.length; i += 2) {
    ring.west = Math.min(ring.west, at[i]);
    ring.east = Math.max(ring.east, at[i]);
    ring.north = Math.min(ring.north, at[i + 1]);
    ring.south = Math.max(ring.south, at[i + 1]);
  }
  return ring;
}

const size = (ring) => (ring.east - ring.west) * (ring.south - ring.north);

function centroid(at) {
  let [area, x, y] = [0, 0, 0];
  for (let i = 0; i + 3 < at.length; i += 2) {
    const cross = at[i] * at[i + 3] - at[i + 2] * at[i + 1];
    area += cross;
    x += (at[i] + at[i + 2]) * cross;
    y += (at[i + 1] + at[i + 3]) * cross;
  }
  return area ? [x / (3 * area), y / (3 * area)] : [at[0], at[1]];
}

function drawLand(ctx, view, countries, colours) {
  ctx.fillStyle = colours.land;
  ctx.strokeStyle = colours.border;
  ctx.lineWidth = view.zoom < 4 ? 0.6 : 1;
  ctx.lineJoin = 'round';
  const west = view.left / view.scale;
  const east = (view.left + view.width) / view.scale;
  const north = view.top / view.scale;
  const south = (view.top + view.height) / view.scale;
  for (const { rings } of countries) {
    ctx.beginPath();
    for (const ring of rings) {
      if (ring.south < north || ring.north > south) continue;
      // What goes beyond an edge of the world comes in at the other.
      for (const turn of [-1, 0, 1]) {
        if (ring.east + turn < west || ring.west + turn > east || ring.east + turn <= 0 || ring.west + turn >= 1) continue;
        outline(ctx, view, ring.at, turn);
      }
    }
    // Holes, such as Lesotho in South Africa, are other countries.
    ctx.fill('evenodd');
    ctx.stroke();
  }
}

function outline(ctx, view, at, turn) {
  let lastX = Infinity;
  let lastY = Infinity;
  for (let i = 0; i < at.length; i += 2) {
    const x = (at[i] + turn) * view.scale - view.left;
    const y = at[i + 1] * view.scale - view.top;
    if (i === 0) ctx.moveTo(x, y);
    else if (Math.abs(x - lastX) + Math.abs(y - lastY) < STEP_PX && i < at.length - 2) continue;
    else ctx.lineTo(x, y);
    lastX = x;
    lastY = y;
  }
  ctx.closePath();
}

function drawGraticule(ctx, view, colours) {
  const pixels = view.scale / 360;
  const step = LINE_DEGREES.findLast((degrees) => degrees * pixels >= LINE_PX_MIN) ?? LINE_DEGREES[0];
  ctx.strokeStyle = colours.line;
  ctx.lineWidth = 1;
  ctx.beginPath();
  const from = longitudeOf(view.left / view.scale);
  const to = longitudeOf((view.left + view.width) / view.scale);
  for (let longitude = Math.ceil(from / step) * step; longitude < to; longitude += step) {
    const x = Math.round(worldX(longitude) * view.scale - view.left) + 0.5;
    ctx.moveTo(x, 0);
    ctx.lineTo(x, view.height);
  }
  const north = latitudeOf(view.top / view.scale);
  const south = latitudeOf((view.top + view.height) / view.scale);
  for (let latitude = Math.ceil(south / step) * step; latitude < north; latitude += step) {
    const y = Math.round(worldY(latitude) * view.scale - view.top) + 0.5;
    ctx.moveTo(0, y);
    ctx.lineTo(view.width, y);
  }
  ctx.stroke();
}

function drawNames(ctx, view, countries, colours) {
  if (view.zoom < 3 || view.zoom > 8) return;
  ctx.font = '500 11px system-ui, sans-serif';
  ctx.textAlign = 'center';
  ctx.fillStyle = colours.name;
  ctx.strokeStyle = colours.halo;
  ctx.lineWidth = 3;
  ctx.globalAlpha = 0.75;
  for (const { name, largest, centre } of countries) {
    if (!centre) continue;
    const x = centre[0] * view.scale - view.left;
    const y = centre[1] * view.scale - view.top;
    if (x < 0 || y < 0 || x > view.width || y > view.height) continue;
    if ((largest.east - largest.west) * view.scale < 7 * name.length + 10) continue;
    ctx.strokeText(name, x, y);
    ctx.fillText(name, x, y);
  }
  ctx.globalAlpha = 1;
}
