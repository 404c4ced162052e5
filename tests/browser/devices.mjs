// The devices: who stands at the door is let in, and whatever a device is called stays text.

import { eventually, must, reader, setting } from './harness.mjs';

export const devices = [
  {
    promise: 'a device at the door is accepted by a click and then gets through',
    async run(browser, shared) {
      const imei = setting('BROWSER_PENDING');
      const user = await reader(browser, { state: shared.admin });
      await user.page.goto('/devices');
      await user.page.getByRole('button', { name: `Accept ${imei}` }).click();
      await user.page.getByText(/accepted/i).first().waitFor();
      await eventually('its records arrive', async () => {
        const { positions } = await user.api('/positions');
        return positions.some((one) => one.imei === imei && one.time);
      }, 40_000);
      await user.page.goto(`/device/${imei}`);
      await user.page.getByText(imei).first().waitFor();
      await user.close();
    },
  },
  {
    promise: 'a device with a hostile name injects nothing on any page',
    async run(browser, shared) {
      const name = setting('BROWSER_HOSTILE_NAME');
      const user = await reader(browser, { state: shared.admin });
      await user.page.addInitScript(() => { window.injected = () => window.tellViolation('a name was run as script'); });
      const asset = (await user.api('/assets?per_page=1000')).items.find((one) => one.name === name);
      must(asset, 'the scene has an asset with a hostile name');
      for (const path of [`/?asset=${asset.id}`, `/asset/${asset.id}`, '/assets', '/devices', `/device/${asset.imei}`, `/reports?report=daily&asset=${asset.id}&preset=today`]) {
        await user.page.goto(path);
        await eventually(`${path} shows the name as text`, () => user.page.evaluate((text) => document.body.innerText.includes(text) || [...document.querySelectorAll('option, input, a')].some((node) => (node.value ?? node.textContent ?? '').includes(text)), name));
        must(await user.page.evaluate(() => document.querySelectorAll('[onerror], img[src="x"], main script').length) === 0, `${path}: the name became elements`);
      }
      await user.close();
    },
  },
];
