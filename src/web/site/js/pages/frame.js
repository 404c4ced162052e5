// What the operators' pages have in common: their head, and words for small things.
import { el } from '../dom.js';

// The title of a page, what it is for, and its actions at the right.
export function head(title, text = null, ...actions) {
  return el('div.page-head', {}, el('div', {}, el('h1', {}, title), text && el('p.quiet', {}, text)), el('span.spring'), actions);
}

// Saves a text as a file of the reader's computer.
export function save(name, type, text) {
  const link = el('a', { href: URL.createObjectURL(new Blob([text], { type })), download: name });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

// A cell of a CSV file; quoted where it has to be.
export function csvCell(value) {
  const text = value === null || value === undefined ? '' : String(value);
  return /[",;\r\n\t]|^\s|\s$/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

// The groups that the reader manages; an administrator all of them.
export const managed = (me) => me.groups.filter((group) => me.is_admin || group.role === 'manager' || group.role === 'admin');
export const manages = (me, group) => me.is_admin || managed(me).some((one) => one.id === group);
export const groupName = (me, id) => me.groups.find((group) => group.id === id)?.name ?? `group ${id}`;

// Items of a list's answer, whether it is paged or bare.
export const itemsOf = (answer) => (Array.isArray(answer) ? answer : answer?.items ?? []);
