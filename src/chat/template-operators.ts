/** What `+`, `*`, `%` and the rest do to values, and range(): all that can make something large out of something small, so the bounds are here. */
import {
  ArrayValue,
  escapeHtml,
  FloatValue,
  integer,
  isFloat,
  isList,
  isNone,
  isText,
  isUndefined,
  MarkupValue,
  none,
  numberOf,
  repr,
  str,
  TupleValue,
  text,
  type Value,
} from './template-values.js';

/** Longest range() and list, and most characters that any text of a render may have. */
export const rangeLenMax = 100_000;
export const textLenMax = 32 * 1024 * 1024;

/** The template went past a bound. */
export class TemplateBoundError extends Error {}

/** Before the text is made. */
export function checkTextLen(length: number): void {
  if (length > textLenMax) throw new TemplateBoundError(`the chat template makes a text of more than ${textLenMax} characters`);
}

export function joined(left: string, right: string): string {
  checkTextLen(left.length + right.length);
  return left + right;
}

export function arithmetic(operator: string, left: Value, right: Value): Value {
  const [a, b] = [numberOf(left), numberOf(right)];
  if (a !== null && b !== null) return calculate(operator, a, b, isFloat(left) || isFloat(right));
  if (operator === '+' && isText(left) && isText(right)) return concatenated(left, right);
  if (operator === '+' && isList(left) && isList(right)) {
    if (left.value.length + right.value.length > rangeLenMax)
      throw new TemplateBoundError(`the chat template makes a list of more than ${rangeLenMax} items`);
    return new ArrayValue([...left.value, ...right.value]);
  }
  if (operator === '*' && isText(left) && b !== null) return repeated(left.value, b);
  if (operator === '*' && isText(right) && a !== null) return repeated(right.value, a);
  if (operator === '%' && isText(left)) return percentFormat(left.value, right);
  const kind = (value: Value) => (isUndefined(value) ? 'undefined' : isNone(value) ? 'None' : value.type.replace('Value', ''));
  throw new Error(`unsupported operands for ${operator}: ${kind(left)} and ${kind(right)}`);
}

function concatenated(left: Value & { readonly value: string }, right: Value & { readonly value: string }): Value {
  if (left instanceof MarkupValue || right instanceof MarkupValue) return new MarkupValue(joined(escapeHtml(left), escapeHtml(right)));
  return text(joined(left.value, right.value));
}

function repeated(value: string, times: number): Value {
  checkTextLen(value.length * times);
  return text(value.repeat(Math.max(0, times)));
}

/** `'%s: %d' % (a, b)`; no widths. */
function percentFormat(pattern: string, operand: Value): Value {
  const values = operand instanceof TupleValue ? [...operand.value] : [operand];
  return text(
    pattern.replace(/%([sdr%])/g, (_, kind: string) =>
      kind === '%' ? '%' : kind === 'r' ? repr(values.shift() ?? none) : str(values.shift() ?? none),
    ),
  );
}

function calculate(operator: string, a: number, b: number, float: boolean): Value {
  const result = (value: number): Value => (float ? new FloatValue(value) : integer(value));
  if (b === 0 && (operator === '/' || operator === '//' || operator === '%')) throw new Error('division by zero');
  switch (operator) {
    case '+':
      return result(a + b);
    case '-':
      return result(a - b);
    case '*':
      return result(a * b);
    case '/':
      return new FloatValue(a / b);
    case '//':
      return result(Math.floor(a / b));
    case '%':
      return result(a - b * Math.floor(a / b));
    case '**':
      return float || b < 0 ? new FloatValue(a ** b) : integer(a ** b);
    default:
      throw new Error(`unknown operator ${operator}`);
  }
}

/** range(), with a bound. */
export function range(args: readonly Value[]): Value {
  const numbers = args.map((arg) => numberOf(arg) ?? Number.NaN);
  const [start, stop, step] = numbers.length === 1 ? [0, numbers[0]!, 1] : [numbers[0]!, numbers[1]!, numbers[2] ?? 1];
  const length = Math.ceil((stop - start) / step);
  if (!Number.isFinite(length) || step === 0) throw new Error('range() needs whole numbers and a step that is not zero');
  if (length > rangeLenMax)
    throw new TemplateBoundError(`the chat template asks for a range of ${length} numbers; at most ${rangeLenMax} are made`);
  return new ArrayValue(Array.from({ length: Math.max(0, length) }, (_, i) => integer(start + i * step)));
}
