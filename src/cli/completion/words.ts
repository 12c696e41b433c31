/** What may be typed after a command, as every shell's script needs it. */
import type { Flag } from '../flag.js';
import { allFlags, type CommandTable, valueName } from '../load-options.js';

export interface Completion {
  /** "serve", "bench serve" */
  readonly command: string;
  readonly summary: string;
  readonly flags: readonly FlagCompletion[];
  /** Of the word that may stand without a flag; null: there is none. */
  readonly positional: ValueCompletion | null;
}

export interface FlagCompletion {
  /** With dashes, all that mean the same; the first is its own. */
  readonly spellings: readonly string[];
  /** One line without a full stop. */
  readonly help: string;
  /** null: it takes none. */
  readonly value: ValueCompletion | null;
  readonly repeats: boolean;
}

export interface ValueCompletion {
  /** "MODEL" */
  readonly name: string;
  readonly words: readonly string[];
  readonly isFile: boolean;
}

const fileValues = ['FILE', 'FILE.yaml', 'FOLDER', 'PATH', 'MODEL'];

export function completionOf(table: CommandTable): Completion {
  const flags = allFlags(table).flatMap(flagCompletions);
  const positional = table.flags.find(({ name }) => name === table.positional);
  return { command: table.name, summary: table.summary, flags, positional: positional ? valueCompletion(positional) : null };
}

/** Two where a switch may be turned off, too. */
function flagCompletions(flag: Flag): FlagCompletion[] {
  const help = flag.help.split('. ')[0]!;
  const repeats = flag.type === 'list';
  const own = { spellings: [`--${flag.name}`, ...(flag.aliases ?? [])], help, repeats };
  if (flag.name === 'help') return [{ ...own, value: null }];
  if (flag.type !== 'boolean') return [{ ...own, value: valueCompletion(flag) }];
  const off = { spellings: [`--no-${flag.name}`], help: `the opposite of --${flag.name}`, repeats, value: null };
  return flag.default === true ? [{ ...own, value: null }, off] : [{ ...own, value: null }];
}

/** Words: its choices, or those of "auto|vllm|FOLDER" that stand for themselves. */
function valueCompletion(flag: Flag): ValueCompletion {
  const parts = valueName(flag).split('|');
  const words = flag.choices ?? (parts.length === 1 ? [] : parts.filter((part) => !/^[A-Z]/.test(part)));
  return { name: flag.choices === undefined ? parts.at(-1)! : 'NAME', words, isFile: parts.some((part) => fileValues.includes(part)) };
}

/** Of "bench serve" and "bench throughput": "bench", with what may follow it. */
export function commandTree(completions: readonly Completion[]): ReadonlyMap<string, readonly Completion[]> {
  const tree = new Map<string, Completion[]>();
  for (const completion of completions) {
    const [first = ''] = completion.command.split(' ');
    tree.set(first, [...(tree.get(first) ?? []), completion]);
  }
  return tree;
}

/** Commands of two words: the first. */
export const groupsOf = (completions: readonly Completion[]): readonly string[] => [
  ...new Set(completions.filter(({ command }) => command.includes(' ')).map(({ command }) => command.split(' ')[0]!)),
];
