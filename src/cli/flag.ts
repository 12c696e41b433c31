/**
 * What a flag is, and how a word of the command line, of the environment or of a file becomes its value.
 * The tables of flags stand in `options.ts` and `bench-options.ts`; where values come from, in `load-options.ts`.
 */
import { readFileSync } from 'node:fs';
import { startError } from '../errors.js';

/** size: a whole number with k, m, g (1000) or K, M, G (1024) behind it. */
export type FlagType = 'string' | 'int' | 'size' | 'number' | 'boolean' | 'list' | 'json';

export interface Flag {
  /** As on the command line, without dashes. */
  readonly name: string;
  readonly type: FlagType;
  /** null: unset, with the meaning that `help` tells. */
  readonly default: string | number | boolean | null | readonly string[] | Readonly<Record<string, unknown>>;
  readonly group: string;
  readonly help: string;
  /** What stands for the value in the help. */
  readonly value?: string;
  readonly choices?: readonly string[];
  /** Choices of vLLM that are none here, and why. */
  readonly refusedChoices?: ReadonlyMap<string, string>;
  /** Of numbers: words that mean one. */
  readonly words?: Readonly<Record<string, number>>;
  /** Of numbers; both are allowed values. */
  readonly min?: number;
  readonly max?: number;
  /** Other spellings, with their dashes. */
  readonly aliases?: readonly string[];
  /** Variables beside LOCKSTEP_NAME, looked at after it. */
  readonly variables?: readonly string[];
}

type Camel<Name extends string> = Name extends `${infer Head}-${infer Tail}` ? `${Head}${Capitalize<Camel<Tail>>}` : Name;
type ValueByType = {
  string: string;
  int: number;
  size: number;
  number: number;
  boolean: boolean;
  list: readonly string[];
  json: Readonly<Record<string, unknown>>;
};
type ValueOf<F extends Flag> = F extends { readonly choices: readonly (infer Choice)[] } ? Choice : ValueByType[F['type']];

/** The values of a table of flags, under their names in camelCase. */
export type OptionsOf<Flags extends readonly Flag[]> = {
  readonly [F in Flags[number] as Camel<F['name']>]: ValueOf<F> | (F['default'] extends null ? null : never);
};

export type FlagValue = string | number | boolean | null | readonly string[] | Readonly<Record<string, unknown>>;

export const camelCase = (name: string) => name.replace(/-(\w)/g, (_, letter: string) => letter.toUpperCase());
export const variableOf = (flag: Flag) => `LOCKSTEP_${flag.name.replace(/-/g, '_').toUpperCase()}`;

const multipliers: Readonly<Record<string, number>> = {
  '': 1,
  k: 1e3,
  m: 1e6,
  g: 1e9,
  t: 1e12,
  K: 2 ** 10,
  M: 2 ** 20,
  G: 2 ** 30,
  T: 2 ** 40,
};
const truthy = ['1', 'true', 'yes', 'on'];
const falsy = ['0', 'false', 'no', 'off'];

const isRecord = (value: unknown): value is Record<string, unknown> => typeof value === 'object' && value !== null && !Array.isArray(value);

/**
 * The value of `flag` from what was found at `where` ("--port", "LOCKSTEP_PORT", "port in lockstep.yaml").
 * Throws LockstepError `start` naming the place, what stands there and what may.
 */
export function parseValue(flag: Flag, raw: unknown, where: string): FlagValue {
  const refuse = (wanted: string): never => {
    const found = typeof raw === 'string' ? `'${raw}'` : JSON.stringify(raw);
    throw startError(`${where} must be ${wanted}, not ${found}`, { param: flag.name });
  };
  switch (flag.type) {
    case 'boolean':
      return parseBoolean(raw) ?? refuse('true or false');
    case 'list':
      return parseList(raw) ?? refuse('a list of words, none of them empty');
    case 'json':
      return parseObject(raw) ?? refuse('a JSON object or a file that holds one');
    case 'string': {
      const text = typeof raw === 'string' ? raw : typeof raw === 'number' ? String(raw) : refuse('a string');
      const reason = flag.refusedChoices?.get(text);
      if (reason !== undefined) throw startError(`${where} '${text}' is refused: ${reason}`, { param: flag.name });
      // vLLM takes levels of the log in capitals.
      return flag.choices === undefined
        ? text
        : (flag.choices.find((choice) => choice === text || choice === text.toLowerCase()) ?? refuse(`one of ${flag.choices.join(', ')}`));
    }
    default:
      return parseNumber(flag, raw) ?? refuse(wantedNumber(flag));
  }
}

function parseBoolean(raw: unknown): boolean | null {
  if (typeof raw === 'boolean') return raw;
  const text = String(raw).toLowerCase();
  return truthy.includes(text) ? true : falsy.includes(text) ? false : null;
}

/** A JSON list, or words between commas; the command line gives its words one by one. */
function parseList(raw: unknown): readonly string[] | null {
  if (Array.isArray(raw)) {
    if (raw.length === 1 && typeof raw[0] === 'string' && raw[0].startsWith('[')) return parseList(raw[0]);
    return raw.every((item) => (typeof item === 'string' && item !== '') || typeof item === 'number') ? raw.map(String) : null;
  }
  if (typeof raw !== 'string') return null;
  if (!raw.trimStart().startsWith('[')) return raw.split(',').filter((word) => word !== '');
  try {
    return parseList(JSON.parse(raw) as unknown[]);
  } catch {
    return null;
  }
}

function parseObject(raw: unknown): Readonly<Record<string, unknown>> | null {
  if (isRecord(raw)) return raw;
  const text = String(raw);
  try {
    const value: unknown = JSON.parse(text.trimStart().startsWith('{') ? text : readFileSync(text, 'utf8'));
    return isRecord(value) ? value : null;
  } catch {
    return null;
  }
}

function parseNumber(flag: Flag, raw: unknown): number | null {
  const word = flag.words?.[String(raw).toLowerCase()];
  if (word !== undefined) return word;
  let value: number;
  if (typeof raw === 'number') value = raw;
  else if (flag.type === 'number') value = raw === 'inf' ? Infinity : typeof raw === 'string' && raw.trim() !== '' ? Number(raw) : NaN;
  else {
    const size = parseSize(String(raw));
    if (size === null || (flag.type === 'int' && /[A-Za-z]$/.test(String(raw)))) return null;
    value = size;
  }
  const isWhole = flag.type === 'number' || Number.isSafeInteger(value);
  return !Number.isNaN(value) && isWhole && value >= (flag.min ?? -Infinity) && value <= (flag.max ?? Infinity) ? value : null;
}

/** 16, 1.5k, 2G; null: none of these. */
export function parseSize(text: string): number | null {
  const match = /^(-?\d+(?:\.\d+)?)([kmgtKMGT]?)$/.exec(text);
  return match && Number(match[1]) * (multipliers[match[2] ?? ''] ?? 1);
}

function wantedNumber({ type, min, max, words = {} }: Flag): string {
  const named = Object.keys(words).map((word) => `${word} or `);
  return `${named.join('')}${rangeOf(type, min, max)}`;
}

/** "a whole number from 0 to 65535" */
export function rangeOf(type: FlagType, min: number | undefined, max: number | undefined): string {
  const kind = type === 'number' ? 'a number' : type === 'size' ? 'a whole number (1k = 1000, 1K = 1024)' : 'a whole number';
  if (min !== undefined && max !== undefined) return `${kind} from ${min} to ${max}`;
  return min === undefined ? kind : `${kind} of at least ${min}`;
}
