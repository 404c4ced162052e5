// What a page shows, kept in its address: so that it can be shared, reloaded and gone back to.

// The values of the address's query, each a text; `defaults` names those there may be.
export function read(defaults) {
  const query = new URLSearchParams(location.search);
  const values = { ...defaults };
  for (const key of Object.keys(defaults)) if (query.has(key)) values[key] = query.get(key);
  return values;
}

// Writes `values` into the address; what equals its default is left out. `push` makes a step that Back undoes.
export function write(values, defaults, push = false) {
  const query = new URLSearchParams();
  for (const [key, value] of Object.entries(values)) {
    if (value !== defaults[key] && value !== null && value !== undefined && value !== '') query.set(key, value);
  }
  const text = query.toString();
  const address = `${location.pathname}${text ? `?${text}` : ''}${location.hash}`;
  if (push) history.pushState(null, '', address);
  else history.replaceState(null, '', address);
}

// Calls `act` once nothing has asked for it during `ms`.
export function settle(act, ms = 250) {
  let timer;
  return (...values) => {
    clearTimeout(timer);
    timer = setTimeout(() => act(...values), ms);
  };
}
