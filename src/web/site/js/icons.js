// The icons: strokes in a square of 24, drawn in the colour of the text. All drawn for this project.

import { svg } from './dom.js';

const PATHS = {
  logo: 'M12 21s7-6.2 7-11a7 7 0 1 0-14 0c0 4.8 7 11 7 11M8.5 10l2.5 2.5 4.5-4.5',
  map: 'M3 6l6-2 6 2 6-2v14l-6 2-6-2-6 2zM9 4v14M15 6v14',
  asset: 'M3 16V7h11v9M14 10h4l3 3v3h-2M3 16h2m4 0h6M7 18a2 2 0 1 0 0-4 2 2 0 0 0 0 4M17 18a2 2 0 1 0 0-4 2 2 0 0 0 0 4',
  device: 'M6 8h12v9H6zM9 8V5M15 8V5M10 12h4M12 17v3',
  report: 'M6 3h8l4 4v14H6zM14 3v4h4M9 17v-4M12 17v-6M15 17v-2',
  server: 'M4 5h16v6H4zM4 13h16v6H4zM7.5 8h.01M7.5 16h.01M12 8h5M12 16h5',
  settings: 'M4 7h9M17 7h3M4 17h3M11 17h9M15 9.5a2.5 2.5 0 1 0 0-5 2.5 2.5 0 0 0 0 5M9 19.5a2.5 2.5 0 1 0 0-5 2.5 2.5 0 0 0 0 5',
  user: 'M12 12a4 4 0 1 0 0-8 4 4 0 0 0 0 8M4.5 20c1-4 4-5.5 7.5-5.5s6.5 1.5 7.5 5.5',
  search: 'M11 18a7 7 0 1 0 0-14 7 7 0 0 0 0 14M16 16l5 5',
  close: 'M6 6l12 12M18 6L6 18',
  plus: 'M12 5v14M5 12h14',
  minus: 'M5 12h14',
  check: 'M5 12.5l4.5 4.5L19 7.5',
  edit: 'M4 20l1-4L16 5l3 3L8 19zM14 7l3 3',
  trash: 'M5 7h14M10 7V4h4v3M7 7l1 13h8l1-13M10.5 11v5M13.5 11v5',
  download: 'M12 4v11M7.5 11l4.5 4.5 4.5-4.5M4 20h16',
  upload: 'M12 16V5M7.5 9L12 4.5 16.5 9M4 20h16',
  copy: 'M9 9h11v11H9zM5 15H4V4h11v1',
  sun: 'M12 16a4 4 0 1 0 0-8 4 4 0 0 0 0 8M12 2v2M12 20v2M2 12h2M20 12h2M5 5l1.4 1.4M17.6 17.6L19 19M5 19l1.4-1.4M17.6 6.4L19 5',
  moon: 'M20 14.5A8.5 8.5 0 0 1 9.5 4a8.5 8.5 0 1 0 10.5 10.5',
  screen: 'M3 5h18v11H3zM9 20h6M12 16v4',
  clock: 'M12 21a9 9 0 1 0 0-18 9 9 0 0 0 0 18M12 7v5l3.5 2',
  calendar: 'M4 6h16v14H4zM4 10h16M8 3v5M16 3v5',
  left: 'M15 5l-7 7 7 7',
  right: 'M9 5l7 7-7 7',
  up: 'M5 15l7-7 7 7',
  down: 'M5 9l7 7 7-7',
  back: 'M20 12H5M11 6l-6 6 6 6',
  more: 'M12 5h.01M12 12h.01M12 19h.01',
  filter: 'M4 5h16l-6 8v6l-4-2v-4z',
  list: 'M8 6h12M8 12h12M8 18h12M4 6h.01M4 12h.01M4 18h.01',
  target: 'M12 19a7 7 0 1 0 0-14 7 7 0 0 0 0 14M12 2v4M12 18v4M2 12h4M18 12h4',
  fit: 'M4 9V4h5M20 9V4h-5M4 15v5h5M20 15v5h-5',
  play: 'M7 4.5l12 7.5-12 7.5z',
  pause: 'M8 5v14M16 5v14',
  warning: 'M12 4L2.5 20h19zM12 10v4.5M12 17.3h.01',
  info: 'M12 21a9 9 0 1 0 0-18 9 9 0 0 0 0 18M12 11v5M12 7.8h.01',
  refresh: 'M20 11a8 8 0 0 0-14.3-4L4 9M4 4v5h5M4 13a8 8 0 0 0 14.3 4L20 15M20 20v-5h-5',
  external: 'M14 4h6v6M20 4l-9 9M18 14v6H4V6h6',
  empty: 'M4 13l3-8h10l3 8v6H4zM4 13h5l1 2.5h4l1-2.5h5',
  unplugged: 'M9 3v5M15 3v5M6 8h12v3a6 6 0 0 1-5 5.9M11 17a6 6 0 0 1-4-3M12 17v4M3 3l18 18',
  logout: 'M14 4h5v16h-5M15 12H4M8 8l-4 4 4 4',
  zoomout: 'M11 18a7 7 0 1 0 0-14 7 7 0 0 0 0 14M16 16l5 5M8 11h6',
  thermometer: 'M10 13V5a2 2 0 1 1 4 0v8a4.5 4.5 0 1 1-4 0M12 9v8',
  battery: 'M3 8h15v8H3zM21 11v2M6 11v2M9 11v2',
  door: 'M6 21V4l10-1v19zM16 5h2v16M4 21h16M12.5 12h.01',
};

// icon('map') makes the drawing; it is hidden from screen readers, the word stands beside it or in aria-label.
export function icon(name) {
  return svg('svg', { class: 'icon', viewBox: '0 0 24 24', 'aria-hidden': 'true' }, svg('path', { d: PATHS[name] ?? PATHS.info }));
}
