/** What `--help` says: a command's flags in groups, or what `--help=TOPIC` names: a group, one flag, or those that have a word. */
import { startError } from '../errors.js';
import { type Flag, rangeOf, variableOf } from './flag.js';
import { allFlags, type CommandTable, valueName } from './load-options.js';
import { nearestOf } from './nearest.js';
import { refusedFlags } from './refused-flags.js';

/** A longer line is hard to read, however wide the terminal is. */
const widthMax = 110;
/** Where the second column begins; a flag that is longer has a line of its own. */
const indent = 34;
/** A flag's values are listed in a line of its group up to this length; more of them are shown by `--help=FLAG`. */
const valuesLenMax = 40;

/** ["--help=max-num-seqs"] and ["--help", "max-num-seqs"] -> "max-num-seqs", ["--help"] -> "all"; null: no help is asked for. */
export function helpTopic(argv: readonly string[]): string | null {
  const at = argv.findIndex((word) => word === '-h' || word === '--help' || word.startsWith('--help='));
  if (at === -1) return null;
  const next = argv[at + 1] ?? '';
  return argv[at]!.slice('--help='.length) || (next.startsWith('-') ? '' : next) || 'all';
}

/** Of several commands, one line each. */
export function overview(tables: readonly CommandTable[]): string {
  const width = Math.max(...tables.map(({ name }) => name.length)) + 3;
  const lines = tables.map(({ name, summary }) => `  lockstep ${name.padEnd(width)}${summary}\n`);
  return `usage: lockstep COMMAND [options]\n\n${lines.join('')}\n'lockstep COMMAND --help' lists the options of a command, and --help=WORD those that have this word.\n`;
}

/** `columns`: of the terminal. Throws LockstepError `start` where nothing has to do with `topic`. */
export function helpOf(table: CommandTable, topic: string, columns = widthMax): string {
  const width = Math.min(widthMax, Math.max(60, columns));
  const flags = allFlags(table);
  const inGroups = (rows: readonly Flag[]) => groupsOf(rows).map((group) => groupText(group, rows, width));
  if (topic === 'all') {
    const positional = table.positional === undefined ? '' : ` [${table.positional.toUpperCase()}]`;
    const usage = `usage: lockstep ${table.name}${positional} [options]\n\n  ${table.summary}\n`;
    return `${[usage, ...inGroups(flags)].join('\n')}\n--help=FLAG explains one, --help=WORD lists those that have the word, --help=listgroup the groups.\n`;
  }
  if (topic === 'listgroup')
    return groupsOf(flags)
      .map((group) => `${group}\n`)
      .join('');
  const plain = topic.replace(/^-+/, '').replace(/_/g, '-').toLowerCase();
  const group = groupsOf(flags).find((each) => each.toLowerCase().replace(/ /g, '-') === plain);
  if (group !== undefined) return groupText(group, flags, width);
  const named = flags.find((flag) => namesOf(flag).includes(plain));
  if (named !== undefined) return explained(named, table.isConfigurable, width);
  const found = having(flags, plain);
  if (found.length === 1) return explained(found[0]!, table.isConfigurable, width);
  if (found.length > 1) return inGroups(found).join('\n');
  const reason = table.name === 'serve' ? (refusedFlags.get(`--${plain}`) ?? refusedFlags.get(`-${plain}`)) : undefined;
  if (reason !== undefined) return `--${plain} is a flag of vllm serve that is not supported by Lockstep: ${reason}\n`;
  const nearest = nearestOf(
    plain,
    flags.map(({ name }) => name),
  );
  const hint = nearest === null ? '' : ` (is ${nearest} meant?)`;
  throw startError(`no option of 'lockstep ${table.name}' has to do with '${topic}'${hint}; --help lists them all`);
}

const groupsOf = (flags: readonly Flag[]) => [...new Set(flags.map(({ group }) => group))];

/** Without dashes. */
const namesOf = ({ name, aliases = [] }: Flag): readonly string[] => [
  name,
  `no-${name}`,
  ...aliases.map((alias) => alias.replace(/^-+/, '')),
];

/** Those whose name begins with the word; else those that have it in their name; else those whose help has it. */
function having(flags: readonly Flag[], word: string): readonly Flag[] {
  const ways: readonly ((flag: Flag) => boolean)[] = [
    ({ name }) => name.startsWith(word),
    ({ name }) => name.replace(/-/g, '').includes(word.replace(/-/g, '')),
    ({ help }) => help.toLowerCase().includes(word.replace(/-/g, ' ')),
  ];
  for (const isMeant of ways) {
    const found = flags.filter(isMeant);
    if (found.length > 0) return found;
  }
  return [];
}

function groupText(group: string, flags: readonly Flag[], width: number): string {
  return `${group}:\n${flags
    .filter((flag) => flag.group === group)
    .map((flag) => line(flag, width))
    .join('')}`;
}

/** A boolean that is on is listed as what turns it off. */
function spelling(flag: Flag): string {
  if (flag.type === 'boolean') return flag.default === true ? `--no-${flag.name}` : `--${flag.name}`;
  const value = valueName(flag);
  return `--${flag.name} ${value.length > valuesLenMax ? 'NAME' : value}${flag.type === 'list' ? ' …' : ''}`;
}

function line(flag: Flag, width: number): string {
  const head = `  ${[spelling(flag), ...(flag.aliases ?? [])].join(', ')}`;
  const rows = wrapped(`${flag.default === true ? 'do not ' : ''}${flag.help}${defaultText(flag)}`, width - indent);
  const text = rows.map((row) => `${' '.repeat(indent)}${row}\n`).join('');
  return head.length < indent - 1 ? `${head.padEnd(indent)}${text.trimStart()}` : `${head}\n${text}`;
}

/** " (default: 8000)", or nothing where the help tells what unset means. */
function defaultText({ default: value }: Flag): string {
  const text = defaultValue(value);
  return text === null || typeof value === 'boolean' ? '' : ` (default: ${text})`;
}

function defaultValue(value: Flag['default']): string | null {
  if (value === null || value === '') return null;
  if (typeof value === 'boolean') return value ? 'on' : 'off';
  if (typeof value !== 'object') return String(value);
  if (Object.keys(value).length === 0) return null;
  return Array.isArray(value) ? value.join(', ') : JSON.stringify(value);
}

/** All that is known of one flag. */
function explained(flag: Flag, isConfigurable: boolean, width: number): string {
  const facts: readonly (readonly [string, string | null])[] = [
    ['values', valuesOf(flag)],
    ['default', defaultValue(flag.default) ?? 'unset'],
    ['also', flag.aliases?.join(', ') ?? null],
    ['environment', [...(isConfigurable && flag.name !== 'help' ? [variableOf(flag)] : []), ...(flag.variables ?? [])].join(', ') || null],
    ['in --config', isConfigurable && !['config', 'help'].includes(flag.name) ? `${flag.name}: ${example(flag)}` : null],
    ['group', flag.group],
  ];
  const at = 16;
  const lines = facts
    .filter((fact): fact is readonly [string, string] => fact[1] !== null)
    .map(([name, text]) => `  ${name.padEnd(at - 2)}${wrapped(text, width - at).join(`\n${' '.repeat(at)}`)}\n`);
  const head =
    flag.type === 'boolean'
      ? `--${flag.name}, --no-${flag.name}`
      : `--${flag.name} ${flag.choices === undefined ? valueName(flag) : 'NAME'}`;
  return `${head}\n\n${wrapped(flag.help, width - 2)
    .map((row) => `  ${row}\n`)
    .join('')}\n${lines.join('')}`;
}

function valuesOf(flag: Flag): string | null {
  if (flag.choices !== undefined) return flag.choices.join(', ');
  if (flag.type === 'boolean') return null;
  if (flag.type === 'json') return 'a JSON object, a file that holds one, or its fields one by one as --FLAG.field VALUE';
  if (flag.type === 'list') return 'one or more; the flag may be repeated';
  if (flag.type === 'string') return flag.value?.includes('|') ? flag.value.replace(/\|/g, ', ') : null;
  return [...Object.keys(flag.words ?? {}), rangeOf(flag.type, flag.min, flag.max)].join(' or ');
}

function example({ type, default: value, choices, value: name, min }: Flag): string {
  if (type === 'boolean') return String(value !== true);
  if (type === 'json') return '{…}';
  if (type === 'list') return '[…]';
  if (typeof value === 'string' || typeof value === 'number') return value === '' ? '…' : String(value);
  return choices?.[0] ?? (type === 'string' ? (name ?? '…') : String(min ?? 1));
}

/** Lines of at most `width` characters, broken between words. */
function wrapped(text: string, width: number): string[] {
  const rows: string[] = [''];
  for (const word of text.split(' ')) {
    const last = rows.length - 1;
    if (rows[last] === '') rows[last] = word;
    else if (rows[last]!.length + 1 + word.length <= width) rows[last] += ` ${word}`;
    else rows.push(word);
  }
  return rows;
}
