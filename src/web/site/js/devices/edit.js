// Changing a device: its name in place, everything else in a dialog.
import * as api from '../api.js';
import { el } from '../dom.js';
import { icon } from '../icons.js';
import { buttons, changed as changedFields, field, textIn } from '../pages/form.js';
import { dialog, during, toast } from '../ui.js';
import { MODELS } from './models.js';

const STATES = [['accepted', 'accepted: may log in, what it sends is stored'], ['pending', 'pending: waits to be accepted'], ['refused', 'refused: is turned away at login'], ['removed', 'removed: is turned away, and left out of lists']];

// The device's name with a pencil that turns it into a field: Enter saves, Escape leaves it as it was.
export function nameCell(device, mayEdit, changed) {
  const link = el('a', { href: `/device/${device.imei}` }, device.name ?? device.imei);
  const place = el('div.name-cell');
  const show = () => place.replaceChildren(link, ...(mayEdit ? [el('button.plain.icon-only.slim.pencil', { type: 'button', 'aria-label': `Rename ${device.name ?? device.imei}`, on: { click: edit } }, icon('edit'))] : []));
  const edit = () => {
    const input = el('input', { type: 'text', value: device.name ?? '', maxlength: 200, 'aria-label': `Name of ${device.imei}`, placeholder: device.imei });
    const save = el('button.primary.icon-only.slim', { type: 'submit', 'aria-label': 'Save the name' }, icon('check'));
    const form = el('form.row', { on: { submit: (event) => {
      event.preventDefault();
      const name = input.value.trim();
      if (name === (device.name ?? '')) return show();
      return during(save, async () => {
        await api.patch(`/devices/${device.imei}`, { name: name || null });
        changed();
      });
    }, keydown: (event) => {
      if (event.key !== 'Escape') return;
      show();
      place.querySelector('button')?.focus();
    } } }, input, save);
    place.replaceChildren(form);
    input.select();
  };
  show();
  return el('div', {}, place, device.name ? el('div.imei.quiet.small', {}, device.imei) : null);
}

// Asks for all that people may change of a device.
export function editDevice(device, changed) {
  dialog(`Device ${device.imei}`, [
    field({ name: 'name', label: 'Name', value: device.name, maxlength: 200, autocomplete: 'off' }),
    field({ name: 'model', label: 'Model', value: device.model, options: MODELS, autocomplete: 'off', hint: device.suggested_model && !device.model ? `What it sends looks like ${device.suggested_model}.` : 'After a change, what is stored is read anew in the background.' }),
    field({ name: 'state', label: 'State', kind: 'select', value: device.state, options: STATES }),
    field({ name: 'phone', label: 'Phone number of its SIM', value: device.phone, kind: 'tel', autocomplete: 'off' }),
    field({ name: 'note', label: 'Note', value: device.note, kind: 'textarea', rows: 3 }),
  ], buttons('Save'), async (data) => {
    const values = Object.fromEntries(['name', 'model', 'state', 'phone', 'note'].map((key) => [key, textIn(data, key)]));
    const change = changedFields(values, device);
    if (!Object.keys(change).length) return;
    await api.patch(`/devices/${device.imei}`, change);
    toast(`${values.name ?? device.imei} saved.`, 'good');
    changed();
  });
}
