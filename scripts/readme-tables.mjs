/** `node scripts/readme-tables.mjs`: writes the generated tables into README.md, and the plots of the measured speeds. */
import { readFileSync, writeFileSync } from 'node:fs';
import { buildTypeScript, say } from './prepare.mjs';

buildTypeScript();
const { withFlagTables } = await import('../dist/src/cli/flag-table.js');
const { withFieldTable } = await import('../dist/src/api/field-table.js');
const { readMachines, withMeasuredSpeeds } = await import('../dist/bench/peers/report.js');
const { plotOf } = await import('../dist/bench/peers/plot.js');
const machines = readMachines('bench/results');
writeFileSync('README.md', withMeasuredSpeeds(withFieldTable(withFlagTables(readFileSync('README.md', 'utf8'))), machines));
for (const { results, plot } of machines) writeFileSync(plot, plotOf(results.rows));
say(`README.md and ${machines.map(({ plot }) => plot).join(', ')} written`);
