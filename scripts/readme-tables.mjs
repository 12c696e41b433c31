/** `node scripts/readme-tables.mjs`: writes the generated tables into README.md and docs/, and the plots of the measured speeds. */
import { readFileSync, writeFileSync } from 'node:fs';
import { buildTypeScript, say } from './prepare.mjs';

buildTypeScript();
const { withFlagTables } = await import('../dist/src/cli/flag-table.js');
const { withFieldTable } = await import('../dist/src/api/field-table.js');
const { withRouteTable } = await import('../dist/src/api/route-table.js');
const { withRefusedTable } = await import('../dist/src/cli/refused-table.js');
const { withMetricTable } = await import('../dist/src/api/metric-page.js');
const { readMachines, withMeasuredSpeeds } = await import('../dist/bench/peers/report.js');
const { plotOf } = await import('../dist/bench/peers/plot.js');
const machines = readMachines('bench/results');
const pages = {
  'README.md': (text) => withMeasuredSpeeds(withFlagTables(text), machines),
  'docs/api.md': (text) => withFieldTable(withRouteTable(text)),
  'docs/from-vllm.md': withRefusedTable,
  'docs/metrics.md': withMetricTable,
};
for (const [path, written] of Object.entries(pages)) writeFileSync(path, written(readFileSync(path, 'utf8')));
for (const { results, plot } of machines) writeFileSync(plot, plotOf(results.rows));
say(`${Object.keys(pages).join(', ')} and ${machines.map(({ plot }) => plot).join(', ')} written`);
