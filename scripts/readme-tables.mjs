/** `node scripts/readme-tables.mjs`: writes the generated tables into README.md. */
import { readFileSync, writeFileSync } from 'node:fs';
import { buildTypeScript, say } from './prepare.mjs';

buildTypeScript();
const { withFlagTables } = await import('../dist/src/cli/flag-table.js');
const { withFieldTable } = await import('../dist/src/api/field-table.js');
writeFileSync('README.md', withFieldTable(withFlagTables(readFileSync('README.md', 'utf8'))));
say('README.md written');
