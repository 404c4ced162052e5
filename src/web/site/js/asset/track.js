// The way that an asset took, as columns, and where it was at a moment.

// answer: GET /assets/{id}/track. Returns { time, longitude, latitude, speed, angle, first } with `first[i]` true where a segment
// begins: between that fix and the one before nothing is known.
export function makeTrack(answer) {
  const track = { time: [], longitude: [], latitude: [], speed: [], angle: [], first: [], gaps: answer.gaps.map(seconds), thinned: answer.thinned, n: answer.n_records };
  for (const segment of answer.segments) {
    segment.time.forEach((at, i) => {
      track.time.push(at);
      track.longitude.push(segment.longitude[i]);
      track.latitude.push(segment.latitude[i]);
      track.speed.push(segment.speed_kmh[i] ?? null);
      track.angle.push(segment.angle_deg[i] ?? null);
      track.first.push(i === 0);
    });
  }
  return track;
}

export const seconds = ({ from, to, ...rest }) => ({ from: Date.parse(from) / 1000, to: Date.parse(to) / 1000, ...rest });

// Index of the last fix at or before the moment (seconds), -1 for none.
export function indexAt(times, moment) {
  let [low, high] = [0, times.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (times[middle] <= moment) low = middle + 1;
    else high = middle;
  }
  return low - 1;
}

// Where it was: between two fixes of a segment on the line from one to the other; in a gap nowhere (null). At the end, the last fix.
export function placeAt(track, moment) {
  const i = indexAt(track.time, moment);
  if (i < 0) return null;
  const fix = (at, share = 0) => {
    const between = (column) => column[at] + (share ? share * (column[at + 1] - column[at]) : 0);
    return { longitude: between(track.longitude), latitude: between(track.latitude), angle: track.angle[at], speed: track.speed[at], index: at };
  };
  if (moment === track.time[i]) return fix(i);
  if (i + 1 >= track.time.length || track.first[i + 1]) return null;
  return fix(i, (moment - track.time[i]) / (track.time[i + 1] - track.time[i]));
}

// Metres along the track, without the gaps.
export function lengthMetres(track) {
  let metres = 0;
  for (let i = 1; i < track.time.length; i += 1) {
    if (track.first[i]) continue;
    const middle = ((track.latitude[i] + track.latitude[i - 1]) * Math.PI) / 360;
    metres += Math.hypot(track.latitude[i] - track.latitude[i - 1], (track.longitude[i] - track.longitude[i - 1]) * Math.cos(middle)) * 111_195;
  }
  return metres;
}
