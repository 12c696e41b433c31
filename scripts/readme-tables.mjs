/** `node scripts/readme-tables.mjs`: writes the generated tables into README.md, and the plot of the measured speeds. */
import { readFileSync, writeFileSync } from 'node:fs';
import { buildTypeScript, say } from './prepare.mjs';

buildTypeScript();
const { withFlagTables } = await import('../dist/src/cli/flag-table.js');
const { withFieldTable } = await import('../dist/src/api/field-table.js');
const { withMeasuredSpeeds } = await import('../dist/bench/peers/report.js');
const { plotOf } = await import('../dist/bench/peers/plot.js');
const speeds = JSON.parse(readFileSync('bench/results/peers.json', 'utf8'));
writeFileSync('README.md', withMeasuredSpeeds(withFieldTable(withFlagTables(readFileSync('README.md', 'utf8'))), speeds));
writeFileSync('bench/results/peers.svg', plotOf(speeds.rows));
say('README.md and bench/results/peers.svg written');
