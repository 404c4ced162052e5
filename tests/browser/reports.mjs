// Reports as page and as files.

import { readFileSync } from 'node:fs';

import { must, reader } from './harness.mjs';

export const reports = [
  {
    promise: 'a report is shown, and downloaded as CSV and as spreadsheet with the same rows',
    async run(browser, shared) {
      const user = await reader(browser, { state: shared.admin });
      await user.page.goto('/reports?report=daily&preset=today');
      const rows = user.page.locator('.report-result table tbody tr');
      await rows.first().waitFor();
      const save = async (name) => {
        const wait = user.page.waitForEvent('download');
        await user.page.getByRole('link', { name, exact: true }).click();
        return readFileSync(await (await wait).path());
      };
      const csv = (await save('CSV')).toString('utf8');
      const names = (await user.api('/assets?per_page=1000')).items.map((one) => one.name);
      const named = names.filter((name) => csv.includes(name));
      must(named.length > 10, `the CSV names ${named.length} assets:\n${csv.slice(0, 500)}`);
      must(/distance/i.test(csv.split('\n').find((line) => /asset/i.test(line)) ?? ''), `no heading in ${csv.slice(0, 500)}`);
      const xlsx = await save('Excel');
      must(xlsx.subarray(0, 2).toString() === 'PK' && xlsx.length > 2000, 'the spreadsheet is none');
      await user.close();
    },
  },
];
