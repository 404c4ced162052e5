// The map of the asset's page: the track in colours of speed or temperature, events where they happened, and a marker that is
// moved by the replay and by the pointer in the charts.

import { L } from '../vendor.js';
import { el, fill, setText } from '../dom.js';
import { eventOf, shapePath, colour, toneColour } from '../states.js';
import { latitudeOf, longitudeOf, paintLayer, worldX, worldY } from '../map/paintlayer.js';
import { makeMap } from '../map/basemap.js';
import * as units from '../units.js';
import { indexAt } from './track.js';
import { coloursBySpeed, coloursByTemperature } from './trackcolours.js';

// pointed(seconds) is called when the reader points at the track, pickedEvent(event) when at an event.
export function trackMap(tiles, { pointed, pickedEvent }) {
  const node = el('div.map', { role: 'application', 'aria-label': 'Map of the track' });
  const legend = el('div.track-legend');
  const hint = el('div.map-hint', { hidden: true, 'aria-hidden': 'true' });
  const by = el('select', { 'aria-label': 'Colour of the track', on: { change: recolour } }, el('option', { value: 'speed' }, 'Speed'), el('option', { value: 'temperature' }, 'Temperature'));
  const tools = el('div.map-top', {}, el('label.track-by', {}, el('span', {}, 'Colour'), by));
  const place = el('div.map-place', {}, node, hint, tools, legend);
  let map = null;
  let layer = null;
  let track = null;
  let world = null;
  let events = [];
  let drawnEvents = [];
  let series = null;
  let limits = {};
  let scheme = null;
  let marker = null;
  let paints = readPaints();

  function attach() {
    map = makeMap(node, tiles);
    map.setView([48, 12], 4, { animate: false });
    layer = paintLayer(paint).addTo(map);
    map.on('click', (event) => {
      const found = nearEvent(event.containerPoint);
      if (found) pickedEvent(found);
      else point(event.containerPoint, 24);
    });
    map.on('mousemove', (event) => {
      const found = nearEvent(event.containerPoint);
      node.style.cursor = found ? 'pointer' : '';
      hint.hidden = !found;
      if (found) {
        setText(hint, eventOf(found.kind).name);
        hint.style.transform = `translate(${event.containerPoint.x + 14}px, ${event.containerPoint.y + 14}px)`;
      } else {
        point(event.containerPoint, 12);
      }
    });
    map.on('mouseout', () => { hint.hidden = true; });
    window.addEventListener('theme', () => {
      paints = readPaints();
      recolour();
    });
  }

  function readPaints() {
    return { surface: colour('--surface'), ink: colour('--ink'), quiet: colour('--ink-2'), accent: colour('--accent') };
  }

  function recolour() {
    if (!track) return;
    const canTemperature = Boolean(series);
    by.options[1].disabled = !canTemperature;
    if (!canTemperature) by.value = 'speed';
    scheme = by.value === 'temperature' ? coloursByTemperature(track, series, limits) : coloursBySpeed(track);
    fill(legend, track.time.length ? scheme.classes.map(({ name, paint: stroke }) => el('span', {}, el('i', { style: { background: stroke } }), name)) : null);
    layer.repaint();
  }

  function paint(ctx, view) {
    if (!track || !scheme) return;
    const n = track.time.length;
    const x = (i) => world.x[i] * view.scale - view.left;
    const y = (i) => world.y[i] * view.scale - view.top;
    ctx.lineCap = 'round';
    ctx.lineJoin = 'round';
    // What lies between is not known: a thin dashed line, so that the order of the parts is seen.
    ctx.beginPath();
    for (let i = 1; i < n; i += 1) {
      if (!track.first[i]) continue;
      ctx.moveTo(x(i - 1), y(i - 1));
      ctx.lineTo(x(i), y(i));
    }
    ctx.setLineDash([3, 7]);
    ctx.lineWidth = 1.5;
    ctx.strokeStyle = paints.quiet;
    ctx.stroke();
    ctx.setLineDash([]);
    lines(ctx, n, x, y, () => true, 6, paints.surface);
    scheme.classes.forEach(({ paint: stroke }, k) => lines(ctx, n, x, y, (i) => scheme.of[i] === k, 3.5, stroke));
    if (n) {
      dot(ctx, x(0), y(0), 5, paints.surface, paints.ink);
      dot(ctx, x(n - 1), y(n - 1), 6, paints.ink, paints.surface);
    }
    drawnEvents = events.map((event) => ({ event, x: event.x * view.scale - view.left, y: event.y * view.scale - view.top }));
    for (const one of drawnEvents) eventMark(ctx, one);
    if (marker) drawMarker(ctx, marker.x * view.scale - view.left, marker.y * view.scale - view.top, marker.angle);
  }

  function lines(ctx, n, x, y, wanted, width, stroke) {
    ctx.beginPath();
    let open = false;
    for (let i = 1; i < n; i += 1) {
      if (track.first[i] || !wanted(i)) {
        open = false;
        continue;
      }
      if (!open) ctx.moveTo(x(i - 1), y(i - 1));
      ctx.lineTo(x(i), y(i));
      open = true;
    }
    ctx.lineWidth = width;
    ctx.strokeStyle = stroke;
    ctx.stroke();
  }

  function dot(ctx, x, y, radius, inside, outside) {
    ctx.beginPath();
    ctx.arc(x, y, radius, 0, 2 * Math.PI);
    ctx.fillStyle = inside;
    ctx.fill();
    ctx.lineWidth = 2;
    ctx.strokeStyle = outside;
    ctx.stroke();
  }

  function eventMark(ctx, { event, x, y }) {
    const { tone, shape } = eventOf(event.kind);
    dot(ctx, x, y, 9, paints.surface, toneColour(tone));
    ctx.save();
    ctx.translate(x - 4.8, y - 4.8);
    ctx.scale(0.8, 0.8);
    ctx.fillStyle = toneColour(tone);
    ctx.fill(new Path2D(shapePath(shape)), 'evenodd');
    ctx.restore();
  }

  function drawMarker(ctx, x, y, angle) {
    ctx.save();
    ctx.translate(x, y);
    ctx.beginPath();
    ctx.arc(0, 0, 15, 0, 2 * Math.PI);
    ctx.globalAlpha = 0.25;
    ctx.fillStyle = paints.accent;
    ctx.fill();
    ctx.globalAlpha = 1;
    if (angle === null) {
      dot(ctx, 0, 0, 6, paints.accent, paints.surface);
    } else {
      ctx.rotate((angle * Math.PI) / 180);
      ctx.scale(1.9, 1.9);
      ctx.translate(-6, -6.2);
      const arrow = new Path2D(shapePath('arrow'));
      ctx.lineWidth = 2;
      ctx.strokeStyle = paints.surface;
      ctx.stroke(arrow);
      ctx.fillStyle = paints.accent;
      ctx.fill(arrow);
    }
    ctx.restore();
  }

  function nearEvent(containerPoint) {
    const at = layer.toCanvas(containerPoint);
    return drawnEvents.find((one) => Math.hypot(one.x - at.x, one.y - at.y) < 13)?.event ?? null;
  }

  // The time of the fix nearest to the pointer.
  function point(containerPoint, reach) {
    if (!track?.time.length) return;
    const scale = 256 * 2 ** map.getZoom();
    const corner = map.getPixelOrigin().add(map.containerPointToLayerPoint(containerPoint));
    let best = { distance: reach, i: -1 };
    for (let i = 0; i < track.time.length; i += 1) {
      const distance = Math.hypot(world.x[i] * scale - corner.x, world.y[i] * scale - corner.y);
      if (distance < best.distance) best = { distance, i };
    }
    if (best.i >= 0) pointed(track.time[best.i]);
  }

  return {
    node: place,
    attach,
    show(next, { fit }) {
      track = next;
      world = { x: track.longitude.map(worldX), y: track.latitude.map(worldY) };
      recolour();
      if (fit && track.time.length) {
        const bounds = L.latLngBounds(track.time.map((_, i) => [track.latitude[i], track.longitude[i]]));
        map.fitBounds(bounds, { padding: [36, 36], maxZoom: 15, animate: false });
      }
    },
    showEvents(list) {
      events = list.filter((event) => Number.isFinite(event.longitude)).map((event) => ({ ...event, x: worldX(event.longitude), y: worldY(event.latitude) }));
      layer.repaint();
    },
    // The series of the first temperature and the limits, for colours by temperature.
    showTemperature(next, nextLimits) {
      series = next;
      limits = nextLimits;
      recolour();
    },
    // place: what placeAt() says, or null. follow keeps it in view.
    moveMarker(at, follow = false) {
      marker = at && { x: worldX(at.longitude), y: worldY(at.latitude), angle: at.speed ? at.angle : null };
      if (marker && follow) {
        const latLng = L.latLng(latitudeOf(marker.y), longitudeOf(marker.x));
        if (!map.getBounds().pad(-0.15).contains(latLng)) map.panTo(latLng, { animate: false });
      }
      layer.repaint();
    },
    panTo(longitude, latitude) {
      map.setView([latitude, longitude], Math.max(map.getZoom(), 13), { animate: false });
    },
    // What the track's colour says at a moment, for the scrubber.
    colourAt: (moment) => (track && scheme ? scheme.classes[scheme.of[Math.max(0, indexAt(track.time, moment))]]?.paint : null),
    words: () => (track ? units.count(track.n, 'record') : ''),
  };
}
