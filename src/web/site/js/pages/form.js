// Fields of forms, each with its label, its unit and a sentence of what it means; and what was entered.
import { Refused } from '../api.js';
import { el } from '../dom.js';

let made = 0;

// A field. kind: text, number, password, select ([[value, text]…] in `options`), textarea, or text with texts to choose from in
// `options`; `unit` stands behind it, `hint` below; all else are attributes.
export function field({ name, label, kind = 'text', value = '', hint = null, unit = null, options = null, ...more }) {
  made += 1;
  const id = `field-${made}`;
  const props = { id, name, 'aria-describedby': hint ? `${id}-hint` : null, ...more };
  let input;
  let list = null;
  if (kind === 'select') {
    input = el('select', props, options.map(([key, text]) => el('option', { value: String(key) }, text)));
    input.value = String(value ?? '');
  } else if (kind === 'textarea') {
    input = el('textarea', props);
    input.value = value ?? '';
  } else {
    input = el('input', { type: kind, step: kind === 'number' ? 'any' : null, list: options ? `${id}-list` : null, value: value ?? '', ...props });
    list = options && el('datalist', { id: `${id}-list` }, options.map((one) => el('option', { value: one })));
  }
  return el('div.field', {}, el('label', { for: id }, label), unit ? el('div.with-unit', {}, input, el('span.quiet', {}, unit)) : input, list, hint && el('small', { id: `${id}-hint` }, hint));
}

// A box to tick, with its label.
export function tick({ name, label, value = false, hint = null, ...more }) {
  return el('div.field', {}, el('label.check', {}, el('input', { type: 'checkbox', name, checked: Boolean(value), ...more }), el('span', {}, label)), hint && el('small', {}, hint));
}

// What somebody entered cannot be: shown like a refusal of the server.
export const wrong = (text) => new Refused(422, 'invalid', text);

// What a field of a form has: text without blanks around it; null where nothing was entered.
export function textIn(data, name) {
  const value = String(data.get(name) ?? '').trim();
  return value === '' ? null : value;
}

// The number in a field, with a comma as well as with a point; null where nothing was entered.
export function numberIn(data, name) {
  const text = textIn(data, name);
  if (text === null) return null;
  const value = Number(text.replace(',', '.'));
  if (!Number.isFinite(value)) throw wrong(`"${text}" is no number.`);
  return value;
}

// Those of `values` that differ from what was there before: what a PATCH sends.
export function changed(values, before) {
  return Object.fromEntries(Object.entries(values).filter(([key, value]) => (value ?? null) !== (before[key] ?? null)));
}

// The buttons below a dialog's form.
export function buttons(yes, tone = 'primary') {
  return [el('button', { type: 'button', on: { click: (event) => event.target.closest('dialog').close() } }, 'Cancel'), el(`button.${tone}`, { type: 'submit' }, yes)];
}
