// Numbers with their units, as people read them. What is unknown is "–".

export const UNKNOWN = '–';
const known = (value) => value !== null && value !== undefined && Number.isFinite(Number(value));
const SPACE = '\u202f';

const decimals = new Map();
// 1234.5 as the reader's language writes it.
export function number(value, digits = 0) {
  if (!known(value)) return UNKNOWN;
  if (!decimals.has(digits)) decimals.set(digits, new Intl.NumberFormat(undefined, { minimumFractionDigits: digits, maximumFractionDigits: digits }));
  return decimals.get(digits).format(value);
}

export const withUnit = (value, unit, digits = 0) => (known(value) ? `${number(value, digits)}${unit ? SPACE + unit : ''}` : UNKNOWN);
export const speed = (kmh) => withUnit(kmh, 'km/h');
export const temperature = (celsius) => withUnit(celsius, '°C', 1);
export const percent = (value) => withUnit(value, '%');
export const volts = (millivolts) => (known(millivolts) ? withUnit(millivolts / 1000, 'V', 2) : UNKNOWN);
// Metres below ten kilometres with the metres, above without.
export const distance = (metres) => (!known(metres) ? UNKNOWN : metres < 1000 ? withUnit(metres, 'm') : withUnit(metres / 1000, 'km', metres < 100_000 ? 1 : 0));
// Seconds as hours and minutes: "3 h 05 min".
export function hours(seconds) {
  if (!known(seconds)) return UNKNOWN;
  const min = Math.round(seconds / 60);
  return min < 60 ? `${min}${SPACE}min` : `${number(Math.floor(min / 60))}${SPACE}h ${String(min % 60).padStart(2, '0')}${SPACE}min`;
}
export const bytes = (n) => (!known(n) ? UNKNOWN : n < 1024 ? withUnit(n, 'B') : n < 1048576 ? withUnit(n / 1024, 'KiB', 1) : n < 1073741824 ? withUnit(n / 1048576, 'MiB', 1) : withUnit(n / 1073741824, 'GiB', 1));

const WINDS = ['N', 'NE', 'E', 'SE', 'S', 'SW', 'W', 'NW'];
// "NE (47°)"
export const heading = (degrees) => (known(degrees) ? `${WINDS[Math.round(degrees / 45) % 8]} (${number(degrees)}°)` : UNKNOWN);
// "48.20849, 16.37208", in the form that every map takes.
export const coordinates = (latitude, longitude) => (known(latitude) && known(longitude) ? `${latitude.toFixed(5)}, ${longitude.toFixed(5)}` : UNKNOWN);
// "3 devices", "1 device"
export const count = (n, one, many = `${one}s`) => `${number(n)} ${n === 1 ? one : many}`;
