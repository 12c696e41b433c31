/** Methods of Python's str, list and dict that templates call and the library lacks or reads differently (its `strip` takes no characters). */
import { checkTextLen } from './template-operators.js';
import {
  ArrayValue,
  bool,
  type Call,
  equals,
  FunctionValue,
  integer,
  isDict,
  isList,
  isNone,
  isText,
  none,
  numberOf,
  repr,
  str,
  TupleValue,
  text,
  type Value,
} from './template-values.js';

type Method<T> = (self: T, args: readonly Value[], named: ReadonlyMap<string | number, Value>) => Value;

const asText = (value: Value | undefined): string => {
  if (value === undefined || !isText(value)) throw new Error(`expected a str, got ${value === undefined ? 'nothing' : repr(value)}`);
  return value.value;
};
const list = (items: readonly string[]): Value => new ArrayValue(items.map(text));

/** Python's white space: str.isspace(). */
const space = '[\\t-\\r\\x1c-\\x1f\\x85\\p{Zs}\\p{Zl}\\p{Zp}]';
const spaceStart = new RegExp(`^${space}+`, 'u');

export function strip(self: string, chars: string | null, left: boolean, right: boolean): string {
  if (chars === null) {
    const trimmed = left ? self.replace(spaceStart, '') : self;
    return right ? trimEnd(trimmed) : trimmed;
  }
  const set = new Set(chars);
  const units = [...self];
  let start = 0;
  let end = units.length;
  while (left && start < end && set.has(units[start]!)) start++;
  while (right && end > start && set.has(units[end - 1]!)) end--;
  return units.slice(start, end).join('');
}

/** A pattern with `$` alone would look at every run of spaces in the text. */
function trimEnd(value: string): string {
  const short = value.trimEnd();
  return short.length === value.length ? value.replace(/[\x1c-\x1f\x85]+$/, '') : short;
}

const stripper =
  (left: boolean, right: boolean): Method<string> =>
  (self, [chars]) =>
    text(strip(self, chars === undefined || isNone(chars) ? null : asText(chars), left, right));

/** `str.format` with `{}`, `{0}` and `{name}`; no format specifications. */
const format: Method<string> = (self, args, named) => {
  let next = 0;
  return text(
    self.replace(/\{\{|\}\}|\{(\w*)\}/g, (whole, name: string | undefined) => {
      if (name === undefined) return whole[0]!;
      const value = name === '' ? args[next++] : /^\d+$/.test(name) ? args[Number(name)] : named.get(name);
      if (value === undefined) throw new Error(`no argument for ${whole} in a format string`);
      return str(value);
    }),
  );
};

const partition = (self: string, separator: string, at: number): Value =>
  new TupleValue((at < 0 ? [self, '', ''] : [self.slice(0, at), separator, self.slice(at + separator.length)]).map(text));

/** `str.replace`; without a count, or with a negative one, everywhere. */
export function replaced(self: string, old: string, replacement: string, count: Value | undefined): string {
  const most = count === undefined ? -1 : (numberOf(count) ?? -1);
  const parts = self.split(old);
  const times = most < 0 ? parts.length - 1 : Math.min(most, parts.length - 1);
  checkTextLen(self.length + times * (replacement.length - old.length));
  const rest = parts.slice(times);
  return [...parts.slice(0, times), rest.join(old)].join(replacement);
}

const stringMethods: Readonly<Record<string, Method<string>>> = {
  strip: stripper(true, true),
  lstrip: stripper(true, false),
  rstrip: stripper(false, true),
  format,
  join: (self, [items]) => text(itemsOf(items).map(asText).join(self)),
  capitalize: (self) => text(self.charAt(0).toUpperCase() + self.slice(1).toLowerCase()),
  find: (self, [part]) => integer(self.indexOf(asText(part))),
  rfind: (self, [part]) => integer(self.lastIndexOf(asText(part))),
  count: (self, [part]) => integer(self.split(asText(part)).length - 1),
  isdigit: (self) => bool(/^\p{Nd}+$/u.test(self)),
  isalpha: (self) => bool(/^\p{L}+$/u.test(self)),
  isspace: (self) => bool(self !== '' && strip(self, null, true, true) === ''),
  replace: (self, [old, replacement, count], named) => text(replaced(self, asText(old), asText(replacement), count ?? named.get('count'))),
  removeprefix: (self, [part]) => text(self.startsWith(asText(part)) ? self.slice(asText(part).length) : self),
  removesuffix: (self, [part]) => text(self.endsWith(asText(part)) ? self.slice(0, self.length - asText(part).length) : self),
  partition: (self, [separator]) => partition(self, asText(separator), self.indexOf(asText(separator))),
  rpartition: (self, [separator]) => {
    const at = self.lastIndexOf(asText(separator));
    return at < 0 ? new TupleValue(['', '', self].map(text)) : partition(self, asText(separator), at);
  },
  rsplit: (self, [separator, max]) => {
    const parts =
      separator === undefined || isNone(separator) ? self.split(/\s+/).filter((part) => part !== '') : self.split(asText(separator));
    const most = max === undefined ? -1 : (numberOf(max) ?? -1);
    if (most < 0 || parts.length <= most + 1) return list(parts);
    const joint = separator === undefined || isNone(separator) ? ' ' : asText(separator);
    return list([parts.slice(0, parts.length - most).join(joint), ...parts.slice(parts.length - most)]);
  },
  splitlines: (self) => list(self.replace(/\r?\n$/, '').split(/\r?\n/)),
  zfill: (self, [width]) => text(self.padStart(numberOf(width ?? none) ?? 0, '0')),
};

const listMethods: Readonly<Record<string, Method<readonly Value[]>>> = {
  index: (self, [item]) => integer(self.findIndex((each) => item !== undefined && equals(each, item))),
  count: (self, [item]) => integer(self.filter((each) => item !== undefined && equals(each, item)).length),
};

function itemsOf(value: Value | undefined): readonly Value[] {
  if (value !== undefined && isList(value)) return value.value;
  if (value !== undefined && isText(value)) return [...value.value].map(text);
  throw new Error(`${value === undefined ? 'nothing' : repr(value)} is not iterable`);
}

/** The method of a value, bound; null: the library's own, if any. */
export function methodOf(value: Value, name: string): Value | null {
  if (isText(value) && Object.hasOwn(stringMethods, name)) return bind(stringMethods[name]!, value.value);
  if (isList(value) && Object.hasOwn(listMethods, name)) return bind(listMethods[name]!, value.value);
  return null;
}

function bind<T>(method: Method<T>, self: T): Value {
  const call: Call = (args) => {
    const last = args.at(-1);
    const named = last?.type === 'KeywordArgumentsValue' && isDict(last) ? last.value : null;
    return method(self, named === null ? args : args.slice(0, -1), named ?? new Map());
  };
  return new FunctionValue(call);
}
