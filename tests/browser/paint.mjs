// How long the map takes from navigation to drawn markers: milliseconds, one line for each time. Started by scripts/bench-web.
//
//   node paint.mjs TIMES

import { base, launch, must } from './harness.mjs';

const times = Number(process.argv[2] ?? 5);
const browser = await launch();
for (let i = 0; i < times; i += 1) {
  // Each time a browser that was never here.
  const context = await browser.newContext({ baseURL: base, viewport: { width: 1280, height: 800 } });
  const page = await context.newPage();
  await page.addInitScript(() => {
    // The markers are there when the map's canvas has been drawn on after the fleet's positions have come.
    let loaded = false;
    const fetched = window.fetch;
    window.fetch = async (...what) => {
      const answer = await fetched(...what);
      if (String(what[0]?.url ?? what[0]).includes('/positions')) loaded = true;
      return answer;
    };
    const arc = CanvasRenderingContext2D.prototype.drawImage;
    const fill = CanvasRenderingContext2D.prototype.fill;
    const painted = () => { if (loaded && document.querySelector('.list-summary')?.textContent.match(/\d/)) window.paintedAt ??= performance.now(); };
    CanvasRenderingContext2D.prototype.drawImage = function drawImage(...args) { painted(); return arc.apply(this, args); };
    CanvasRenderingContext2D.prototype.fill = function filled(...args) { painted(); return fill.apply(this, args); };
  });
  await page.goto('/', { waitUntil: 'commit' });
  await page.waitForFunction(() => window.paintedAt !== undefined, null, { timeout: 60_000 });
  const at = await page.evaluate(() => window.paintedAt);
  must(at > 0, 'the map was painted');
  console.log(at.toFixed(0));
  await context.close();
}
await browser.close();
