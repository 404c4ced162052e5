// Changing assets: what they are, and which device is fitted.
import * as api from '../api.js';
import { el } from '../dom.js';
import { buttons, changed as changedFields, field, numberIn, textIn, wrong } from '../pages/form.js';
import { managed } from '../pages/frame.js';
import { KINDS } from '../states.js';
import { fromInput, now, toInput, zone } from '../time.js';
import { confirm, dialog, toast } from '../ui.js';

// Asks for all that people may change of an asset, or for a new one.
export function editAsset(me, asset, changed) {
  const groups = managed(me);
  const one = asset ?? { name: '', kind: 'vehicle', group: groups[0]?.id, temperature_min: null, temperature_max: null, note: null };
  const group = groups.find((other) => other.id === one.group);
  dialog(asset ? `Asset ${asset.name}` : 'Add an asset', [
    field({ name: 'name', label: 'Name', value: one.name, required: true, maxlength: 200, autocomplete: 'off', hint: asset ? null : 'A vehicle, trailer, machine or box that is tracked, for example "Truck 12".' }),
    el('div.grid', {},
      field({ name: 'kind', label: 'Kind', kind: 'select', value: one.kind, options: KINDS.map((kind) => [kind, kind]) }),
      field({ name: 'group', label: 'Group', kind: 'select', value: one.group, options: groups.map((other) => [other.id, other.name]), hint: asset ? 'Who sees the new group sees its past too.' : null })),
    el('fieldset', {}, el('legend', {}, 'Temperature limits'),
      el('div.grid', {},
        field({ name: 'temperature_min', label: 'Not below', value: one.temperature_min, unit: '°C', inputmode: 'decimal', autocomplete: 'off' }),
        field({ name: 'temperature_max', label: 'Not above', value: one.temperature_max, unit: '°C', inputmode: 'decimal', autocomplete: 'off' })),
      el('p.quiet.small', {}, `Left empty, what ${group ? `its group ${group.name}` : 'its group'} says holds.`)),
    field({ name: 'note', label: 'Note', value: one.note, kind: 'textarea', rows: 2 }),
  ], buttons(asset ? 'Save' : 'Add'), async (data) => {
    const values = { name: textIn(data, 'name'), kind: data.get('kind'), group: Number(data.get('group')), temperature_min: numberIn(data, 'temperature_min'), temperature_max: numberIn(data, 'temperature_max'), note: textIn(data, 'note') };
    if (values.temperature_min !== null && values.temperature_max !== null && values.temperature_min >= values.temperature_max) throw wrong('The lower temperature limit must be below the upper one.');
    if (asset) {
      const change = changedFields(values, one);
      if (!Object.keys(change).length) return;
      await api.patch(`/assets/${asset.id}`, change);
    } else {
      await api.post('/assets', Object.fromEntries(Object.entries(values).filter(([, value]) => value !== null)));
    }
    toast(`${values.name} saved.`, 'good');
    changed();
  });
}

// Asks for the device that is fitted from some moment on; the present one is taken out then.
export function fitDevice(asset, changed) {
  const timeZone = zone(asset.group);
  dialog(`Fit a device to ${asset.name}`, [
    el('p', {}, asset.imei ? `Fitted now: ${asset.imei}. It is taken out at the moment given below.` : 'No device is fitted now.'),
    field({ name: 'imei', label: 'IMEI of the device', required: true, inputmode: 'numeric', pattern: '\\s*[0-9]{15}\\s*', title: '15 digits', autocomplete: 'off' }),
    field({ name: 'fitted_at', label: `Fitted since (times of ${timeZone})`, kind: 'datetime-local', value: toInput(now(), timeZone), hint: 'Records from then on belong to this asset. A moment in the past is allowed.' }),
  ], buttons('Fit'), async (data) => {
    const body = { imei: textIn(data, 'imei') };
    const at = fromInput(data.get('fitted_at'), timeZone);
    // The field has minutes: untouched, it means now, not the beginning of this minute.
    if (Number.isFinite(at) && Math.abs(at - now()) > 120_000) body.fitted_at = new Date(at).toISOString();
    await api.post(`/assets/${asset.id}/fittings`, body);
    toast(`${body.imei} is fitted to ${asset.name}.`, 'good');
    changed();
  });
}

// Takes an asset out of use, or back into it.
export async function retire(asset, changed) {
  if (asset.retired_at) {
    await api.patch(`/assets/${asset.id}`, { retired: false });
  } else {
    const sure = await confirm(`Retire ${asset.name}?`, 'It is shown no more on the map and in lists. Its past stays, and reports about past times go on knowing it. It can be taken back.', 'Retire');
    if (!sure) return;
    await api.patch(`/assets/${asset.id}`, { retired: true });
  }
  toast(`${asset.name} ${asset.retired_at ? 'is in use again' : 'is retired'}.`, 'good');
  changed();
}
