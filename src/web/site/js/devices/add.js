// New devices: one by hand, many from a sheet.
import * as api from '../api.js';
import { el, fill } from '../dom.js';
import { buttons, field, textIn, wrong } from '../pages/form.js';
import { dialog, toast } from '../ui.js';
import { count } from '../units.js';
import { MODELS } from './models.js';

// Asks for one device and adds it.
export function addOne(changed) {
  dialog('Add a device', [
    field({ name: 'imei', label: 'IMEI', required: true, inputmode: 'numeric', pattern: '\\s*[0-9]{15}\\s*', title: '15 digits', autocomplete: 'off', hint: '15 digits, printed on the device and on its box.' }),
    field({ name: 'name', label: 'Name', maxlength: 200, autocomplete: 'off', hint: 'As people call it, for example "Van 7". May be given later.' }),
    field({ name: 'model', label: 'Model', options: MODELS, autocomplete: 'off', hint: 'Decides what its IO elements mean. May be set later.' }),
  ], buttons('Add'), async (data) => {
    const device = { imei: textIn(data, 'imei') };
    for (const key of ['name', 'model']) if (textIn(data, key)) device[key] = textIn(data, key);
    await api.post('/devices', device);
    toast(`Device ${device.imei} added: let in at its next login.`, 'good');
    changed();
  });
}

// Asks for a sheet and imports it; every mistake is shown with its line, and nothing is imported while there is one.
export function importSheet(changed) {
  const lines = field({ name: 'sheet', label: 'or paste its lines', kind: 'textarea', rows: 8, spellcheck: 'false', class: 'mono', placeholder: 'imei,name,model\n356307042441013,Van 7,FMB920', hint: 'The first line names the columns, imei among them: imei, name, model, firmware, phone, iccid, note, state, attributes. Comma, semicolon or tab between them.' });
  const area = lines.querySelector('textarea');
  const says = el('span', {}, 'Choose a CSV file, or drop it here');
  const file = el('input', { type: 'file', accept: '.csv,.tsv,.txt,text/csv,text/plain', 'aria-label': 'CSV file' });
  const drop = el('div.drop', {}, says, file);
  const mistakes = el('div', { 'aria-live': 'polite' });
  const take = async (chosen) => {
    if (!chosen) return;
    area.value = await chosen.text();
    says.textContent = `${chosen.name} was read; check its lines below, then import.`;
    fill(mistakes);
  };
  file.addEventListener('change', () => take(file.files[0]));
  for (const kind of ['dragenter', 'dragover']) drop.addEventListener(kind, (event) => { event.preventDefault(); drop.classList.add('over'); });
  for (const kind of ['dragleave', 'drop']) drop.addEventListener(kind, (event) => { event.preventDefault(); drop.classList.remove('over'); });
  drop.addEventListener('drop', (event) => take(event.dataTransfer.files[0]));
  dialog('Import devices', [drop, lines, mistakes], buttons('Import'), async () => {
    fill(mistakes);
    if (!area.value.trim()) throw wrong('There is nothing to import yet: choose a file or paste lines.');
    const answer = await send(area.value);
    if (answer.mistakes) {
      fill(mistakes, el('ul.mistakes', {}, answer.mistakes.map((one) => el('li', {}, mistake(one)))));
      throw wrong(answer.text);
    }
    toast(`Imported: ${told(answer)}.`, 'good');
    changed();
  }).classList.add('wide');
}

// The import's answer; a sheet with mistakes is an answer here too, not only a text.
async function send(sheet) {
  try {
    return (await api.post('/devices/import', sheet, { type: 'text/csv' })) ?? {};
  } catch (error) {
    const { mistakes, n_mistakes: n } = error.details ?? {};
    if (mistakes?.length) return { mistakes, text: `Nothing was imported: ${count(n ?? mistakes.length, 'mistake')}.` };
    throw error;
  }
}

function mistake(one) {
  const where = [one.line && `Line ${one.line}`, one.column && `column ${one.column}`].filter(Boolean).join(', ');
  return [where && el('b', {}, `${where}: `), one.text];
}

function told(answer) {
  const parts = [['added', answer.added], ['changed', answer.changed], ['unchanged', answer.unchanged]].filter(([, n]) => n > 0);
  return parts.map(([word, n]) => `${count(n, 'device')} ${word}`).join(', ') || 'nothing was new';
}
