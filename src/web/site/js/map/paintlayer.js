// A layer of the map that one function paints on a canvas, and the projection that goes with it.
//
// L.Renderer moves and scales the canvas with the map; while the map is dragged nothing is painted until the view leaves the
// canvas, which is larger than the view by PADDING on each side.

import { L } from '../vendor.js';
import { onFrame } from '../dom.js';

const PADDING = 0.35;
const LATITUDE_MAX = 85.0511287798;

// Web Mercator, the whole world from 0 to 1 in both directions.
export const worldX = (longitude) => longitude / 360 + 0.5;
export function worldY(latitude) {
  const sine = Math.sin((Math.max(-LATITUDE_MAX, Math.min(LATITUDE_MAX, latitude)) * Math.PI) / 180);
  return 0.5 - Math.log((1 + sine) / (1 - sine)) / (4 * Math.PI);
}
export const latitudeOf = (y) => (Math.atan(Math.sinh(Math.PI * (1 - 2 * y))) * 180) / Math.PI;
export const longitudeOf = (x) => (x - 0.5) * 360;

// paint(ctx, view): a world point is at x * view.scale - view.left, y * view.scale - view.top, in CSS pixels of a canvas of
// view.width by view.height; view.zoom is the map's.
export function paintLayer(paint, options = {}) {
  return new PaintLayer(paint, options);
}

const PaintLayer = L.Renderer.extend({
  initialize(paint, options) {
    L.Renderer.prototype.initialize.call(this, { padding: PADDING, ...options });
    this.paint = paint;
    this.repaint = onFrame(() => this._paint());
    this.followDrag = onFrame(() => this._leaveCheck());
  },

  // What is under a point of the map's container, in the canvas's pixels.
  toCanvas(containerPoint) {
    return this._map.containerPointToLayerPoint(containerPoint).subtract(this._bounds.min);
  },

  getEvents() {
    return { ...L.Renderer.prototype.getEvents.call(this), move: this.followDrag };
  },

  _initContainer() {
    this._container = L.DomUtil.create('canvas', 'paint-layer');
    this._container.setAttribute('aria-hidden', 'true');
    this.ctx = this._container.getContext('2d');
  },

  _destroyContainer() {
    this._container.remove();
    this._container = null;
    this.ctx = null;
  },

  _leaveCheck() {
    if (!this._map || !this._bounds || this._map._animatingZoom) return;
    const topLeft = this._map.containerPointToLayerPoint([0, 0]);
    const seen = L.bounds(topLeft, topLeft.add(this._map.getSize()));
    if (!this._bounds.contains(seen)) this._update();
  },

  _update() {
    if (this._map._animatingZoom && this._bounds) return;
    L.Renderer.prototype._update.call(this);
    const size = this._bounds.getSize();
    const ratio = window.devicePixelRatio || 1;
    L.DomUtil.setPosition(this._container, this._bounds.min);
    const [width, height] = [Math.round(size.x * ratio), Math.round(size.y * ratio)];
    // Setting the size also clears, and is dear when nothing changed.
    if (this._container.width !== width || this._container.height !== height) {
      this._container.width = width;
      this._container.height = height;
      this._container.style.width = `${size.x}px`;
      this._container.style.height = `${size.y}px`;
    }
    this._paint();
  },

  _paint() {
    // A zoom in progress scales the picture of before; the end of it paints anew.
    if (!this._map || !this.ctx || !this._bounds || this._map._animatingZoom) return;
    const ratio = window.devicePixelRatio || 1;
    const size = this._bounds.getSize();
    const corner = this._map.getPixelOrigin().add(this._bounds.min);
    this.ctx.setTransform(ratio, 0, 0, ratio, 0, 0);
    this.ctx.clearRect(0, 0, size.x, size.y);
    this.paint(this.ctx, { scale: 256 * 2 ** this._zoom, left: corner.x, top: corner.y, width: size.x, height: size.y, zoom: this._zoom });
  },
});
