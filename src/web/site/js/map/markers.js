// Paints the fleet: single assets as the shape of their state, many in one place as a disc with their number and a ring of their
// states. What is drawn is remembered for the next click.

import { STATES, FLAGS, shapePath, colour, toneColour } from '../states.js';
import { number } from '../units.js';
import { FLAG_KEYS, STATE_KEYS } from './fleet.js';
import { paintLayer } from './paintlayer.js';

// Where assets are closer together they are gathered by cells of a grid that is fixed to the world, so that it holds still.
const CELL_PX = 58;
const CELL_SINGLES_MAX = 3;
// From this zoom on everything stands alone.
const ZOOM_ALONE = 14;
const LABELS_MAX = 150;
const MOVING = STATE_KEYS.indexOf('moving');
const TURNS = 36;

// markers.layer is for the map; .repaint() after changes; .at(containerPoint) says what is there; .select(id).
export function fleetMarkers(fleet) {
  let drawn = [];
  let theme = colours();
  let selected = null;
  const layer = paintLayer((ctx, view) => { drawn = paintAll(ctx, view, fleet, theme, selected); });
  window.addEventListener('theme', () => {
    theme = colours();
    layer.repaint();
  });
  return {
    layer,
    repaint: () => layer.repaint(),
    select(id) {
      selected = id;
      layer.repaint();
    },
    at(containerPoint) {
      const { x, y } = layer.toCanvas(containerPoint);
      let best = null;
      for (const one of drawn) {
        const distance = Math.hypot(one.x - x, one.y - y) - one.radius;
        if (distance <= 6 && (!best || distance < best.distance)) best = { ...one, distance };
      }
      return best;
    },
  };
}

function colours() {
  return {
    states: STATE_KEYS.map((key) => toneColour(STATES[key].tone)),
    flags: FLAG_KEYS.map((key) => toneColour(FLAGS[key].tone)),
    surface: colour('--surface'),
    ink: colour('--ink'),
    accent: colour('--accent'),
    bad: colour('--bad'),
    sprites: new Map(),
  };
}

function paintAll(ctx, view, fleet, theme, selected) {
  const drawn = [];
  const singles = [];
  const selectedSlot = selected === null ? undefined : fleet.slots.get(selected);
  if (view.zoom >= ZOOM_ALONE) {
    for (let slot = 0; slot < fleet.n; slot += 1) {
      if (fleet.shown[slot] && slot !== selectedSlot) single(fleet, view, slot, singles);
    }
  } else {
    const found = [];
    gather(fleet, view, selectedSlot, found, drawn);
    join(drawn);
    for (const one of found) if (!drawn.some((disc) => Math.hypot(disc.x - one.x, disc.y - one.y) < disc.radius - 2 && absorb(disc, one, fleet))) singles.push(one);
  }
  for (const disc of drawn) paintDisc(ctx, disc, theme);
  for (const one of singles) paintSingle(ctx, one, fleet, theme);
  drawn.push(...singles);
  const chosen = [];
  if (selectedSlot !== undefined) single(fleet, view, selectedSlot, chosen);
  if (chosen.length) {
    halo(ctx, chosen[0], theme);
    paintSingle(ctx, chosen[0], fleet, theme);
    drawn.push(chosen[0]);
  }
  paintLabels(ctx, view, singles.length <= LABELS_MAX ? singles : [], chosen[0], drawn, fleet, theme);
  return drawn;
}

function single(fleet, view, slot, list) {
  const x = fleet.x[slot] * view.scale - view.left;
  const y = fleet.y[slot] * view.scale - view.top;
  if (x > -20 && y > -20 && x < view.width + 20 && y < view.height + 20) list.push({ x, y, radius: 9, slot, id: fleet.positions[slot].asset });
}

// One pass over all: each cell counts its members and chains their slots.
function gather(fleet, view, except, singles, discs) {
  const column0 = Math.floor(view.left / CELL_PX);
  const row0 = Math.floor(view.top / CELL_PX);
  const columns = Math.ceil(view.width / CELL_PX) + 2;
  const rows = Math.ceil(view.height / CELL_PX) + 2;
  const members = new Int32Array(columns * rows);
  const head = new Int32Array(columns * rows).fill(-1);
  const next = new Int32Array(fleet.n);
  for (let slot = 0; slot < fleet.n; slot += 1) {
    if (!fleet.shown[slot] || slot === except) continue;
    const column = Math.floor((fleet.x[slot] * view.scale) / CELL_PX) - column0;
    const row = Math.floor((fleet.y[slot] * view.scale) / CELL_PX) - row0;
    if (!(column >= 0 && row >= 0 && column < columns && row < rows)) continue;
    const cell = row * columns + column;
    next[slot] = head[cell];
    head[cell] = slot;
    members[cell] += 1;
  }
  for (let cell = 0; cell < members.length; cell += 1) {
    if (!members[cell]) continue;
    if (members[cell] <= CELL_SINGLES_MAX) {
      for (let slot = head[cell]; slot >= 0; slot = next[slot]) single(fleet, view, slot, singles);
    } else {
      discs.push(disc(fleet, view, head[cell], next, members[cell]));
    }
  }
}

function disc(fleet, view, head, next, n) {
  const made = { n, states: new Array(STATE_KEYS.length).fill(0), flags: 0, flagged: 0, radius: discRadius(n), box: { west: 2, east: -1, north: 2, south: -1 } };
  let [x, y] = [0, 0];
  for (let slot = head; slot >= 0; slot = next[slot]) {
    x += fleet.x[slot];
    y += fleet.y[slot];
    count(made, fleet, slot);
  }
  made.x = (x / n) * view.scale - view.left;
  made.y = (y / n) * view.scale - view.top;
  return made;
}

const discRadius = (n) => 12 + Math.min(12, 3.2 * Math.log10(n));

function count(made, fleet, slot) {
  const { box } = made;
  box.west = Math.min(box.west, fleet.x[slot]);
  box.east = Math.max(box.east, fleet.x[slot]);
  box.north = Math.min(box.north, fleet.y[slot]);
  box.south = Math.max(box.south, fleet.y[slot]);
  made.states[fleet.state[slot]] += 1;
  made.flags |= fleet.flags[slot];
  if (fleet.flags[slot]) made.flagged += 1;
}

// Discs of neighbouring cells that would cover each other become one, the larger ones first; so does a single one under a disc.
function join(discs) {
  discs.sort((a, b) => b.n - a.n);
  for (let i = 0; i < discs.length; i += 1) {
    const big = discs[i];
    for (let j = discs.length - 1; j > i; j -= 1) {
      const small = discs[j];
      if (Math.hypot(big.x - small.x, big.y - small.y) > big.radius + small.radius - 3) continue;
      big.x = (big.x * big.n + small.x * small.n) / (big.n + small.n);
      big.y = (big.y * big.n + small.y * small.n) / (big.n + small.n);
      big.n += small.n;
      big.radius = discRadius(big.n);
      small.states.forEach((n, state) => { big.states[state] += n; });
      big.flags |= small.flags;
      big.flagged += small.flagged;
      big.box = { west: Math.min(big.box.west, small.box.west), east: Math.max(big.box.east, small.box.east), north: Math.min(big.box.north, small.box.north), south: Math.max(big.box.south, small.box.south) };
      discs.splice(j, 1);
    }
  }
}

function absorb(disc, { slot }, fleet) {
  disc.n += 1;
  count(disc, fleet, slot);
  return true;
}

function paintDisc(ctx, { x, y, radius, n, states, flags }, theme) {
  ctx.beginPath();
  ctx.arc(x, y, radius, 0, 2 * Math.PI);
  ctx.fillStyle = theme.surface;
  ctx.fill();
  ctx.lineWidth = 4;
  let from = -Math.PI / 2;
  states.forEach((share, state) => {
    if (!share) return;
    const to = from + (share / n) * 2 * Math.PI;
    ctx.beginPath();
    ctx.arc(x, y, radius - 1, from, to);
    ctx.strokeStyle = theme.states[state];
    ctx.stroke();
    from = to;
  });
  ctx.fillStyle = theme.ink;
  ctx.font = '600 11px system-ui, sans-serif';
  ctx.textAlign = 'center';
  ctx.textBaseline = 'middle';
  ctx.fillText(n < 10_000 ? number(n) : `${number(n / 1000)}k`, x, y + 0.5);
  if (flags) flagMark(ctx, x + radius * 0.72, y - radius * 0.72, flags, theme);
}

// The shape of the gravest flag in its colour.
function flagMark(ctx, x, y, flags, theme) {
  const bit = FLAG_KEYS.findIndex((_, i) => flags & (1 << i));
  const key = `flag ${bit}`;
  stamp(ctx, theme, key, 16, x, y, (brush) => {
    brush.beginPath();
    brush.arc(8, 8, 7.5, 0, 2 * Math.PI);
    brush.fillStyle = theme.surface;
    brush.fill();
    brush.translate(3.2, 3);
    brush.scale(0.8, 0.8);
    brush.fillStyle = theme.flags[bit];
    brush.fill(new Path2D(shapePath(FLAGS[FLAG_KEYS[bit]].shape)), 'evenodd');
  });
}

function paintSingle(ctx, { x, y, slot }, fleet, theme) {
  const state = fleet.state[slot];
  const angle = fleet.angle[slot];
  const turn = state === MOVING && !Number.isNaN(angle) ? Math.round((angle / 360) * TURNS) % TURNS : -1;
  stamp(ctx, theme, state * 64 + turn, 26, x, y, (brush) => marker(brush, state, turn, theme));
  if (fleet.flags[slot]) flagMark(ctx, x + 9, y - 9, fleet.flags[slot], theme);
}

// A disc in the state's colour with its shape in it; what moves is an arrow where it heads.
function marker(brush, state, turn, theme) {
  const shape = new Path2D(shapePath(STATES[STATE_KEYS[state]].shape));
  brush.translate(13, 13);
  if (turn >= 0) {
    brush.rotate((turn / TURNS) * 2 * Math.PI);
    brush.scale(1.75, 1.75);
    brush.translate(-6, -6.2);
    brush.lineJoin = 'round';
    brush.lineWidth = 2.2;
    brush.strokeStyle = theme.surface;
    brush.stroke(shape);
    brush.fillStyle = theme.states[state];
    brush.fill(shape);
    return;
  }
  brush.beginPath();
  brush.arc(0, 0, 9, 0, 2 * Math.PI);
  brush.fillStyle = theme.surface;
  brush.fill();
  brush.lineWidth = 1.8;
  brush.strokeStyle = theme.states[state];
  brush.stroke();
  brush.scale(0.78, 0.78);
  brush.translate(-6, -6);
  brush.fillStyle = theme.states[state];
  brush.fill(shape, 'evenodd');
}

// Small pictures are drawn once for a theme and stamped from then on.
function stamp(ctx, theme, key, size, x, y, draw) {
  const ratio = window.devicePixelRatio || 1;
  const name = `${key} ${ratio}`;
  let sprite = theme.sprites.get(name);
  if (!sprite) {
    sprite = document.createElement('canvas');
    sprite.width = Math.ceil(size * ratio);
    sprite.height = sprite.width;
    const brush = sprite.getContext('2d');
    brush.scale(ratio, ratio);
    draw(brush);
    theme.sprites.set(name, sprite);
  }
  ctx.drawImage(sprite, x - size / 2, y - size / 2, size, size);
}

function halo(ctx, { x, y }, theme) {
  ctx.beginPath();
  ctx.arc(x, y, 17, 0, 2 * Math.PI);
  ctx.fillStyle = theme.accent;
  ctx.globalAlpha = 0.22;
  ctx.fill();
  ctx.globalAlpha = 1;
  ctx.lineWidth = 2;
  ctx.strokeStyle = theme.accent;
  ctx.stroke();
}

// Names to the right of what stands alone, where they cover neither each other nor a marker.
function paintLabels(ctx, view, singles, chosen, drawn, fleet, theme) {
  ctx.font = '500 12px system-ui, sans-serif';
  ctx.textAlign = 'left';
  ctx.textBaseline = 'middle';
  ctx.lineJoin = 'round';
  ctx.lineWidth = 3;
  ctx.strokeStyle = theme.surface;
  ctx.fillStyle = theme.ink;
  const taken = drawn.map(({ x, y, radius }) => [x - radius, y - radius, x + radius, y + radius]);
  const place = (one, always) => {
    const name = fleet.names[one.slot];
    const width = ctx.measureText(name).width;
    const [x, y] = [one.x + (always ? 21 : 14), one.y];
    const box = [x, y - 7, x + width, y + 7];
    if (!always && taken.some((other) => box[0] < other[2] && box[2] > other[0] && box[1] < other[3] && box[3] > other[1])) return;
    taken.push(box);
    ctx.strokeText(name, x, y);
    ctx.fillText(name, x, y);
  };
  if (chosen) place(chosen, true);
  if (view.zoom >= 6) for (const one of singles) place(one, false);
}
