// The checks in a real browser against a real server with a simulated fleet. Started by scripts/browser, which says in the
// environment where everything is.
//
//   node main.mjs [WORD]...    all checks, or those with one of these words in their promise

import { launch, must } from './harness.mjs';
import { access } from './access.mjs';
import { asset } from './asset.mjs';
import { devices } from './devices.mjs';
import { looks } from './looks.mjs';
import { map } from './map.mjs';
import { reports } from './reports.mjs';

const words = process.argv.slice(2);
const checks = [...access, ...map, ...asset, ...devices, ...reports, ...looks]
  .filter((check) => !words.length || check.always || words.some((word) => check.promise.includes(word)));
must(checks.some((check) => !check.always), `no check has one of these words: ${words.join(' ')}`);

const browser = await launch();
// What checks leave to those after them: the states of logins, by name.
const shared = {};
let n_failed = 0;
for (const { promise, run } of checks) {
  const begun = Date.now();
  let failure = null;
  try {
    await run(browser, shared);
  } catch (error) {
    failure = error;
  }
  const took = `${((Date.now() - begun) / 1000).toFixed(1)} s`;
  console.log(`${failure ? 'FAILED' : 'ok    '} ${promise} (${took})`);
  if (failure) {
    n_failed += 1;
    console.log(`    ${(failure.stack ?? String(failure)).replaceAll('\n', '\n    ')}`);
  }
}
await browser.close();
console.log(n_failed ? `${n_failed} of ${checks.length} checks FAILED` : `All ${checks.length} checks passed.`);
process.exitCode = n_failed ? 1 : 0;
