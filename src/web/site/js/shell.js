// What stands around every page: top bar with navigation, who is logged in, theme, whose time zone, and the way out.
//
//   import { start } from '../shell.js';
//   const { me, main } = await start('devices', 'Devices');
//
// makes the bar, asks GET /me (without a login the browser is sent to /login) and returns it with the page's <main>.

import { get, post } from './api.js';
import { el, fill } from './dom.js';
import { icon } from './icons.js';
import * as time from './time.js';
import { during, failed } from './ui.js';

const PAGES = [
  { key: 'map', name: 'Map', href: '/', icon: 'map' },
  { key: 'assets', name: 'Assets', href: '/assets', icon: 'asset' },
  { key: 'devices', name: 'Devices', href: '/devices', icon: 'device' },
  { key: 'reports', name: 'Reports', href: '/reports', icon: 'report' },
  { key: 'server', name: 'Server', href: '/server', icon: 'server', admin: true },
  { key: 'settings', name: 'Settings', href: '/settings', icon: 'settings' },
];

export async function start(page, title) {
  document.title = title ? `${title} – trackport` : 'trackport';
  const main = document.querySelector('main') ?? document.body.appendChild(el('main'));
  main.id ||= 'main';
  main.tabIndex = -1;
  const nav = el('nav', { 'aria-label': 'Pages' });
  const user = el('div.row');
  const bar = el('header.topbar', {}, el('a.brand', { href: '/', 'aria-label': 'trackport, to the map' }, icon('logo'), el('span', {}, 'trackport')), nav, el('span.spring'), user);
  document.body.prepend(el('a.skip', { href: `#${main.id}` }, 'To the content'), bar);
  const links = (me) => fill(nav, PAGES.filter((one) => !one.admin || me?.is_admin).map((one) => el('a', { href: one.href, 'aria-current': one.key === page ? 'page' : null }, icon(one.icon), el('span', {}, one.name))));
  // The bar is there at once; what only administrators have comes with the answer.
  links(remembered());
  let me;
  try {
    me = await get('/me');
  } catch (error) {
    fill(main, failed(error, () => location.reload()));
    // Without knowing who asks nothing of the page can be shown.
    await new Promise(() => {});
  }
  remember(me);
  links(me);
  time.setGroups(me.groups);
  fill(user, userMenu(me));
  return { me, main };
}

// Whether this browser's reader was an administrator last time, so that the navigation does not jump.
function remembered() {
  try {
    return { is_admin: localStorage.getItem('admin') === 'yes' };
  } catch {
    return null;
  }
}
function remember(me) {
  try {
    localStorage.setItem('admin', me.is_admin ? 'yes' : 'no');
  } catch {
    // Then it jumps.
  }
}

function userMenu(me) {
  const name = me.name ?? (me.access === 'open' ? 'Open access' : 'Token');
  const sheet = el('div.sheet', {},
    el('div.group', {}, el('b', {}, name), el('span', {}, me.is_admin ? 'Administrator of the server' : me.groups.map((group) => `${group.name}: ${group.role}`).join(', ') || 'No group yet')),
    el('div.group', {}, el('span', {}, 'Theme'), choice('Theme', [['system', 'System', 'screen'], ['light', 'Light', 'sun'], ['dark', 'Dark', 'moon']], theme(), setTheme)),
    el('div.group', {}, el('span', {}, 'Times in the zone of'), choice('Time zone', [['reader', 'This browser'], ['group', 'The group']], time.zoneChoice(), time.chooseZone)),
    me.access === 'login' && el('button', { type: 'button', on: { click: (event) => during(event.currentTarget, logOut) } }, icon('logout'), 'Log out'),
    el('div.group.small.quiet', {}, `trackport ${me.version}`));
  const menu = el('details.menu', {}, el('summary.button.plain', { 'aria-label': `Menu of ${name}` }, icon('user'), el('span.user-name', {}, name)), sheet);
  closeOutside(menu);
  return menu;
}

async function logOut() {
  await post('/logout');
  location.assign('/login');
}

// Buttons of which one is pressed.
function choice(label, options, chosen, choose) {
  const buttons = options.map(([key, name, drawing]) => el('button', { type: 'button', 'aria-pressed': String(key === chosen), on: { click: () => {
    buttons.forEach((button, i) => button.setAttribute('aria-pressed', String(options[i][0] === key)));
    choose(key);
  } } }, drawing && icon(drawing), name));
  return el('div.buttons', { role: 'group', 'aria-label': label }, buttons);
}

// A menu made of <details> closes by Esc and by a click elsewhere.
export function closeOutside(menu) {
  document.addEventListener('click', (event) => { if (menu.open && !menu.contains(event.target)) menu.open = false; });
  menu.addEventListener('keydown', (event) => {
    if (event.key !== 'Escape' || !menu.open) return;
    event.stopPropagation();
    menu.open = false;
    menu.querySelector('summary').focus();
  });
}

function theme() {
  return document.documentElement.dataset.theme ?? 'system';
}

// Pages that draw on canvases listen to the event "theme" on window; a change of the system's theme sends it too.
function setTheme(next) {
  if (next === 'system') delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = next;
  try {
    if (next === 'system') localStorage.removeItem('theme');
    else localStorage.setItem('theme', next);
  } catch {
    // Then it holds for this page only.
  }
  window.dispatchEvent(new Event('theme'));
}
matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => window.dispatchEvent(new Event('theme')));
