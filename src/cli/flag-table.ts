/** The README's table of flags, made from the option table; `scripts/readme-tables.mjs` writes it, a test checks that it is current. */
import { withMarkedPart } from '../api/marked-part.js';
import type { Flag } from './flag.js';
import { valueName } from './load-options.js';
import { serveFlags } from './options.js';

const escaped = (text: string) => text.replace(/\|/g, '\\|');

function spelling(flag: Flag): string {
  const on = flag.type === 'boolean' && flag.default === true ? `--no-${flag.name}` : `--${flag.name} ${valueName(flag)}`.trimEnd();
  return [on, ...(flag.aliases ?? [])].map((word) => `\`${escaped(word)}\``).join(', ');
}

function defaultOf(flag: Flag): string {
  if (flag.default === null || flag.default === '') return '';
  if (Array.isArray(flag.default)) return flag.default.length === 0 ? '' : `\`${flag.default.join(' ')}\``;
  if (typeof flag.default === 'object') return '';
  return typeof flag.default === 'boolean' ? (flag.default ? 'on' : 'off') : `\`${flag.default}\``;
}

/** One Markdown table a group. */
export function flagTables(flags: readonly Flag[] = serveFlags): string {
  const groups = [...new Set(flags.map((flag) => flag.group))];
  const tables = groups.map((group) => {
    const rows = flags.filter((flag) => flag.group === group);
    const lines = rows.map((flag) => `| ${spelling(flag)} | ${defaultOf(flag)} | ${escaped(flag.help)} |`);
    return `| ${group} | default | |\n| --- | --- | --- |\n${lines.join('\n')}\n`;
  });
  return tables.join('\n');
}

const markers = ['<!-- flags: written by scripts/readme-tables.mjs -->\n', '<!-- end of flags -->'] as const;

/** `readme` with the tables between its two markers. Throws where they are not there. */
export const withFlagTables = (readme: string) => withMarkedPart(readme, markers, flagTables());
