// What is known of all assets now, in columns: 20 000 of them are gone through for each picture.
//
// An asset has a slot; the columns hold what painting needs, `positions` what the API said. A removed asset's slot is taken by
// the last one.

import { FLAGS, STATES } from '../states.js';
import { worldX, worldY } from './paintlayer.js';
import * as time from '../time.js';

export const STATE_KEYS = Object.keys(STATES);
export const FLAG_KEYS = Object.keys(FLAGS);
const NEVER = STATE_KEYS.indexOf('never');
const OFFLINE = STATE_KEYS.indexOf('offline');

export class Fleet {
  constructor() {
    this.n = 0;
    this.slots = new Map();
    this.positions = [];
    this.names = [];
    this.keys = [];
    this.room = 0;
    this.filter = { text: '', states: new Set(), flags: new Set(), group: null };
    this.#grow(1024);
  }

  #grow(room) {
    for (const [name, Type] of [['x', Float64Array], ['y', Float64Array], ['received', Float64Array], ['angle', Float32Array], ['state', Uint8Array], ['flags', Uint8Array], ['shown', Uint8Array]]) {
      const column = new Type(room);
      if (this[name]) column.set(this[name]);
      this[name] = column;
    }
    this.room = room;
  }

  // Takes positions as the API sends them. Returns whether assets came or went by name, so that a list must be sorted anew.
  apply(positions) {
    let listChanged = false;
    for (const position of positions) {
      let slot = this.slots.get(position.asset);
      if (slot === undefined) {
        if (this.n === this.room) this.#grow(this.room * 2);
        slot = this.n;
        this.n += 1;
        this.slots.set(position.asset, slot);
      }
      if (this.names[slot] !== position.name) {
        this.names[slot] = position.name;
        this.keys[slot] = naturalKey(position.name);
        listChanged = true;
      }
      this.#put(slot, position);
    }
    return listChanged;
  }

  #put(slot, position) {
    this.positions[slot] = position;
    const located = Number.isFinite(position.longitude) && Number.isFinite(position.latitude);
    this.x[slot] = located ? worldX(position.longitude) : NaN;
    this.y[slot] = located ? worldY(position.latitude) : NaN;
    this.received[slot] = position.received_at ? Date.parse(position.received_at) : NaN;
    this.angle[slot] = position.angle_deg ?? NaN;
    const state = STATE_KEYS.indexOf(position.state);
    this.state[slot] = state < 0 ? NEVER : state;
    let flags = 0;
    for (const flag of position.flags ?? []) flags |= 1 << FLAG_KEYS.indexOf(flag);
    this.flags[slot] = flags;
    this.shown[slot] = this.#matches(slot) ? 1 : 0;
  }

  // Takes these assets away.
  remove(ids) {
    for (const id of ids) {
      const slot = this.slots.get(id);
      if (slot === undefined) continue;
      const last = this.n - 1;
      this.slots.delete(id);
      if (slot !== last) {
        this.names[slot] = this.names[last];
        this.keys[slot] = this.keys[last];
        this.slots.set(this.positions[last].asset, slot);
        this.#put(slot, this.positions[last]);
      }
      this.names.length = last;
      this.keys.length = last;
      this.positions.length = last;
      this.n = last;
    }
  }

  // Keeps only these: after a reload of everything.
  retain(positions) {
    const known = new Set(positions.map((position) => position.asset));
    const gone = [...this.slots.keys()].filter((id) => !known.has(id));
    this.remove(gone);
    return gone.length > 0;
  }

  get(id) {
    const slot = this.slots.get(id);
    return slot === undefined ? null : this.positions[slot];
  }

  // Silence turns into "offline" by the clock, whether or not anything arrives. Returns whether something did.
  age() {
    const now = time.now();
    let changed = false;
    for (let slot = 0; slot < this.n; slot += 1) {
      const limit = this.positions[slot].offline_after_s;
      if (!limit || this.state[slot] === OFFLINE || this.state[slot] === NEVER || now - this.received[slot] <= limit * 1000) continue;
      this.state[slot] = OFFLINE;
      this.positions[slot] = { ...this.positions[slot], state: 'offline' };
      this.shown[slot] = this.#matches(slot) ? 1 : 0;
      changed = true;
    }
    return changed;
  }

  // filter: { text, states: Set, flags: Set, group }; an empty set is everything. States and flags are added up: what is in one
  // of the chosen states or has one of the chosen flags.
  setFilter(filter) {
    this.filter = { ...filter, text: filter.text.trim().toLowerCase() };
    for (let slot = 0; slot < this.n; slot += 1) this.shown[slot] = this.#matches(slot) ? 1 : 0;
  }

  #found(slot) {
    const { text, group } = this.filter;
    const position = this.positions[slot];
    if (group !== null && position.group !== group) return false;
    return !text || position.name.toLowerCase().includes(text) || (position.imei ?? '').includes(text) || (position.model ?? '').toLowerCase() === text;
  }

  #chosen(slot) {
    const { states, flags } = this.filter;
    if (!states.size && !flags.size) return true;
    if (states.has(STATE_KEYS[this.state[slot]])) return true;
    if (flags.size) for (const flag of this.positions[slot].flags ?? []) if (flags.has(flag)) return true;
    return false;
  }

  #matches(slot) {
    return this.#found(slot) && this.#chosen(slot);
  }

  // How many there are of each state and flag among those that search and group let through.
  counts() {
    const counts = { total: 0, shown: 0 };
    for (const key of [...STATE_KEYS, ...FLAG_KEYS]) counts[key] = 0;
    const all = !this.filter.text && this.filter.group === null;
    for (let slot = 0; slot < this.n; slot += 1) {
      counts.shown += this.shown[slot];
      if (!all && !this.#found(slot)) continue;
      counts.total += 1;
      counts[STATE_KEYS[this.state[slot]]] += 1;
      const flags = this.flags[slot];
      if (flags) for (let bit = 0; bit < FLAG_KEYS.length; bit += 1) if (flags & (1 << bit)) counts[FLAG_KEYS[bit]] += 1;
    }
    return counts;
  }

  // Slots that the filter shows, in order; those that were never located at the end.
  order(by) {
    const slots = [];
    for (let slot = 0; slot < this.n; slot += 1) if (this.shown[slot]) slots.push(slot);
    const { keys, received, flags, state } = this;
    const name = (a, b) => (keys[a] < keys[b] ? -1 : keys[a] > keys[b] ? 1 : 0);
    const rank = (slot) => (flags[slot] ? 0 : state[slot] === OFFLINE ? 1 : 2);
    const ways = {
      name,
      attention: (a, b) => rank(a) - rank(b) || name(a, b),
      silent: (a, b) => (received[a] || 0) - (received[b] || 0) || name(a, b),
    };
    slots.sort(ways[by] ?? name);
    const located = slots.filter((slot) => !Number.isNaN(this.x[slot]));
    return { located, never: slots.filter((slot) => Number.isNaN(this.x[slot])) };
  }

  // The box around what is shown, in world coordinates; null when nothing is.
  bounds() {
    let box = null;
    for (let slot = 0; slot < this.n; slot += 1) {
      if (!this.shown[slot] || Number.isNaN(this.x[slot])) continue;
      const [x, y] = [this.x[slot], this.y[slot]];
      if (!box) box = { west: x, east: x, north: y, south: y };
      box.west = Math.min(box.west, x);
      box.east = Math.max(box.east, x);
      box.north = Math.min(box.north, y);
      box.south = Math.max(box.south, y);
    }
    return box;
  }
}

// "Truck 9" before "Truck 10"; a string that plain comparison puts in the right place, since comparing by language is ten times
// as slow.
function naturalKey(name) {
  return name.toLowerCase().replace(/\d+/g, (digits) => digits.padStart(12, '0'));
}
