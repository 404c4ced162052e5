// Who gets in, and what those see who may not see everything.

import { base, eventually, must, reader, setting } from './harness.mjs';

export async function logIn(page, name, password) {
  await page.getByLabel('Name', { exact: true }).fill(name);
  await page.locator('#password').fill(password);
  await page.locator('#login button[type=submit]').click();
}

async function stateOf(browser, name, password) {
  const user = await reader(browser);
  // That is how the page learns that nobody is logged in.
  user.expected.add('/api/v1/me');
  await user.page.goto('/assets');
  await user.page.waitForURL('**/login*');
  await logIn(user.page, name, password);
  await user.page.waitForURL(`${base}/assets`);
  const state = await user.context.storageState();
  await user.close();
  return state;
}

export const access = [
  {
    promise: 'who is not logged in is asked to, and then gets the page that was wanted',
    always: true,
    async run(browser, shared) {
      shared.admin = await stateOf(browser, 'admin', setting('BROWSER_ADMIN_PASSWORD'));
      const cookie = shared.admin.cookies[0];
      must(cookie?.httpOnly && cookie.sameSite !== 'None', `the session's cookie is ${JSON.stringify(cookie)}`);
    },
  },
  {
    promise: 'a wrong password is refused in words and lets nobody in',
    async run(browser) {
      const user = await reader(browser);
      user.expected.add('/api/v1/me').add('/api/v1/login');
      await user.page.goto('/login');
      await logIn(user.page, 'admin', 'not this one');
      await user.page.getByText('Name or password is wrong.').waitFor();
      const answer = await user.context.request.get(`${base}/api/v1/positions`);
      must(answer.status() === 401, `positions without a login: ${answer.status()}`);
      await user.close();
    },
  },
  {
    promise: 'a viewer sees the assets of the own group and nothing of others',
    async run(browser, shared) {
      const admin = await reader(browser, { state: shared.admin });
      const all = (await admin.api('/assets?per_page=1000')).items;
      await admin.close();
      const group = (await (async () => {
        shared.viewer = await stateOf(browser, 'viewer', setting('BROWSER_VIEWER_PASSWORD'));
        const viewer = await reader(browser, { state: shared.viewer });
        const me = await viewer.api('/me');
        await viewer.close();
        return me.groups;
      })());
      must(group.length === 1 && group[0].role === 'viewer', JSON.stringify(group));
      const own = all.filter((one) => one.group === group[0].id);
      const foreign = all.find((one) => one.group !== group[0].id);
      must(own.length > 0 && foreign, 'the scene has assets in and outside the group');
      const span = `from=${new Date(Date.now() - 3_600_000).toISOString()}&to=${new Date().toISOString()}`;
      const viewer = await reader(browser, { state: shared.viewer });
      const { positions } = await viewer.api('/positions');
      must(positions.length > 0 && positions.every((one) => one.group === group[0].id), 'positions of others');
      await viewer.page.goto('/assets');
      await viewer.page.getByText(own[0].name, { exact: true }).first().waitFor();
      must(await viewer.page.getByText(foreign.name, { exact: true }).count() === 0, `${foreign.name} is listed`);
      for (const path of [`/assets/${foreign.id}`, `/assets/${foreign.id}/track?${span}`, `/assets/${foreign.id}/export?format=csv&${span}`, '/status', '/users']) {
        const answer = await viewer.context.request.get(`${base}/api/v1${path}`);
        must([403, 404].includes(answer.status()), `${path} answers a viewer with ${answer.status()}`);
      }
      viewer.expected.add(`/api/v1/assets/${foreign.id}`).add('Refused');
      await viewer.page.goto(`/asset/${foreign.id}`);
      await eventually('the page of a foreign asset says that there is none', async () => !(await viewer.page.locator('.charts canvas').count()) && (await viewer.page.locator('main').innerText()).length > 10);
      await viewer.page.goto('/');
      await viewer.page.getByText(own[0].name, { exact: true }).first().waitFor();
      must(await viewer.page.getByText(foreign.name, { exact: true }).count() === 0, `${foreign.name} is on the map`);
      await viewer.close();
    },
  },
];
