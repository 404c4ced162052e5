// On a phone the list is a sheet at the lower edge of the map: a peek, half, or all of the height, by dragging its handle or
// pressing it.

import { el } from '../dom.js';

const STEPS = ['peek', 'half', 'full'];

export function makeSheet(panel) {
  const handle = el('button.sheet-handle', { type: 'button', 'aria-label': 'Show more or less of the list' }, el('span'));
  panel.prepend(handle);
  let step = 'peek';
  const set = (next) => {
    step = next;
    panel.dataset.step = next;
    panel.style.transform = '';
    handle.setAttribute('aria-expanded', String(next !== 'peek'));
  };
  set(step);
  let start = null;
  handle.addEventListener('pointerdown', (event) => {
    start = { y: event.clientY, moved: 0 };
    handle.setPointerCapture(event.pointerId);
    panel.classList.add('dragged');
  });
  handle.addEventListener('pointermove', (event) => {
    if (!start) return;
    start.moved = event.clientY - start.y;
    const height = panel.offsetHeight;
    panel.style.transform = `translateY(${Math.max(0, Math.min(height - 60, offset(panel) + start.moved))}px)`;
  });
  handle.addEventListener('pointerup', () => {
    const moved = start?.moved ?? 0;
    start = null;
    panel.classList.remove('dragged');
    const at = STEPS.indexOf(step);
    if (Math.abs(moved) < 8) set(step === 'peek' ? 'half' : 'peek');
    else if (Math.abs(moved) > panel.offsetHeight * 0.45) set(moved < 0 ? 'full' : 'peek');
    else set(STEPS[Math.max(0, Math.min(2, at + (moved < 0 ? 1 : -1)))]);
  });
  // By keyboard there is no pointer.
  handle.addEventListener('keydown', (event) => {
    if (event.key !== 'Enter' && event.key !== ' ') return;
    event.preventDefault();
    set(step === 'peek' ? 'half' : step === 'half' ? 'full' : 'peek');
  });
  return { set, step: () => step };
}

// How far down the step puts the panel, as the style sheet says.
function offset(panel) {
  const kept = panel.style.transform;
  panel.style.transform = '';
  const matrix = new DOMMatrixReadOnly(getComputedStyle(panel).transform);
  panel.style.transform = kept;
  return matrix.m42;
}
