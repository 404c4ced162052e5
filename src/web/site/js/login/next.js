// Where a login leads to.

// `wanted` as a path on this server, or the map: an address elsewhere never comes out of it.
export function nextPath(wanted, origin = location.origin) {
  if (!wanted || !/^\/(?![/\\])/.test(wanted)) return '/';
  try {
    const url = new URL(wanted, origin);
    if (url.origin !== origin || url.pathname === '/login') return '/';
    return url.pathname + url.search + url.hash;
  } catch {
    return '/';
  }
}
