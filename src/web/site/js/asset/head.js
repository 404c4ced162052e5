// The head of the asset's page: what it is, how it does now, its files and reports.

import { address } from '../api.js';
import { el, fill } from '../dom.js';
import { icon } from '../icons.js';
import { closeOutside } from '../shell.js';
import { flagBadge, stateBadge } from '../states.js';
import * as time from '../time.js';

const FORMATS = [['gpx', 'GPX', 'for navigation devices'], ['geojson', 'GeoJSON', 'for maps'], ['kml', 'KML', 'for Google Earth'], ['csv', 'CSV', 'for spreadsheets']];
const REPORTS = [['trips', 'Trips'], ['stops', 'Stops'], ['daily', 'Daily summary'], ['temperature', 'Temperature'], ['events', 'Events'], ['offline', 'Offline times'], ['odometer', 'Odometer and fuel']];

// range() says what is looked at, in milliseconds.
export function assetHead(asset, groups, range) {
  const group = groups.find((one) => one.id === asset.group);
  const badges = el('div.row');
  const exports = menu('Export', 'download', FORMATS.map(([format, name, what]) => el('a', { dataset: { format }, download: '' }, name, el('small.quiet', {}, what))));
  const reports = menu('Reports', 'report', REPORTS.map(([report, name]) => el('a', { dataset: { report } }, name)));
  // The addresses carry the span that is looked at when the menu opens.
  exports.addEventListener('toggle', () => {
    const { from, to } = range();
    for (const link of exports.querySelectorAll('a')) link.href = address(`/assets/${asset.id}/export`, { from: new Date(from), to: new Date(to), format: link.dataset.format });
  });
  reports.addEventListener('toggle', () => {
    const { from, to } = range();
    for (const link of reports.querySelectorAll('a')) link.href = `/reports?${new URLSearchParams({ report: link.dataset.report, asset: asset.id, from: new Date(from).toISOString(), to: new Date(to).toISOString() })}`;
  });
  const about = [asset.kind, group?.name, asset.model, asset.imei && `IMEI ${asset.imei}`].filter(Boolean).join(' · ');
  const node = el('header.asset-head', {},
    el('a.button.plain.icon-only', { href: `/?asset=${asset.id}`, 'aria-label': 'Back to the map', title: 'Back to the map' }, icon('back')),
    el('div.asset-title', {}, el('h1.truncate', {}, asset.name), el('div.quiet.truncate', {}, about)),
    badges, el('span.spring'), exports, reports);
  const show = (now) => fill(badges, now.state && stateBadge(now.state), (now.flags ?? []).map(flagBadge), now.retired_at && el('span.quiet', {}, 'retired'),
    now.time ? el('span.quiet.nowrap', {}, 'last record ', time.ageNode(now.time, asset.group)) : el('span.quiet', {}, 'no record yet'));
  show(asset);
  return { node, show };
}

function menu(name, drawing, items) {
  const node = el('details.menu', {}, el('summary.button', {}, icon(drawing), name), el('div.sheet', {}, items));
  closeOutside(node);
  return node;
}
