// The server, live: what is wrong first, then ports, threads, writers and spool, and what happened to threads.
import * as api from '../api.js';
import { el, fill } from '../dom.js';
import { head } from '../pages/frame.js';
import { start } from '../shell.js';
import { badge } from '../states.js';
import { ageNode, duration, full } from '../time.js';
import { empty, failed, load, notice, pager, table } from '../ui.js';
import { bytes, count, number } from '../units.js';
import { RateChart } from './chart.js';
import { histogramIn, latencyNode } from './latency.js';
import { Rates } from './rates.js';
import { PORTS_SHOWN, countsTable, portsTable, spoolText, threadsTable, writersTable } from './tables.js';

// Milliseconds between two looks.
const LOOK_MS = 2000;

const { me, main } = await start('server', 'Server');
const rates = new Rates();
const parts = {};
let chart = null;
let allPorts = false;
const live = el('span.quiet.small', { role: 'status' });

if (me.is_admin) {
  build();
  await look();
} else {
  fill(main, head('Server'), empty('For administrators', 'The state of the server concerns all groups, so only who runs the server sees it.'));
}

function build() {
  for (const name of ['troubles', 'figures', 'ports', 'writers', 'spool', 'latency', 'threads', 'events', 'counts', 'about']) parts[name] = el('div.column');
  parts.chart = el('div.chart', { role: 'img', 'aria-label': 'Records a second of the last ten minutes' });
  const section = (title, ...content) => el('section.column', {}, el('h2', {}, title), content);
  fill(main, el('div.page-head', {}, el('h1', {}, 'Server'), el('span.spring'), live), parts.troubles, parts.figures,
    el('section.card', {}, el('h2', {}, 'Records a second'), parts.chart, el('p.quiet.small', {}, 'As this page has seen it since it was opened, at most ten minutes.')),
    section('Ports', parts.ports),
    el('div.halves', {}, el('section.card', {}, el('h2', {}, 'Time to the acknowledgement'), parts.latency), el('section.card', {}, el('h2', {}, 'Spool and queue'), parts.spool)),
    section('Writers', parts.writers), section('Threads', parts.threads), section('What happened to threads', parts.events),
    el('div.halves', {}, el('section.card', {}, el('h2', {}, 'About'), parts.about), el('section.column', {}, el('h2', {}, 'Counters'), parts.counts)));
  chart = new RateChart(parts.chart);
  showEvents(1);
}

async function look() {
  let status;
  try {
    status = await api.get('/status');
  } catch (error) {
    live.textContent = 'No answer; trying again.';
    if (!rates.looks.length) fill(parts.troubles, failed(error));
    else fill(parts.troubles, notice('bad', el('b', {}, 'The server does not answer. '), `What stands below is old. ${error.message}`));
    setTimeout(look, LOOK_MS);
    return;
  }
  show(status);
  showLatency();
  setTimeout(look, document.hidden ? LOOK_MS * 5 : LOOK_MS);
}

function show(status) {
  const counters = new Map([['records', status.ports.reduce((sum, port) => sum + port.records, 0)], ['packets', status.ports.reduce((sum, port) => sum + port.packets, 0)]]);
  for (const port of status.ports) counters.set(`records ${port.label}`, port.records);
  for (const writer of status.writers) counters.set(`records ${writer.name}`, writer.records);
  rates.note(Date.now(), counters, status.pid);
  live.textContent = 'Live, every 2 seconds';
  showTroubles(status);
  showFigures(status);
  chart.show(rates.series('records'));
  keepingFocus(parts.ports, () => fill(parts.ports, portsTable(status, rates, allPorts), status.ports.length > PORTS_SHOWN && !allPorts ? el('button', { type: 'button', on: { click: () => { allPorts = true; show(status); } } }, `Show all ${number(status.ports.length)} ports`) : null));
  fill(parts.writers, writersTable(status, rates));
  fill(parts.threads, threadsTable(status));
  showSpool(status);
  fill(parts.counts, countsTable(status));
  showAbout(status);
}

// Refilling a place would drop the focus of a button in it every two seconds.
function keepingFocus(place, work) {
  if (!place.contains(document.activeElement)) work();
}

function showTroubles(status) {
  const remarks = (status.remarks ?? []).slice(0, 5);
  const signature = JSON.stringify([status.troubles, remarks.map((one) => [one.text, one.at])]);
  if (parts.troubles.dataset.shown === signature) return;
  parts.troubles.dataset.shown = signature;
  const stalls = (status.stalls ?? []).filter((one) => one.in_a_row > 0);
  fill(parts.troubles,
    status.troubles.length ? status.troubles.map((text) => notice('bad', text)) : notice('good', el('b', {}, 'Nothing is wrong.'), ' What devices send is acknowledged and stored.'),
    stalls.map((one) => notice('warn', `Packets from ${one.network} stop half way: ${number(one.in_a_row)} in a row after ${bytes(one.received)}. The network between may swallow large packets (MTU).`)),
    remarks.length ? el('details', {}, el('summary', {}, `${count(remarks.length, 'recent remark')} of the log`), el('ul.remarks', {}, remarks.map((one) => el('li', {}, badge(one.level, one.level === 'error' ? 'bad' : 'warn', one.level === 'error' ? 'cross' : 'up'), ' ', one.text, ' ', el('span.quiet', {}, ageNode(one.at)))))) : null);
}

function showFigures(status) {
  const perSecond = rates.perSecond('records');
  const sessions = status.ports.reduce((sum, port) => sum + port.sessions, 0);
  const figure = (value, name) => el('div.card.figure', {}, el('b', {}, value), el('span', {}, name));
  fill(parts.figures, el('div.figures.cards', {},
    figure(perSecond === null ? '…' : number(perSecond), 'records/s'),
    figure(number(sessions), `sessions on ${count(status.ports.length, 'port')}`),
    figure(status.devices_loaded ? number(status.n_devices) : '…', status.devices_loaded ? 'devices known' : 'device list not loaded'),
    figure(number((status.acks_database ?? 0) + (status.acks_spool ?? 0)), 'packets acknowledged since the start'),
    figure(duration(status.uptime_s * 1000), 'up')));
}

function showSpool(status) {
  const meter = (name, used, limit) => el('div.meter', {}, el('div.row.between', {}, el('span', {}, name), el('span.quiet', {}, `${bytes(used)} of ${bytes(limit)}`)), el('div.progress', { 'aria-hidden': 'true' }, el('i', { style: { width: `${limit ? Math.min(100, (100 * used) / limit) : 0}%` } })));
  const held = status.quarantine_acked + status.quarantine_unacked;
  const calm = status.spool.state === 'empty';
  fill(parts.spool,
    el('div', {}, badge(`spool ${status.spool.state}`, calm ? 'good' : ['taking', 'draining', 'waiting'].includes(status.spool.state) ? 'warn' : 'bad', calm ? 'check' : 'bars'), ' ', spoolText(status.spool), '.'),
    status.spool.trouble ? notice('bad', status.spool.trouble) : null,
    meter('Queue of the writers', status.queue_bytes, status.queue_limit), meter('Incomplete packets', status.receive_bytes, status.receive_limit),
    held > 0 ? el('p', {}, `Quarantine: ${count(status.quarantine_acked, 'packet')} kept for good, ${number(status.quarantine_alerting)} of them not dismissed; ${number(status.quarantine_unacked)} not acknowledged.`) : null);
}

// The histogram is in the metrics, which everybody's monitoring reads too.
async function showLatency() {
  try {
    const response = await fetch('/metrics', { headers: { Accept: 'text/plain' } });
    if (!response.ok) throw new Error(`${response.status}`);
    const histogram = histogramIn(await response.text());
    fill(parts.latency, histogram ? latencyNode(histogram) : el('p.quiet', {}, 'No packet was acknowledged yet.'));
  } catch {
    fill(parts.latency, el('p.quiet', {}, 'The metrics cannot be read from here.'));
  }
}

function showAbout(status) {
  const os = status.os ?? {};
  const system = [os.name, os.kernel && `kernel ${os.kernel}`, os.machine].filter(Boolean).join(', ');
  const facts = [['trackport', `${status.version}, process ${status.pid}`], ['Up since', full(status.started_at)], ['Configuration', status.conf], ['Operating system', system || null], ['PostgreSQL', status.postgresql ?? 'away'], ['Log', status.log_lines_lost ? `${number(status.log_lines_lost)} lines lost, because nobody read them in time` : null], ['Traced', (status.traces ?? []).map((one) => one.imei).join(', ') || null]];
  fill(parts.about, el('dl.facts', {}, facts.filter(([, value]) => value).map(([name, value]) => [el('dt', {}, name), el('dd', {}, value)])));
}

function showEvents(page) {
  load(parts.events, async () => {
    const answer = await api.get('/thread_events', { page, per_page: 20 });
    if (!answer.items.length) return empty('Nothing yet', 'Starts, deaths and silences of threads are noted here.');
    const tone = (event) => (/die|dead|panic|fail/.test(event) ? ['bad', 'cross'] : /silen|retire/.test(event) ? ['warn', 'bars'] : ['good', 'dot']);
    return [table([
      { name: 'When', cell: (one) => full(one.at) }, { name: 'Thread', cell: (one) => el('b', {}, one.thread) }, { name: 'What', cell: (one) => badge(one.event, ...tone(one.event)) },
      { name: 'Start no.', number: true, cell: (one) => number(one.generation) }, { name: 'Why', cell: (one) => (one.reason ? el('span.remark', {}, one.reason) : '') },
    ], answer.items, { tight: true }), pager(answer, showEvents)];
  });
}
