// The map: everything, live.

import { eventually, must, reader } from './harness.mjs';

// An asset that drives now.
export async function driving(user) {
  return eventually('an asset that drives', async () => {
    const { positions } = await user.api('/positions');
    return positions.filter((one) => one.state === 'moving' && one.speed_kmh > 5).sort((a, b) => b.speed_kmh - a.speed_kmh)[0];
  });
}

const fact = (page, name) => page.locator('.details dl.facts').evaluate((list, wanted) => {
  const names = [...list.querySelectorAll('dt')];
  return names.find((one) => one.textContent === wanted)?.nextElementSibling.textContent;
}, name);

export const map = [
  {
    promise: 'the fleet moves on the map without a reload',
    async run(browser, shared) {
      const user = await reader(browser, { state: shared.admin });
      const mover = await driving(user);
      await user.page.goto('/');
      await user.page.locator('.list-summary').filter({ hasText: /\d assets/ }).waitFor();
      // The list has only the rows that can be seen.
      await user.page.getByRole('searchbox').or(user.page.getByRole('textbox')).first().fill(mover.name);
      await user.page.locator('.asset-row:visible', { has: user.page.getByText(mover.name, { exact: true }) }).first().click();
      const before = await eventually('the place of the asset', () => fact(user.page, 'Place'));
      const looks = () => user.page.locator('.map').screenshot();
      const picture = await looks();
      const loads = [];
      user.page.on('framenavigated', (frame) => loads.push(frame.url()));
      await eventually('the place changes', async () => (await fact(user.page, 'Place')) !== before, 40_000);
      must(!(await looks()).equals(picture), 'the map looks as before');
      must(loads.every((url) => new URL(url).pathname === '/'), 'the page was left');
      await user.close();
    },
  },
  {
    promise: 'every asset with a place is on the map and in the list',
    async run(browser, shared) {
      const user = await reader(browser, { state: shared.admin });
      const { positions } = await user.api('/positions');
      await user.page.goto('/');
      const wanted = new RegExp(`^${positions.length} assets`);
      await user.page.locator('.list-summary').filter({ hasText: wanted }).waitFor();
      await user.close();
    },
  },
];
