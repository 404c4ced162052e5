// The settings: my account, users, groups, and who did what; each only for whom it concerns.
import { fill } from '../dom.js';
import { head } from '../pages/frame.js';
import { start } from '../shell.js';
import { tabs } from '../ui.js';
import { accountPanel } from './account.js';
import { auditPanel } from './audit.js';
import { groupsPanel } from './groups.js';
import { usersPanel } from './users.js';

const { me, main } = await start('settings', 'Settings');
const list = [
  { key: 'account', name: 'My account', show: (panel) => accountPanel(me, panel) },
  { key: 'groups', name: 'Groups and reports', show: (panel) => groupsPanel(me, panel) },
  me.is_admin && { key: 'users', name: 'Users', show: (panel) => usersPanel(me, panel) },
  me.is_admin && { key: 'audit', name: 'Who did what', show: (panel) => auditPanel(panel) },
].filter(Boolean);
const wanted = () => list.find((one) => one.key === location.hash.slice(1))?.key ?? list[0].key;
const bar = tabs(list, wanted(), (key) => history.replaceState(null, '', `#${key}`));
fill(main, head('Settings'), bar);
window.addEventListener('hashchange', () => bar.choose(wanted()));
