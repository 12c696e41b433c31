/**
 * A command's flags from where they may come: command line, then environment, then --config file, then the table's default.
 * Pure but for reading the file that --config names. What the flags are, `options.ts` says; what a value may be, `flag.ts`.
 */
import { Command, CommanderError, Option } from 'commander';
import { type LockstepError, startError } from '../errors.js';
import { readConfigFile } from './config-file.js';
import { camelCase, type Flag, type FlagValue, type OptionsOf, parseValue, variableOf } from './flag.js';
import { JsonParts, splitParts } from './json-parts.js';
import { nearestOf } from './nearest.js';
import { refusedFlags, settledFlags } from './refused-flags.js';

export interface CommandTable<Flags extends readonly Flag[] = readonly Flag[]> {
  /** "serve", "bench serve" */
  readonly name: string;
  readonly summary: string;
  readonly flags: Flags;
  /** The flag that may also stand without its name. */
  readonly positional?: string;
  /** Whether LOCKSTEP_* variables and --config are read. */
  readonly isConfigurable: boolean;
}

type Environment = Readonly<Record<string, string | undefined>>;

/** Throws LockstepError `start` with one line that names the flag, what was found and what to do. */
export function loadOptions<const Flags extends readonly Flag[]>(
  table: CommandTable<Flags>,
  argv: readonly string[],
  environment: Environment,
): OptionsOf<Flags> {
  const given = readCommandLine(table, argv);
  const configPath = table.isConfigurable ? (given.get('config') ?? environment['LOCKSTEP_CONFIG']) : undefined;
  const file = configPath === undefined ? new Map<string, unknown>() : joinParts(table, readConfigFile(String(configPath)));
  for (const [name, value] of file) checkName(table, name, value, `${name} in ${configPath}`);
  const resolve = (flag: Flag): FlagValue => {
    if (given.has(flag.name)) return parseValue(flag, given.get(flag.name), `--${flag.name}`);
    const variables = [...(table.isConfigurable ? [variableOf(flag)] : []), ...(flag.variables ?? [])];
    const variable = variables.find((name) => (environment[name] ?? '') !== '');
    if (variable !== undefined) return parseValue(flag, environment[variable], variable);
    return file.has(flag.name) ? parseValue(flag, file.get(flag.name), `${flag.name} in ${configPath}`) : flag.default;
  };
  return Object.fromEntries(table.flags.map((flag) => [camelCase(flag.name), resolve(flag)])) as OptionsOf<Flags>;
}

/** What stands on the command line, by flag name, unparsed. */
function readCommandLine(table: CommandTable, argv: readonly string[]): Map<string, unknown> {
  const command = commandFor(table)
    .exitOverride()
    .configureOutput({ writeErr: () => {} });
  try {
    command.parse(canonicalArguments(table, argv), { from: 'user' });
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    const reason = error.message.replace(/^error: /, '').replace(/\s*\n\s*/g, ' ');
    throw startError(`${reason}; 'lockstep ${table.name} --help' lists the options`, { cause: error });
  }
  const given = new Map<string, unknown>();
  const values = command.opts<Record<string, unknown>>();
  for (const name of [...table.flags.map((flag) => flag.name), 'config']) {
    if (values[camelCase(name)] !== undefined) given.set(name, values[camelCase(name)]);
  }
  const [word] = command.args;
  if (word !== undefined && table.positional !== undefined) {
    const named = given.get(table.positional);
    if (named !== undefined && named !== word) {
      throw startError(`${table.positional} is given twice: '${word}' and --${table.positional} '${named}'`, { param: table.positional });
    }
    given.set(table.positional, word);
  }
  return given;
}

/** The commander command of a table. Values stay text here, so that every source is parsed alike; `help.ts` writes the help. */
function commandFor(table: CommandTable): Command {
  const command = new Command(`lockstep ${table.name}`).helpOption(false).allowExcessArguments(false);
  if (table.positional !== undefined) command.argument(`[${table.positional}]`);
  for (const flag of allFlags(table)) {
    for (const option of optionsOf(flag)) command.addOption(option);
  }
  return command;
}

const configuration = 'Configuration';

const configFlag: Flag = {
  name: 'config',
  type: 'string',
  default: null,
  group: configuration,
  value: 'FILE.yaml',
  help: "flags in a file, as 'port: 8000'; the command line and LOCKSTEP_* variables win",
};

const helpFlag: Flag = {
  name: 'help',
  type: 'string',
  default: null,
  group: configuration,
  value: 'TOPIC',
  aliases: ['-h'],
  help: 'this text, or with =TOPIC a group, a flag, or the flags that have a word',
};

/** With those that every command has. */
export const allFlags = (table: CommandTable): readonly Flag[] => [...table.flags, ...(table.isConfigurable ? [configFlag] : []), helpFlag];

const typeNames = { int: 'N', size: 'N', number: 'X', json: 'JSON', list: 'WORD', string: 'TEXT', boolean: '' } as const;

/** What stands for the value in help and README. */
export const valueName = (flag: Flag): string => flag.value ?? flag.choices?.join('|') ?? typeNames[flag.type];

function optionsOf(flag: Flag): Option[] {
  if (flag.type !== 'boolean') return [new Option(`--${flag.name} ${flag.type === 'list' ? '<value...>' : '<value>'}`)];
  // What is hidden is no answer to a mistyped flag: what is off anyway.
  return [new Option(`--${flag.name}`), new Option(`--no-${flag.name}`).hideHelp(flag.default !== true)];
}

/**
 * Aliases and underscores become the flag's own spelling; flags of `vllm serve` that mean nothing here are refused with their reason, or left out
 * where they ask for what is done anyway.
 */
function canonicalArguments(table: CommandTable, argv: readonly string[]): string[] {
  const aliases = new Map(table.flags.flatMap((flag) => (flag.aliases ?? []).map((alias) => [alias, `--${flag.name}`] as const)));
  const words: string[] = [];
  const parts = new JsonParts();
  for (let i = 0; i < argv.length; i++) {
    const word = argv[i]!.replace(/^-O(?=\w)/, '-O='); // -O3
    const [, dashed = '', part = '', rest = ''] = /^(--?[A-Za-z][\w-]*)((?:\.[^=]*)?)(=.*)?$/s.exec(word) ?? [];
    const spelt = dashed.startsWith('--') ? dashed.replace(/_/g, '-') : dashed;
    const name = aliases.get(spelt) ?? spelt;
    if (dashed === '') words.push(word);
    else if (part !== '' && isKnown(table, name)) {
      if (rest === '') i++;
      addPart(table, parts, `${name}${part}`, rest === '' ? argv[i] : rest.slice(1));
    } else if (table.name !== 'serve' || isKnown(table, name) || !isForeign(name)) words.push(`${name}${part}${rest}`);
    else if (part === '' && isSettled(name, rest === '' ? argv[i + 1] : rest.slice(1))) i += isSwitch(name) || rest !== '' ? 0 : 1;
    else throw foreign(name, `${dashed}${part}`);
  }
  for (const [name, fields] of parts) {
    if (words.some((word) => word === name || word.startsWith(`${name}=`))) throw givenTwice(name);
    words.push(`${name}=${JSON.stringify(fields)}`);
  }
  return words;
}

/** The same for the lines of a file: `flag.key: value`. */
function joinParts(table: CommandTable, lines: ReadonlyMap<string, unknown>): ReadonlyMap<string, unknown> {
  const file = new Map<string, unknown>();
  const parts = new JsonParts();
  for (const [name, value] of lines) {
    if (name.includes('.') && isKnown(table, `--${name.split('.')[0]}`)) addPart(table, parts, name, value);
    else file.set(name, value);
  }
  for (const [name, fields] of parts) {
    if (file.has(name)) throw givenTwice(name);
    file.set(name, fields);
  }
  return file;
}

/** `name`: with dashes, or as it stands in a file. Throws where its flag has no parts. */
function addPart(table: CommandTable, parts: JsonParts, name: string, value: unknown): void {
  const split = splitParts(name);
  const flag = table.flags.find((each) => each.name === split?.flag.replace(/^--/, ''));
  if (split === null || flag?.type !== 'json') throw startError(`${name} is no part of a JSON value`, { param: name.replace(/^--/, '') });
  if (value === undefined) throw startError(`${name}: argument missing`, { param: flag.name });
  parts.add(split.flag, split.keys, split.isList, value);
}

const givenTwice = (name: string) => startError(`${name} is given twice: as JSON and by its parts`, { param: name.replace(/^--/, '') });

const isKnown = (table: CommandTable, dashed: string) =>
  table.flags.some((flag) => dashed === `--${flag.name}` || (flag.type === 'boolean' && dashed === `--no-${flag.name}`));

/** `--limit-mm-per-prompt.image` and `--no-enable-lora` are ways to write a flag. */
const baseOf = (dashed: string) => dashed.split('.')[0]!.replace(/^--no-/, '--');
const isForeign = (dashed: string) => refusedFlags.has(baseOf(dashed));
const settledValues = (dashed: string): readonly string[] => settledFlags.get(baseOf(dashed)) ?? [];
/** Takes no value. */
const isSwitch = (dashed: string) => settledValues(dashed).some((value) => value === 'on' || value === 'off');

/** Whether a flag of vLLM asks for what is done here anyway. `value`: what stands behind it, if anything. */
function isSettled(dashed: string, value: string | undefined): boolean {
  const meant = isSwitch(dashed) ? (dashed.startsWith('--no-') ? 'off' : 'on') : value;
  return meant !== undefined && settledValues(dashed).includes(meant);
}

function foreign(dashed: string, shown: string): LockstepError {
  const values = isSwitch(dashed) ? [] : settledValues(dashed);
  const taken = values.length === 0 ? '' : ` with another value than ${values.join(' or ')}`;
  const reason = refusedFlags.get(baseOf(dashed))!;
  return startError(`${shown} is not supported by Lockstep${taken}: ${reason}`, { param: shown.replace(/^-+/, '') });
}

function checkName(table: CommandTable, name: string, value: unknown, where: string): void {
  if (table.flags.some((flag) => flag.name === name)) return;
  const dashed = value === false ? `--no-${name}` : `--${name}`;
  if (isForeign(dashed)) {
    if (isSettled(dashed, String(value))) return;
    throw foreign(dashed, where);
  }
  const nearest = nearestOf(
    name,
    table.flags.map((flag) => flag.name),
  );
  const hint = nearest === null ? '' : ` (is ${nearest} meant?)`;
  throw startError(`${where} is no option of 'lockstep ${table.name}'${hint}; its --help lists them`, { param: name });
}
