// Every page as it looks in light, in dark and on a phone; none complains, and axe finds no serious fault.

import { DESKTOP, PHONE, eventually, faultsOf, must, reader, shot } from './harness.mjs';

async function pages(user) {
  const { positions } = await user.api('/positions');
  const one = positions.find((position) => position.name.startsWith('Cold box') && position.state !== 'never' && position.state !== 'offline');
  return [
    ['map', '/', '.asset-row'],
    ['map-asset', `/?asset=${one.asset}`, '.details dl.facts dd'],
    ['asset', `/asset/${one.asset}`, '.chart canvas'],
    ['assets', '/assets', 'main table tbody tr'],
    ['devices', '/devices', 'main table tbody tr'],
    ['device', `/device/${one.imei}`, 'main'],
    ['reports', '/reports', 'main form'],
    ['report-daily', '/reports?report=daily&preset=today', '.report-result table tbody tr'],
    ['report-temperature', '/reports?report=temperature&preset=today', '.report-result h2'],
    ['server', '/server', 'main'],
    ['settings', '/settings', 'main'],
  ];
}

// Nothing is being loaded any more.
async function settled(page) {
  await page.waitForLoadState('load');
  await eventually('the page is there', () => page.evaluate(() => !document.querySelector('.skeleton, .spinner')));
  await page.waitForTimeout(100);
}

const LOOKS = [
  ['light', { theme: 'light', viewport: DESKTOP }],
  ['dark', { theme: 'dark', viewport: DESKTOP }],
  ['phone', { theme: 'light', viewport: PHONE }],
];

export const looks = LOOKS.map(([look, options]) => ({
  promise: `every page in ${look} is whole, complains of nothing and can be used by everybody`,
  async run(browser, shared) {
    const wrong = [];
    const guest = await reader(browser, options);
    guest.expected.add('/api/v1/me');
    await guest.page.goto('/login');
    await guest.page.locator('#login').waitFor();
    await settled(guest.page);
    await shot(guest.page, `login-${look}`);
    wrong.push(...(await faultsOf(guest.page)).map((fault) => `/login: ${fault}`));
    await guest.close();
    const user = await reader(browser, { ...options, state: shared.admin });
    for (const [name, path, sign] of await pages(user)) {
      try {
        await user.page.goto(path);
        await user.page.locator(sign).first().waitFor({ state: 'attached' });
        await settled(user.page);
      } catch (error) {
        wrong.push(`${path}: ${String(error.message ?? error).split('\n')[0]}`);
      }
      await shot(user.page, `${name}-${look}`);
      const wide = await user.page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
      if (wide > 1) wrong.push(`${path}: ${wide} px wider than the window`);
      wrong.push(...(await faultsOf(user.page)).map((fault) => `${path}: ${fault}`));
    }
    await user.close().catch((error) => wrong.push(error.message));
    must(!wrong.length, wrong.join('\n    '));
  },
}));
