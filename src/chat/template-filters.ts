/** Jinja's filters and tests, where the library's differ from Python's or are missing. What is not here is the library's own. */
import { replaced, strip } from './template-methods.js';
import { checkTextLen } from './template-operators.js';
import {
  ArrayValue,
  bool,
  dumps,
  equals,
  escapeHtml,
  FloatValue,
  FunctionValue,
  integer,
  isDict,
  isFloat,
  isList,
  isNone,
  isText,
  isUndefined,
  keyValue,
  MarkupValue,
  numberOf,
  repr,
  str,
  TupleValue,
  text,
  truth,
  undefinedValue,
  type Value,
} from './template-values.js';

export type Named = ReadonlyMap<string, Value>;
/** `apply` runs another filter by name (`map('trim')`). */
export type Filter = (
  value: Value,
  args: readonly Value[],
  named: Named,
  apply: (name: string, value: Value, args: readonly Value[]) => Value,
) => Value;

/** What a loop or a filter runs over: a dict gives its keys, undefined nothing. */
export function iterate(value: Value): readonly Value[] {
  if (isList(value)) return value.value;
  if (isDict(value)) return [...value.value.keys()].map(keyValue);
  if (isText(value)) return [...value.value].map(text);
  if (isUndefined(value)) return [];
  throw new Error(`${isNone(value) ? "'NoneType' object" : repr(value)} is not iterable`);
}

/** Python's order; only numbers with numbers and text with text have one. */
export function compare(a: Value, b: Value): number {
  const [x, y] = [numberOf(a), numberOf(b)];
  if (x !== null && y !== null) return x - y;
  if (isText(a) && isText(b)) return a.value < b.value ? -1 : a.value > b.value ? 1 : 0;
  if (isList(a) && isList(b)) {
    for (let i = 0; i < Math.min(a.value.length, b.value.length); i++) {
      const order = compare(a.value[i]!, b.value[i]!);
      if (order !== 0) return order;
    }
    return a.value.length - b.value.length;
  }
  throw new Error(`cannot order ${repr(a)} and ${repr(b)}`);
}

const folded = (value: Value): Value => (isText(value) ? text(value.value.toLowerCase()) : value);

/** `item.a.b`, or `item[0]`. */
export function attribute(item: Value, path: Value): Value {
  let current = item;
  for (const part of isText(path) ? path.value.split('.') : [path.value as number]) {
    if (isDict(current)) current = current.value.get(part) ?? undefinedValue;
    else if (isList(current)) current = current.value.at(Number(part)) ?? undefinedValue;
    else return undefinedValue;
  }
  return current;
}

const option = (args: readonly Value[], named: Named, at: number, name: string): Value | undefined => args[at] ?? named.get(name);

function pick(keep: boolean, byAttribute: boolean): Filter {
  return (value, args) => {
    const path = byAttribute ? args[0] : undefined;
    const [testName, ...operands] = byAttribute ? args.slice(1) : args;
    return new ArrayValue(
      (truth(value) ? iterate(value) : []).filter((item) => {
        const tested = path === undefined ? item : attribute(item, path);
        return (testName === undefined ? truth(tested) : runTest(str(testName), tested, operands)) === keep;
      }),
    );
  };
}

function extreme(sign: number): Filter {
  return (value, _args, named) => {
    const path = named.get('attribute');
    const keyOf = (item: Value) => folded(path === undefined ? item : attribute(item, path));
    return iterate(value).reduce(
      (best, item) => (isUndefined(best) || sign * compare(keyOf(item), keyOf(best)) > 0 ? item : best),
      undefinedValue,
    );
  };
}

function sorted(items: readonly Value[], keyOf: (item: Value) => Value, reverse: boolean, caseSensitive: boolean): Value[] {
  const direction = reverse ? -1 : 1;
  const key = caseSensitive ? keyOf : (item: Value) => folded(keyOf(item));
  return [...items].sort((a, b) => direction * compare(key(a), key(b)));
}

/** Python counts characters, JavaScript UTF-16 units. */
const surrogatePairs = /[\ud800-\udbff][\udc00-\udfff]/g;

export const filters: Readonly<Record<string, Filter>> = {
  tojson: (value, _args, named) => {
    const indent = named.get('indent');
    const width = indent === undefined ? null : numberOf(indent);
    const separators = named.get('separators');
    return text(
      dumps(value, {
        indent: width,
        ensureAscii: named.has('ensure_ascii') && truth(named.get('ensure_ascii')!),
        sortKeys: named.has('sort_keys') && truth(named.get('sort_keys')!),
        separators:
          separators !== undefined && isList(separators)
            ? [str(separators.value[0]!), str(separators.value[1]!)]
            : [width === null ? ', ' : ',', ': '],
      }),
    );
  },
  string: (value) => text(str(value)),
  safe: (value) => (value instanceof MarkupValue ? value : new MarkupValue(str(value))),
  escape: (value) => new MarkupValue(escapeHtml(value)),
  trim: (value, [chars]) => text(strip(str(value), chars === undefined ? null : str(chars), true, true)),
  replace: (value, args, named) =>
    text(replaced(str(value), str(args[0] ?? undefinedValue), str(args[1] ?? undefinedValue), option(args, named, 2, 'count'))),
  upper: (value) => text(str(value).toUpperCase()),
  lower: (value) => text(str(value).toLowerCase()),
  capitalize: (value) => text(str(value).charAt(0).toUpperCase() + str(value).slice(1).toLowerCase()),
  length: (value) => {
    if (isText(value)) return integer(value.value.length - (value.value.match(surrogatePairs)?.length ?? 0));
    return integer(isDict(value) ? value.value.size : iterate(value).length);
  },
  list: (value) => new ArrayValue([...iterate(value)]),
  first: (value) => iterate(value)[0] ?? undefinedValue,
  last: (value) => iterate(value).at(-1) ?? undefinedValue,
  min: extreme(-1),
  max: extreme(1),
  sum: (value, args, named) => {
    const path = named.get('attribute');
    const items = iterate(value).map((item) => (path === undefined ? item : attribute(item, path)));
    const total = items.reduce((sum, item) => sum + (numberOf(item) ?? 0), numberOf(option(args, named, 1, 'start') ?? integer(0)) ?? 0);
    return items.some(isFloat) ? new FloatValue(total) : integer(total);
  },
  items: (value) => {
    if (isUndefined(value)) return new ArrayValue([]);
    if (!isDict(value)) throw new Error('Can only get item pairs from a mapping.');
    return new ArrayValue([...value.value].map(([key, item]) => new TupleValue([keyValue(key), item])));
  },
  dictsort: (value, args, named) => {
    if (!isDict(value)) throw new Error('Can only sort a mapping.');
    const by = option(args, named, 1, 'by');
    const at = by !== undefined && str(by) === 'value' ? 1 : 0;
    const flag = (index: number, name: string) => truth(option(args, named, index, name) ?? bool(false));
    const items = [...value.value].map(([key, item]) => new TupleValue([keyValue(key), item]) as Value);
    return new ArrayValue(sorted(items, (item) => (item.value as readonly Value[])[at]!, flag(2, 'reverse'), flag(0, 'case_sensitive')));
  },
  sort: (value, args, named) => {
    const path = option(args, named, 2, 'attribute');
    const flag = (index: number, name: string) => truth(option(args, named, index, name) ?? bool(false));
    const keyOf = path === undefined || isNone(path) ? (item: Value) => item : (item: Value) => attribute(item, path);
    return new ArrayValue(sorted(iterate(value), keyOf, flag(0, 'reverse'), flag(1, 'case_sensitive')));
  },
  unique: (value) => {
    const seen = new Map(
      iterate(value)
        .map((item) => [repr(folded(item)), item] as const)
        .reverse(),
    );
    return new ArrayValue([...seen.values()].reverse());
  },
  reverse: (value) => (isText(value) ? text([...value.value].reverse().join('')) : new ArrayValue([...iterate(value)].reverse())),
  join: (value, args, named) => {
    const path = option(args, named, 1, 'attribute');
    const separator = option(args, named, 0, 'd');
    const parts = iterate(value).map((item) => str(path === undefined ? item : attribute(item, path)));
    const between = separator === undefined ? '' : str(separator);
    checkTextLen(parts.reduce((length, part) => length + part.length + between.length, 0));
    return text(parts.join(between));
  },
  map: (value, args, named, apply) => {
    const path = named.get('attribute');
    const missing = named.get('default');
    if (path !== undefined) {
      const of = (item: Value) => attribute(item, path);
      return new ArrayValue(iterate(value).map((item) => (isUndefined(of(item)) && missing !== undefined ? missing : of(item))));
    }
    const [name, ...rest] = args;
    if (name === undefined) throw new Error('map needs a filter or an attribute');
    return new ArrayValue(iterate(value).map((item) => apply(str(name), item, rest)));
  },
  select: pick(true, false),
  reject: pick(false, false),
  selectattr: pick(true, true),
  rejectattr: pick(false, true),
  attr: (value, [path]) => (path === undefined ? undefinedValue : attribute(value, path)),
  float: (value, args, named) => {
    const number = numberOf(value) ?? (isText(value) && value.value.trim() !== '' ? Number(value.value) : Number.NaN);
    return Number.isNaN(number) ? (option(args, named, 0, 'default') ?? new FloatValue(0)) : new FloatValue(number);
  },
  int: (value, args, named) => {
    const number = numberOf(value) ?? (isText(value) && value.value.trim() !== '' ? Number(value.value) : Number.NaN);
    return Number.isFinite(number) ? integer(Math.trunc(number)) : (option(args, named, 0, 'default') ?? integer(0));
  },
  default: (value, args, named) => {
    const anyFalse = truth(option(args, named, 1, 'boolean') ?? bool(false));
    return isUndefined(value) || (anyFalse && !truth(value)) ? (option(args, named, 0, 'default_value') ?? text('')) : value;
  },
};

export const filterAliases: Readonly<Record<string, string>> = { d: 'default', e: 'escape', count: 'length' };

type Test = (value: Value, operands: readonly Value[]) => boolean;

const is =
  (type: string): Test =>
  (value) =>
    value.type === type;
const order =
  (accepts: (sign: number) => boolean): Test =>
  (value, [other]) =>
    other !== undefined && accepts(compare(value, other));
const equalTo: Test = (value, [other]) => other !== undefined && equals(value, other);
const wholeNumber = (value: Value): number => numberOf(value) ?? Number.NaN;

const tests: Readonly<Record<string, Test>> = {
  defined: (value) => !isUndefined(value),
  undefined: isUndefined,
  none: isNone,
  boolean: is('BooleanValue'),
  true: (value) => value.value === true,
  false: (value) => value.value === false,
  string: isText,
  integer: is('IntegerValue'),
  float: isFloat,
  number: (value) => numberOf(value) !== null,
  mapping: isDict,
  sequence: (value) => isList(value) || isDict(value) || isText(value),
  iterable: (value) => isList(value) || isDict(value) || isText(value) || isUndefined(value),
  callable: (value) => value instanceof FunctionValue,
  odd: (value) => Math.abs(wholeNumber(value) % 2) === 1,
  even: (value) => wholeNumber(value) % 2 === 0,
  divisibleby: (value, [other]) => wholeNumber(value) % wholeNumber(other ?? undefinedValue) === 0,
  lower: (value) => str(value) === str(value).toLowerCase(),
  upper: (value) => str(value) === str(value).toUpperCase(),
  in: (value, [other]) => other !== undefined && contains(other, value),
  eq: equalTo,
  equalto: equalTo,
  sameas: equalTo,
  ne: (value, operands) => !equalTo(value, operands),
  lt: order((sign) => sign < 0),
  le: order((sign) => sign <= 0),
  gt: order((sign) => sign > 0),
  ge: order((sign) => sign >= 0),
};
const testAliases: Readonly<Record<string, string>> = {
  '==': 'eq',
  '!=': 'ne',
  '<': 'lt',
  '<=': 'le',
  '>': 'gt',
  '>=': 'ge',
  lessthan: 'lt',
  greaterthan: 'gt',
};

export function runTest(name: string, value: Value, operands: readonly Value[]): boolean {
  const known = testAliases[name] ?? name;
  if (!Object.hasOwn(tests, known)) throw new Error(`No test named '${name}'.`);
  return tests[known]!(value, operands);
}

/** `item in container` */
export function contains(container: Value, item: Value): boolean {
  if (isText(container)) {
    if (!isText(item)) throw new Error(`'in <string>' requires string as left operand, not ${repr(item)}`);
    return container.value.includes(item.value);
  }
  return iterate(container).some((each) => equals(each, item));
}
