// What the checks share: pages whose mistakes are collected, a login, the API, axe.

import { createRequire } from 'node:module';
import { mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

export const setting = (name) => {
  const value = process.env[name];
  if (!value) throw new Error(`${name} is not set; scripts/browser sets it`);
  return value;
};
const require = createRequire(join(setting('BROWSER_MODULES'), 'x.js'));
const { chromium } = require('playwright-core');
const axeSource = readFileSync(require.resolve('axe-core/axe.min.js'), 'utf8');

export const base = setting('BROWSER_BASE');
export const shots = setting('BROWSER_SHOTS');
mkdirSync(shots, { recursive: true });

// Nobody waits longer for anything.
export const WAIT_MS = 20_000;

export class Failure extends Error {}

export function must(holds, text) {
  if (!holds) throw new Failure(text);
}

// Asks until the answer is something, or it takes too long.
export async function eventually(what, ask, ms = WAIT_MS) {
  const end = Date.now() + ms;
  for (;;) {
    const answer = await ask();
    if (answer) return answer;
    if (Date.now() > end) throw new Failure(`${what}: not within ${ms / 1000} s`);
    await new Promise((done) => { setTimeout(done, 100); });
  }
}

export function launch() {
  return chromium.launch({
    executablePath: setting('BROWSER_CHROMIUM'),
    // Root has no sandbox, a container no large /dev/shm.
    args: ['--no-sandbox', '--disable-dev-shm-usage', '--disable-gpu', '--force-color-profile=srgb'],
  });
}

export const DESKTOP = { width: 1280, height: 800 };
export const PHONE = { width: 390, height: 844 };

// A reader with a browser of their own: `user.page`, `user.trouble` (what went wrong on any of its pages), `user.api(path)`.
export async function reader(browser, { state, theme = 'light', viewport = DESKTOP } = {}) {
  const context = await browser.newContext({
    baseURL: base,
    storageState: state,
    colorScheme: theme,
    viewport,
    isMobile: viewport === PHONE,
    hasTouch: viewport === PHONE,
    deviceScaleFactor: 1,
    locale: 'en-GB',
    timezoneId: 'Europe/Vienna',
    reducedMotion: 'reduce',
    acceptDownloads: true,
  });
  context.setDefaultTimeout(WAIT_MS);
  const trouble = [];
  // What a page is expected to be refused, by the end of its address, and the name of the error that a page without its subject ends with.
  const expected = new Set();
  const page = await context.newPage();
  const say = (text) => trouble.push(`${new URL(page.url()).pathname}: ${text}`);
  await page.exposeBinding('tellViolation', (_, text) => say(`content security policy: ${text}`));
  await page.addInitScript(() => {
    document.addEventListener('securitypolicyviolation', (event) => {
      window.tellViolation(`${event.violatedDirective} stopped ${event.blockedURI} in ${event.sourceFile}:${event.lineNumber}`);
    });
  });
  page.on('pageerror', (error) => { if (!expected.has(error.name)) say(`uncaught ${error.stack ?? error}`); });
  page.on('console', (message) => {
    if (message.type() !== 'error' && message.type() !== 'warning') return;
    const { url } = message.location();
    if (url && [...expected].some((end) => url.split('?')[0].endsWith(end))) return;
    say(`console ${message.type()}: ${message.text()} ${url}`);
  });
  page.on('dialog', (dialog) => {
    say(`dialog: ${dialog.message()}`);
    dialog.dismiss();
  });
  page.on('request', (request) => {
    const url = new URL(request.url());
    if (/^https?:$/.test(url.protocol) && url.origin !== new URL(base).origin) say(`asks another host: ${url.origin}`);
  });
  const api = async (path) => {
    const answer = await context.request.get(`${base}/api/v1${path}`);
    must(answer.ok(), `GET ${path}: ${answer.status()} ${await answer.text()}`);
    return answer.json();
  };
  const close = async () => {
    await context.close();
    must(!trouble.length, `the pages complained:\n    ${[...new Set(trouble)].join('\n    ')}`);
  };
  return { context, page, trouble, expected, api, close };
}

// What axe finds serious or critical on the page as it is now.
export async function faultsOf(page) {
  await page.evaluate(axeSource);
  const { violations } = await page.evaluate(() => window.axe.run(document, { resultTypes: ['violations'], runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'best-practice'] }));
  return violations
    .filter((one) => one.impact === 'serious' || one.impact === 'critical')
    .map((one) => `${one.id} (${one.impact}): ${one.help}: ${one.nodes.slice(0, 3).map((node) => `${node.target.join(' ')} ${node.any?.[0]?.message ?? ''}`).join('; ')}${one.nodes.length > 3 ? ` and ${one.nodes.length - 3} more` : ''}`);
}

export const shot = (page, name) => page.screenshot({ path: join(shots, `${name}.png`), animations: 'disabled' });
