// The page of an asset: track, charts, replay.

import { eventually, must, reader } from './harness.mjs';

// One that has a whole day behind it.
async function seasoned(user) {
  const { positions } = await user.api('/positions');
  const one = positions.find((position) => position.name.startsWith('Cold box') && position.state !== 'never' && position.state !== 'offline');
  must(one, 'the fleet has a cold box');
  return one;
}

const moment = (page) => page.locator('.replay-time').innerText();

export const asset = [
  {
    promise: 'an asset opens from the map with its track and charts',
    async run(browser, shared) {
      const user = await reader(browser, { state: shared.admin });
      const one = await seasoned(user);
      await user.page.goto(`/?asset=${one.asset}`);
      await user.page.getByRole('link', { name: 'Track and charts' }).click();
      await user.page.waitForURL(`**/asset/${one.asset}*`);
      await user.page.getByRole('heading', { name: one.name }).first().waitFor();
      await user.page.getByText(/\d records? ·/).waitFor();
      await user.page.locator('.chart canvas').first().waitFor();
      must(await user.page.locator('.chart canvas').count() >= 3, 'there are fewer than three charts');
      await user.page.locator('.chart').filter({ hasText: 'Temperature' }).first().waitFor();
      await user.close();
    },
  },
  {
    promise: 'a chart is zoomed by dragging, and the shorter time is loaded',
    async run(browser, shared) {
      const user = await reader(browser, { state: shared.admin });
      const one = await seasoned(user);
      await user.page.goto(`/asset/${one.asset}`);
      const over = user.page.locator('.chart .u-over').first();
      await over.waitFor();
      await user.page.getByText(/\d records? ·/).waitFor();
      const asked = [];
      user.page.on('request', (request) => {
        const url = new URL(request.url());
        if (url.pathname.endsWith('/series')) asked.push(Date.parse(url.searchParams.get('to')) - Date.parse(url.searchParams.get('from')));
      });
      await over.scrollIntoViewIfNeeded();
      const box = await over.boundingBox();
      await user.page.mouse.move(box.x + box.width * 0.3, box.y + box.height / 2);
      await user.page.mouse.down();
      await user.page.mouse.move(box.x + box.width * 0.45, box.y + box.height / 2, { steps: 8 });
      await user.page.mouse.up();
      await user.page.getByRole('button', { name: 'Whole span' }).waitFor();
      const ms = await eventually('the shorter time is asked for', () => asked.at(-1));
      must(ms < 12 * 3_600_000, `${ms / 3_600_000} h were asked for`);
      await user.page.getByRole('button', { name: 'Whole span' }).click();
      await user.page.getByRole('button', { name: 'Whole span' }).waitFor({ state: 'hidden' });
      await user.close();
    },
  },
  {
    promise: 'the track can be replayed',
    async run(browser, shared) {
      const user = await reader(browser, { state: shared.admin });
      const one = await seasoned(user);
      await user.page.goto(`/asset/${one.asset}`);
      await user.page.getByText(/\d records? ·/).waitFor();
      const play = user.page.getByRole('button', { name: 'Play', exact: true });
      await eventually('there is something to play', () => play.isEnabled());
      const before = await moment(user.page);
      await play.click();
      await eventually('the time goes on', async () => (await moment(user.page)) !== before);
      await user.page.getByRole('button', { name: 'Pause' }).click();
      const stopped = await moment(user.page);
      must((await moment(user.page)) === stopped, 'it goes on after Pause');
      await user.close();
    },
  },
];
