// Packets of a device that could not be read or stored: why, and their bytes field by field.
import * as api from '../api.js';
import { el } from '../dom.js';
import { itemsOf } from '../pages/frame.js';
import { badge } from '../states.js';
import { ageNode, full } from '../time.js';
import { empty, load } from '../ui.js';
import { bytes, count } from '../units.js';

export function quarantinePanel(imei, place) {
  load(place, async () => {
    const items = itemsOf(await api.get(`/devices/${imei}/quarantine`));
    if (!items.length) return empty('Nothing in quarantine', 'Every packet of this device could be read and stored.');
    return [el('p.quiet', {}, 'Packets that could not be read or stored as they were. Those not acknowledged are with the device still, and it sends them again.'), items.map(entryNode)];
  });
}

function entryNode(entry) {
  const acked = entry.acked ? badge(entry.dismissed_at ? 'acknowledged, dismissed' : 'acknowledged: the only copy', entry.dismissed_at ? 'offline' : 'warn', 'square') : badge('not acknowledged', 'note', 'ring');
  const lines = Array.isArray(entry.explanation) ? entry.explanation : String(entry.explanation ?? '').split('\n').filter(Boolean);
  return el('article.card.quarantined', {},
    el('div.row.between', {}, el('h3', {}, entry.reason), acked),
    el('p.quiet', {}, `${entry.code}, ${bytes(entry.n_bytes)}, seen ${count(entry.n_seen, 'time')}, last `, ageNode(entry.last_at), `, first ${full(entry.received_at)}`),
    lines.length ? el('details', { open: true }, el('summary', {}, 'What the bytes mean'), el('pre.explained', { tabindex: 0, 'aria-label': 'Bytes explained' }, lines.map((line) => el(line.startsWith('!!') ? 'span.bad' : 'span', {}, `${line}\n`)))) : null,
    entry.bytes ? el('details', {}, el('summary', {}, 'Bytes'), el('pre.hex', { tabindex: 0, 'aria-label': 'Bytes in hexadecimal' }, entry.bytes.replace(/(.{2})/g, '$1 ').trim())) : null);
}
