/** The README's table of request fields, made from the field table; `scripts/readme-tables.mjs` writes it, a test checks that it is current. */
import { type Field, fields } from './fields.js';

const code = (name: string) => `\`${name}\``;
const escaped = (text: string) => text.replace(/\|/g, '\\|');

function where({ routes }: Field): string {
  const [chat, completions] = [routes.includes('chat'), routes.includes('completions')];
  return chat && completions ? '' : chat ? 'chat' : 'completions';
}

/** Honoured fields as a Markdown table, then the names of those that are accepted without effect and those refused. */
export function fieldTable(rows: readonly Field[] = fields): string {
  const generating = rows.filter(({ routes }) => routes.includes('chat') || routes.includes('completions'));
  const namesOf = (use: Field['use']) => [...new Set(generating.filter((row) => row.use === use).map(({ name }) => code(name)))].join(', ');
  const lines = generating
    .filter(({ use }) => use === 'honoured')
    .map((row) => `| ${code(row.name)} | ${where(row)} | ${row.range ?? ''} | ${escaped(row.help)} |`);
  return [
    `| field | only in | range | |\n| --- | --- | --- | --- |\n${lines.join('\n')}\n`,
    `Accepted, as they ask nothing of the output: ${namesOf('accepted')}.\n`,
    `Refused by name, unless their value asks for nothing: ${namesOf('refused')}.\n`,
  ].join('\n');
}

const [opening, closing] = ['<!-- fields: written by scripts/readme-tables.mjs -->\n', '<!-- end of fields -->'] as const;

/** `readme` with the table between its two markers. Throws when they are not there. */
export function withFieldTable(readme: string): string {
  const start = readme.indexOf(opening);
  const end = readme.indexOf(closing);
  if (start === -1 || end < start) throw new Error(`README.md lacks its markers: ${opening.trim()} … ${closing}`);
  return `${readme.slice(0, start + opening.length)}\n${fieldTable()}\n${readme.slice(end)}`;
}
