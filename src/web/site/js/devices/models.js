// The model of a device: set, suggested and to be confirmed, or missing.
import * as api from '../api.js';
import { el } from '../dom.js';
import { buttons, field, textIn } from '../pages/form.js';
import { dialog, during, toast } from '../ui.js';

// Models that are offered; the server's dictionary knows more, and any may be typed.
export const MODELS = ['FMB001', 'FMB003', 'FMB010', 'FMB110', 'FMB120', 'FMB125', 'FMB130', 'FMB140', 'FMB202', 'FMB204', 'FMB208', 'FMB640', 'FMB641', 'FMB900', 'FMB920', 'FMB965', 'FMC001', 'FMC003', 'FMC125', 'FMC130', 'FMC150', 'FMC230', 'FMC234', 'FMC640', 'FMC650', 'FMC800', 'FMC880', 'FMC920', 'FMM001', 'FMM003', 'FMM125', 'FMM130', 'FMM150', 'FMM640', 'FMM650', 'FMP100', 'FMT100', 'GH5200', 'MSP500', 'MTB100', 'TAT100', 'TAT140', 'TAT141', 'TAT240', 'TFT100', 'TMT250'];

async function set(device, model, changed) {
  await api.patch(`/devices/${device.imei}`, { model });
  toast(`${device.name ?? device.imei} is a ${model}. What it sent before is read anew in the background.`, 'good');
  changed();
}

// What a list shows for a device's model; `changed` is called after a change.
export function modelCell(device, changed) {
  if (device.model) return device.model;
  if (device.suggested_model) {
    return el('span.row.suggestion', {}, el('span.quiet', {}, `looks like ${device.suggested_model}`),
      el('button.slim', { type: 'button', 'aria-label': `Confirm that ${device.name ?? device.imei} is a ${device.suggested_model}`, on: { click: (event) => during(event.currentTarget, () => set(device, device.suggested_model, changed)) } }, 'Confirm'));
  }
  return el('button.slim.plain', { type: 'button', 'aria-label': `Set model of ${device.name ?? device.imei}`, on: { click: () => chooseModel(device, changed) } }, 'Set model');
}

// Asks for the model and sets it.
export function chooseModel(device, changed) {
  dialog(`Model of ${device.name ?? device.imei}`, [
    device.suggested_model && el('p', {}, `What it sends looks like ${device.suggested_model}.`),
    field({ name: 'model', label: 'Model', value: device.model ?? device.suggested_model ?? '', options: device.fitting_models?.length ? device.fitting_models : MODELS, required: true, autocomplete: 'off', hint: 'As printed on the device, for example FMC130. IO elements mean different things on different models; after a change what is stored is read anew in the background.' }),
  ], buttons('Set'), (data) => set(device, textIn(data, 'model').toUpperCase(), changed));
}
