// Plays the track: play, pause, speed, and a slider over the whole span. What stands still and what is not known can be skipped.

import { el, fill, setText } from '../dom.js';
import { icon } from '../icons.js';
import * as time from '../time.js';
import { indexAt } from './track.js';

const SPEEDS = [10, 60, 300, 1200, 3600, 14400];
// Unless chosen otherwise the span is over after about this long.
const LASTS_S = 60;
// The slider has so many steps.
const STEPS = 2000;
// A longer standing still is skipped.
const STOP_S = 120;

// moved(seconds, isPlaying) is called for each picture.
export function replayBar(group, moved) {
  let range = { from: 0, to: 1 };
  let track = null;
  let moment = 0;
  let playing = 0;
  let last = 0;
  const button = el('button.primary.icon-only', { type: 'button', 'aria-label': 'Play', title: 'Play (space)', on: { click: toggle } }, icon('play'));
  const slider = el('input.replay-slider', { type: 'range', min: 0, max: STEPS, step: 1, 'aria-label': 'Moment', on: { input: () => { stop(); go(range.from + (slider.value / STEPS) * (range.to - range.from)); } } });
  const label = el('output.replay-time.nowrap');
  const speed = el('select', { 'aria-label': 'Speed of the replay' }, SPEEDS.map((factor) => el('option', { value: factor }, `${factor} ×`)));
  const skip = el('input', { type: 'checkbox', checked: true });
  const node = el('div.replay', {}, button, slider, label, speed, el('label.check.nowrap', {}, skip, 'Skip stops'));

  function toggle() {
    if (playing) stop();
    else play();
  }

  function play() {
    if (!track?.time.length) return;
    if (moment >= track.time[track.time.length - 1]) moment = track.time[0];
    fill(button, icon('pause'));
    button.setAttribute('aria-label', 'Pause');
    last = performance.now();
    playing = requestAnimationFrame(frame);
  }

  function stop() {
    if (!playing) return;
    cancelAnimationFrame(playing);
    playing = 0;
    fill(button, icon('play'));
    button.setAttribute('aria-label', 'Play');
  }

  function frame(now) {
    // After a pause of the browser it goes on where it was.
    const passed = Math.min(now - last, 200);
    last = now;
    let next = moment + (passed / 1000) * Number(speed.value);
    if (skip.checked) next = skipped(next);
    const end = Math.min(range.to, track.time[track.time.length - 1]);
    playing = requestAnimationFrame(frame);
    if (next >= end) {
      next = end;
      stop();
    }
    go(next, playing !== 0);
  }

  // Where something happens again: behind a gap, or at the last fix before it drives on.
  function skipped(at) {
    const i = indexAt(track.time, at);
    if (i < 0) return track.time[0];
    if (i + 1 >= track.time.length) return at;
    if (track.first[i + 1]) return track.time[i + 1];
    if (track.speed[i]) return at;
    let next = i;
    while (next + 1 < track.time.length && !track.speed[next + 1]) next += 1;
    return track.time[next] - at > STOP_S ? track.time[next] : at;
  }

  function go(next, isPlaying = false) {
    set(next);
    moved(next, isPlaying);
  }

  function set(next) {
    moment = next;
    slider.value = String(Math.round(((next - range.from) / (range.to - range.from)) * STEPS));
    const text = range.to - range.from > 86_400 ? time.full(next * 1000, group) : time.clockSeconds(next * 1000, group);
    slider.setAttribute('aria-valuetext', text);
    setText(label, text);
  }

  return {
    node,
    toggle,
    stop,
    isPlaying: () => playing !== 0,
    moment: () => moment,
    step: (sign) => go(Math.max(range.from, Math.min(range.to, moment + (sign * (range.to - range.from)) / 200))),
    set,
    show(nextTrack, nextRange, { keep }) {
      const atEnd = !track?.time.length || moment >= track.time[track.time.length - 1];
      track = nextTrack;
      const isSame = range.from === nextRange.from;
      range = nextRange;
      const inside = moment >= range.from && moment <= range.to;
      const end = track.time[track.time.length - 1] ?? range.to;
      // Whoever looked at the newest goes on looking at the newest.
      const stays = inside && !(keep && atEnd);
      if (!(keep && isSame) && !inside) stop();
      if (!keep) {
        const wanted = (range.to - range.from) / LASTS_S;
        speed.value = String(SPEEDS.reduce((best, one) => (Math.abs(Math.log(one / wanted)) < Math.abs(Math.log(best / wanted)) ? one : best)));
      }
      button.disabled = !track.time.length;
      set(stays ? moment : end);
    },
  };
}
