/** Flags of `vllm serve` that are refused, as a table for docs/from-vllm.md; `scripts/readme-tables.mjs` writes it, a test checks that it is current. */
import { withMarkedPart } from '../api/marked-part.js';
import { refusedFlags, settledFlags } from './refused-flags.js';

const code = (words: readonly string[]) => words.map((word) => `\`${word}\``).join(' ');

/** A row a reason. */
export function refusedTable(): string {
  const byReason = new Map<string, string[]>();
  for (const [flag, reason] of refusedFlags) byReason.set(reason, [...(byReason.get(reason) ?? []), flag]);
  const lines = [...byReason].map(([reason, flags]) => `| ${code(flags)} | ${reason} |`);
  return `| refused | because |\n| --- | --- |\n${lines.join('\n')}\n`;
}

/** Of those, what is taken, since it asks for what is done anyway. */
export function settledTable(): string {
  const words = (flag: string, values: readonly string[]) =>
    values.map((value) => (value === 'on' ? flag : value === 'off' ? flag.replace(/^--/, '--no-') : `${flag} ${value}`));
  const taken = [...settledFlags].filter(([flag]) => flag.startsWith('--')).map(([flag, values]) => code(words(flag, values)));
  return `Taken all the same, since it is what is done anyway: ${taken.join(', ')}.\n`;
}

const markers = ['<!-- refused flags: written by scripts/readme-tables.mjs -->\n', '<!-- end of refused flags -->'] as const;

/** `page` with both between its two markers. Throws where they are not there. */
export const withRefusedTable = (page: string) => withMarkedPart(page, markers, `${refusedTable()}\n${settledTable()}`);
