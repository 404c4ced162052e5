// Asks the server. Every error is a Refused: what is wrong in words that can be shown, the API's code, the HTTP status.

// Milliseconds before a question that met a busy or absent server is asked again; after the last it is an error.
const RETRY_MS = [400, 1200, 3000];

export class Refused extends Error {
  constructor(status, code, text) {
    super(text);
    this.name = 'Refused';
    this.status = status;
    this.code = code;
  }
}

// get('/assets', { search: 'truck', page: 2 }) asks /api/v1/assets?search=truck&page=2; null, undefined and '' are left out.
export function get(path, params = {}, { signal } = {}) {
  return ask('GET', address(path, params), undefined, signal);
}
export const post = (path, body, options = {}) => ask('POST', address(path), body ?? {}, options.signal, options.type);
export const patch = (path, body) => ask('PATCH', address(path), body);
export const put = (path, body) => ask('PUT', address(path), body ?? {});
export const remove = (path) => ask('DELETE', address(path));

// All pages of a list, one after another; for lists that are known to be short (groups, users).
export async function all(path, params = {}) {
  const items = [];
  for (let page = 1; ; page += 1) {
    const answer = await get(path, { ...params, page, per_page: 1000 });
    if (Array.isArray(answer)) return answer;
    items.push(...answer.items);
    if (items.length >= answer.total || !answer.items.length) return items;
  }
}

// The address of something that the browser itself loads, such as a file to save.
export function address(path, params = {}) {
  const query = new URLSearchParams();
  for (const [key, value] of Object.entries(params)) {
    if (value === null || value === undefined || value === '') continue;
    query.set(key, value instanceof Date ? value.toISOString() : String(value));
  }
  const text = query.toString();
  return `/api/v1${path}${text ? `?${text}` : ''}`;
}

async function ask(method, url, body, signal, type = 'application/json') {
  for (let attempt = 0; ; attempt += 1) {
    const answer = await once(method, url, body, signal, type);
    if (!(answer instanceof Refused)) return answer;
    // Only what changes nothing may be asked again.
    const again = method === 'GET' && (answer.status === 503 || answer.status === 0) && attempt < RETRY_MS.length;
    if (!again) throw answer;
    await pause(Math.max(answer.retryMs ?? 0, RETRY_MS[attempt]), signal);
  }
}

async function once(method, url, body, signal, type) {
  // A content type that forms cannot send is half of the defence against forged requests; the cookie's SameSite the other.
  const options = { method, signal, credentials: 'same-origin', headers: { Accept: 'application/json' } };
  if (body !== undefined) {
    options.headers['Content-Type'] = type;
    options.body = type === 'application/json' ? JSON.stringify(body) : body;
  }
  let response;
  try {
    response = await fetch(url, options);
  } catch (error) {
    if (error.name === 'AbortError') throw error;
    return new Refused(0, 'unreachable', 'The server does not answer. Is the network there, and the server running?');
  }
  if (response.status === 401 && !location.pathname.startsWith('/login')) {
    location.assign(`/login?next=${encodeURIComponent(location.pathname + location.search + location.hash)}`);
    // The page is left; nobody waits for this.
    return new Promise(() => {});
  }
  if (response.ok) {
    if (response.status === 204) return null;
    try {
      return (response.headers.get('Content-Type') ?? '').includes('json') ? await response.json() : await response.text();
    } catch (error) {
      if (error.name === 'AbortError') throw error;
      return new Refused(0, 'cut_off', 'The answer broke off before its end.');
    }
  }
  const refused = await refusal(response);
  refused.retryMs = 1000 * Math.min(10, Number(response.headers.get('Retry-After')) || 0);
  return refused;
}

async function refusal(response) {
  try {
    const { error } = await response.json();
    const refused = new Refused(response.status, error.code, error.text);
    // All that was said, such as the mistakes of a sheet with their lines.
    refused.details = error;
    return refused;
  } catch {
    return new Refused(response.status, 'unknown', `The server answered ${response.status} ${response.statusText}.`.trim());
  }
}

function pause(ms, signal) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, ms);
    signal?.addEventListener('abort', () => {
      clearTimeout(timer);
      reject(new DOMException('no longer wanted', 'AbortError'));
    }, { once: true });
  });
}
