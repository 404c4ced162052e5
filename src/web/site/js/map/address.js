// The map's address keeps what is chosen, so that it can be sent to somebody or come back to:
// ?q=…&state=moving,parked&flag=too_warm&group=2&order=silent&asset=12#6.5/48.2/16.37

import { FLAGS, STATES } from '../states.js';

export function readAddress() {
  const query = new URLSearchParams(location.search);
  const set = (name, known) => new Set((query.get(name) ?? '').split(',').filter((key) => key in known));
  const number = (name) => (/^\d+$/.test(query.get(name) ?? '') ? Number(query.get(name)) : null);
  const [zoom, latitude, longitude] = location.hash.slice(1).split('/').map(Number);
  return {
    filter: { text: query.get('q') ?? '', states: set('state', STATES), flags: set('flag', FLAGS), group: number('group'), order: query.get('order') ?? 'name' },
    asset: number('asset'),
    view: [zoom, latitude, longitude].every(Number.isFinite) && location.hash.length > 1 ? { zoom, latitude, longitude } : null,
  };
}

export function writeAddress(filter, asset, map) {
  const query = new URLSearchParams();
  if (filter.text) query.set('q', filter.text);
  if (filter.states.size) query.set('state', [...filter.states].join(','));
  if (filter.flags.size) query.set('flag', [...filter.flags].join(','));
  if (filter.group !== null) query.set('group', filter.group);
  if (filter.order !== 'name') query.set('order', filter.order);
  if (asset !== null) query.set('asset', asset);
  const { lat, lng } = map.getCenter();
  const text = query.toString().replaceAll('%2C', ',');
  history.replaceState(null, '', `${location.pathname}${text ? `?${text}` : ''}#${map.getZoom()}/${lat.toFixed(4)}/${lng.toFixed(4)}`);
}
