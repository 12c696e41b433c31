/**
 * The values that a template computes with (@huggingface/jinja's classes, which it does not export), and how Python would print, compare and
 * serialise them. The truth for templates is Jinja2 in Python, as transformers sets it up.
 */
import { Environment, Interpreter } from '@huggingface/jinja';
import { PythonFloat } from './json-numbers.js';

/** What every value of the library has. Its own type is a union of classes that cannot be told apart. */
export interface Value {
  readonly type: string;
  readonly value: unknown;
  readonly builtins: ReadonlyMap<string, Value>;
  __bool__(): { readonly value: boolean };
}

export interface Scope {
  readonly parent?: Scope | undefined;
  readonly variables: ReadonlyMap<string, Value>;
  set(name: string, data: unknown): Value;
  setVariable(name: string, value: Value): Value;
}
/** Variables, with those of the scopes around them. */
export const Scope = Environment as unknown as new (parent?: Scope) => Scope;

/** A scope in another one. The library's constructor gives every scope a `namespace` function of its own, which the outermost has already. */
export function innerScope(parent: Scope): Scope {
  const scope = Object.create(Environment.prototype) as { parent: Scope; variables: Map<string, Value> };
  scope.parent = parent;
  scope.variables = new Map();
  return scope as unknown as Scope;
}

type ValueClass<T> = new (value: T) => Value & { readonly value: T };
export type Call = (args: readonly Value[], scope: Scope) => Value;

const classOf = <T>(value: Value): ValueClass<T> => value.constructor as ValueClass<T>;
const scratch = new Scope();

/** A node of the library's syntax tree. */
class TupleLiteral {
  readonly type = 'TupleLiteral';
  readonly value: readonly never[] = [];
}

export const IntegerValue = classOf<number>(scratch.set('integer', 1));
export const FloatValue = classOf<number>(scratch.set('float', 0.5));
export const StringValue = classOf<string>(scratch.set('string', ''));
export const BooleanValue = classOf<boolean>(scratch.set('boolean', true));
export const NullValue = classOf<null>(scratch.set('null', null));
export const UndefinedValue = classOf<undefined>(scratch.set('undefined', undefined));
export const ArrayValue = classOf<readonly Value[]>(scratch.set('array', []));
export const ObjectValue = classOf<ReadonlyMap<string | number, Value>>(scratch.set('object', {}));
export const FunctionValue = classOf<Call>(scratch.set('function', () => null));
const LibraryTuple = classOf<readonly Value[]>(new Interpreter().evaluate(new TupleLiteral(), new Environment()) as Value);

/** An array that prints with parentheses. The library unpacks and joins only what calls itself an array. */
export class TupleValue extends LibraryTuple {
  override type = 'ArrayValue';
}

/** What `safe` gives: text added to it has its HTML characters escaped, as markupsafe does. A few templates for tools depend on it. */
export class MarkupValue extends StringValue {}

const htmlEscapes: Readonly<Record<string, string>> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', "'": '&#39;', '"': '&#34;' };
export const escapeHtml = (value: Value): string =>
  value instanceof MarkupValue ? str(value) : str(value).replace(/[&<>'"]/g, (char) => htmlEscapes[char]!);

/** A dict whose keys need not be text: `Map` keeps 1 and "1" apart, but the library's own methods do not. */
export class DictValue extends ObjectValue {
  keys(): Value {
    return new ArrayValue([...this.value.keys()].map(keyValue));
  }
  items(): Value {
    return new ArrayValue([...this.value].map(([key, value]) => new TupleValue([keyValue(key), value])));
  }
}

export const isText = (value: Value): value is Value & { readonly value: string } => value instanceof StringValue;
export const isList = (value: Value): value is Value & { readonly value: readonly Value[] } => value instanceof ArrayValue;
export const isDict = (value: Value): value is Value & { readonly value: ReadonlyMap<string | number, Value> } =>
  value instanceof ObjectValue;
export const isUndefined = (value: Value): boolean => value instanceof UndefinedValue;
export const isNone = (value: Value): boolean => value instanceof NullValue;
const isBoolean = (value: Value): value is Value & { readonly value: boolean } => value instanceof BooleanValue;

/** A number, or a bool, which is one in Python; null: neither. */
export function numberOf(value: Value): number | null {
  if (value instanceof IntegerValue || value instanceof FloatValue) return value.value;
  return isBoolean(value) ? Number(value.value) : null;
}

export const isFloat = (value: Value): value is Value & { readonly value: number } => value instanceof FloatValue;
export const truth = (value: Value): boolean => value.__bool__().value;
export const text = (value: string): Value => new StringValue(value);
export const bool = (value: boolean): Value => new BooleanValue(value);
export const integer = (value: number): Value => new IntegerValue(value);
export const undefinedValue: Value = new UndefinedValue(undefined);
export const none: Value = new NullValue(null);
export const keyValue = (key: string | number): Value => (typeof key === 'number' ? integer(key) : text(key));

/** JavaScript data to values. */
export function toValue(data: unknown): Value {
  switch (typeof data) {
    case 'string':
      return new StringValue(data);
    case 'number':
      return Number.isInteger(data) ? new IntegerValue(data) : new FloatValue(data);
    case 'boolean':
      return new BooleanValue(data);
    case 'object':
      if (data === null) return none;
      if (data instanceof PythonFloat) return new FloatValue(data.value);
      if (Array.isArray(data)) return new ArrayValue(data.map(toValue));
      return new DictValue(new Map(Object.entries(data).map(([key, value]) => [key, toValue(value)])));
    default:
      return undefinedValue;
  }
}

/** `a == b` */
export function equals(a: Value, b: Value): boolean {
  const [x, y] = [numberOf(a), numberOf(b)];
  if (x !== null || y !== null) return x === y;
  if (isList(a) && isList(b)) return a.value.length === b.value.length && a.value.every((item, i) => equals(item, b.value[i]!));
  if (isDict(a) && isDict(b))
    return a.value.size === b.value.size && [...a.value].every(([key, item]) => equals(item, b.value.get(key) ?? undefinedValue));
  return a.type === b.type && a.value === b.value;
}

/** `str(value)`; undefined prints as nothing. */
export function str(value: Value): string {
  return isText(value) ? value.value : isUndefined(value) ? '' : repr(value);
}

/** `repr(value)` */
export function repr(value: Value): string {
  if (isText(value)) return reprText(value.value);
  if (isFloat(value)) return reprFloat(value.value);
  if (isBoolean(value)) return value.value ? 'True' : 'False';
  if (isNone(value)) return 'None';
  if (isUndefined(value)) return 'Undefined';
  if (isList(value)) {
    const items = value.value.map(repr).join(', ');
    return value instanceof TupleValue ? `(${items}${value.value.length === 1 ? ',' : ''})` : `[${items}]`;
  }
  if (isDict(value)) return `{${[...value.value].map(([key, item]) => `${repr(keyValue(key))}: ${repr(item)}`).join(', ')}}`;
  return String(value.value);
}

const shortEscapes: Readonly<Record<string, string>> = { '\n': '\\n', '\r': '\\r', '\t': '\\t', '\\': '\\\\' };

function reprText(value: string): string {
  const quote = value.includes("'") && !value.includes('"') ? '"' : "'";
  const escaped = value.replace(/[\\\p{Cc}\p{Cf}\p{Zl}\p{Zp}]|(?! )\p{Zs}/gu, (char) => {
    const code = char.codePointAt(0)!;
    return shortEscapes[char] ?? (code < 0x100 ? `\\x${hex(code, 2)}` : code < 0x10000 ? `\\u${hex(code, 4)}` : `\\U${hex(code, 8)}`);
  });
  return quote + (quote === "'" ? escaped.replaceAll("'", "\\'") : escaped) + quote;
}

const hex = (code: number, digits: number): string => code.toString(16).padStart(digits, '0');

/** Python and JavaScript agree on the digits, but not on when to use an exponent. */
export function reprFloat(value: number): string {
  if (!Number.isFinite(value)) return Number.isNaN(value) ? 'nan' : value > 0 ? 'inf' : '-inf';
  if (Object.is(value, -0)) return '-0.0';
  const [mantissa, exponentText] = value.toExponential().split('e') as [string, string];
  const exponent = Number(exponentText);
  if (value !== 0 && (exponent < -4 || exponent >= 16))
    return `${mantissa}e${exponent < 0 ? '-' : '+'}${String(Math.abs(exponent)).padStart(2, '0')}`;
  if (Number.isInteger(value)) return `${BigInt(value)}.0`;
  return exponent < 0 ? value.toFixed(Math.max(0, mantissa.replace(/[-.]/g, '').length - 1 - exponent)) : String(value);
}

export interface JsonStyle {
  readonly indent: number | null;
  readonly ensureAscii: boolean;
  readonly sortKeys: boolean;
  readonly separators: readonly [item: string, key: string];
}

/** `json.dumps(value, ensure_ascii=False, …)`, which transformers puts in the place of Jinja's HTML-safe `tojson`. */
export function dumps(value: Value, style: JsonStyle, depth = 0): string {
  if (isText(value)) return jsonText(value.value, style);
  if (isNone(value)) return 'null';
  if (isBoolean(value)) return String(value.value);
  if (isFloat(value)) return Number.isFinite(value.value) ? reprFloat(value.value) : String(value.value);
  if (value.type === 'IntegerValue') return String(value.value);
  if (isList(value)) {
    return bracket(
      '[',
      value.value.map((item) => dumps(item, style, depth + 1)),
      ']',
      style,
      depth,
    );
  }
  if (isDict(value)) {
    const entries = [...value.value].map(([key, item]) => [String(key), item] as const);
    if (style.sortKeys) entries.sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0));
    const parts = entries.map(([key, item]) => jsonText(key, style) + style.separators[1] + dumps(item, style, depth + 1));
    return bracket('{', parts, '}', style, depth);
  }
  throw new Error(`Object of type ${isUndefined(value) ? 'Undefined' : value.type} is not JSON serializable`);
}

function bracket(open: string, parts: readonly string[], close: string, { indent, separators }: JsonStyle, depth: number): string {
  if (parts.length === 0 || indent === null) return open + parts.join(separators[0]) + close;
  const line = `\n${' '.repeat(indent * (depth + 1))}`;
  return `${open}${line}${parts.join(separators[0] + line)}\n${' '.repeat(indent * depth)}${close}`;
}

function jsonText(value: string, { ensureAscii }: JsonStyle): string {
  const quoted = JSON.stringify(value);
  return ensureAscii ? quoted.replace(/[\u007f-\uffff]/g, (char) => `\\u${hex(char.charCodeAt(0), 4)}`) : quoted;
}
