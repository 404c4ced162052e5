// Ports, threads, writers and counters of the server as tables.
import { el } from '../dom.js';
import { badge } from '../states.js';
import { ageNode, duration } from '../time.js';
import { table } from '../ui.js';
import { UNKNOWN, bytes, count, number } from '../units.js';

// Ports shown before "Show all"; a range may have a hundred.
export const PORTS_SHOWN = 20;
// A beat that is older is worth a look: threads beat at least once a second.
const BEAT_LATE_MS = 3000;

const rate = (value) => (value === null ? UNKNOWN : number(value, value > 0 && value < 10 ? 1 : 0));

export function stateOfThread(state) {
  if (state === 'running') return badge('running', 'good', 'check');
  if (state === 'ended' || state === 'stopping') return badge(state, 'offline', 'dash');
  return badge(state, state.includes('restart') || state.includes('start') ? 'warn' : 'bad', 'cross');
}

const byTrouble = (list, wrong) => [...list].sort((a, b) => Number(wrong(b)) - Number(wrong(a)));

export function portsTable(status, rates, all) {
  const ports = byTrouble(status.ports, (port) => port.state !== 'running');
  return table([
    { name: 'Port', cell: (port) => el('b', {}, port.label) },
    { name: 'State', cell: (port) => el('div', {}, stateOfThread(port.state), port.reason && el('div.bad.small', {}, port.reason)) },
    { name: 'Sessions', number: true, cell: (port) => number(port.sessions) },
    { name: 'Records/s', number: true, cell: (port) => rate(rates.perSecond(`records ${port.label}`)) },
    { name: 'Records', number: true, cell: (port) => number(port.records) },
    { name: 'Packets', number: true, cell: (port) => number(port.packets) },
    { name: 'Read', number: true, cell: (port) => bytes(port.bytes) },
    { name: 'Last ack', cell: (port) => ageNode(port.last_ack_at) },
    { name: 'Remark', cell: (port) => (port.device ? el('a', { href: `/device/${port.device}` }, `only device ${port.device}`) : '') },
  ], all ? ports : ports.slice(0, PORTS_SHOWN), { tight: true });
}

export function threadsTable(status) {
  const wrong = (thread) => thread.state !== 'running' || thread.failures > 0;
  return table([
    { name: 'Thread', cell: (thread) => el('b', {}, thread.name) },
    { name: 'State', cell: (thread) => stateOfThread(thread.state) },
    { name: 'Last beat', number: true, cell: (thread) => el('span', { class: thread.beat_age_ms > BEAT_LATE_MS ? 'warn' : null }, thread.beat_age_ms < 1000 ? `${number(thread.beat_age_ms)} ms ago` : `${duration(thread.beat_age_ms)} ago`) },
    { name: 'Start no.', number: true, cell: (thread) => number(thread.generation) },
    { name: 'Failures', number: true, cell: (thread) => (thread.failures ? el('span.bad', {}, number(thread.failures)) : '0') },
    { name: 'Silent', number: true, cell: (thread) => number(thread.silences ?? 0) },
    { name: 'Why it failed last', cell: (thread) => (thread.last_failure ? el('span.remark', {}, thread.last_failure) : '') },
  ], byTrouble(status.threads, wrong), { tight: true });
}

export function writersTable(status, rates) {
  return table([
    { name: 'Writer', cell: (writer) => el('b', {}, writer.name) },
    { name: 'Database', cell: (writer) => (writer.database === 'up' ? badge('up', 'good', 'check') : badge(writer.database, 'bad', 'cross')) },
    { name: 'Queued', number: true, cell: (writer) => number(writer.queued) },
    { name: 'Records/s', number: true, cell: (writer) => rate(rates.perSecond(`records ${writer.name}`)) },
    { name: 'Batches', number: true, cell: (writer) => number(writer.batches) },
    { name: 'Records', number: true, cell: (writer) => number(writer.records) },
    { name: 'Last batch', number: true, cell: (writer) => `${number(writer.last_batch_ms)} ms` },
    { name: 'Last error', cell: (writer) => (writer.last_error ? el('span.bad.remark', {}, writer.last_error) : '') },
  ], status.writers, { tight: true });
}

export function countsTable(status) {
  const counts = (Array.isArray(status.counts) ? status.counts : Object.entries(status.counts ?? {})).filter(([, n]) => n > 0);
  return table([{ name: 'Since the start', cell: ([name]) => name.replaceAll('_', ' ') }, { name: 'Count', number: true, cell: ([, n]) => number(n) }], counts, { tight: true });
}

// Sentences about the spool.
export function spoolText(spool) {
  const parts = [`${count(spool.records, 'record')} in ${count(spool.segments, 'file')}, ${bytes(spool.bytes)}`];
  if (spool.records === 0 && spool.packets === 0) parts[0] = 'Nothing waits on disk: the database takes everything';
  else if (spool.oldest_at) parts.push(['the oldest from ', ageNode(spool.oldest_at)]);
  if (spool.records_in_per_s || spool.records_out_per_s) parts.push(`in ${number(spool.records_in_per_s)} and out ${number(spool.records_out_per_s)} records/s`);
  if (spool.room_bytes) parts.push(`room for ${bytes(spool.room_bytes)}`);
  if (spool.empty_in_s && spool.records > 0) parts.push(`empty in ${duration(spool.empty_in_s * 1000)}`);
  if (spool.full_in_s) parts.push(el('b.bad', {}, `full in ${duration(spool.full_in_s * 1000)}`));
  if (spool.set_aside_files > 0) parts.push(el('b.warn', {}, `${count(spool.set_aside_files, 'file')} set aside`));
  return parts.flatMap((part, i) => (i ? ['; ', part] : [part]));
}
