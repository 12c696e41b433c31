/** JSON numbers within bounds, as automata over their digits. */
import { LockstepError } from '../errors.js';
import { type CharDfa, type CharEdge, complementDfa, explore, intersectDfas } from './char-dfa.js';
import { regexDfa } from './regex.js';

export interface NumberBounds {
  readonly integer: boolean;
  /** Of the decimal text of a JavaScript number; null: none. */
  readonly least: Bound | null;
  readonly most: Bound | null;
  /** Integers only; null: any. */
  readonly multipleOf: number | null;
  /** Numbers that it must not be. */
  readonly except: readonly number[];
  /** It must not be an integer. */
  readonly fraction: boolean;
}

export interface Bound {
  readonly value: number;
  readonly exclusive: boolean;
}

/** Digits of a number without bounds: it fits in 64 bits, and a model cannot write digits for ever. */
const freeDigits = 18;
/** Digits with bounds: so many decimal digits tell any two doubles apart, and each reads as itself. */
const boundDigits = 15;
export const multipleMax = 1000;

/** Within +-1e99, so that no reader takes it for infinite. */
export const anyNumber = regexDfa(`-?(?:0|[1-9][0-9]{0,${freeDigits - 1}})(?:\\.[0-9]{1,${freeDigits - 1}})?(?:[eE][+-]?[0-9]{1,2})?`, {
  search: false,
});
const anyInteger = regexDfa(`0|-?[1-9][0-9]{0,${freeDigits - 1}}`, { search: false });

const withFraction = regexDfa('-?[0-9]+\\.[0-9]*[1-9][0-9]*', { search: false });

/** Numbers in plain decimal notation unless any will do; empty where no number of `boundDigits` digits is within the bounds. */
export function numberDfa(bounds: NumberBounds): CharDfa {
  const { integer, least, most, multipleOf, except, fraction } = bounds;
  const isFree = least === null && most === null && multipleOf === null && except.length === 0 && !fraction;
  if (isFree) return integer ? anyInteger : anyNumber;
  const within = digitsDfa(bounds);
  const others =
    except.length === 0 ? within : intersectDfas(within, complementDfa(regexDfa(except.map(writings).join('|'), { search: false })));
  return fraction ? intersectDfas(others, withFraction) : others;
}

/** Every way to write a number without an exponent. */
function writings(value: number): string {
  const { negative, whole, fraction } = decimalOf(value);
  const sign = value === 0 ? '-?' : negative ? '-' : '';
  return fraction === '' ? `${sign}${whole}(?:\\.0+)?` : `${sign}${whole}\\.${fraction}0*`;
}

function digitsDfa({ integer, least, most, multipleOf }: NumberBounds): CharDfa {
  const lower = least === null ? null : { ...least, digits: decimalOf(least.value) };
  const upper = most === null ? null : { ...most, digits: decimalOf(most.value) };
  const start: Place = { at: 'start', negative: false, count: 0, lower: 0, upper: 0, rest: 0, total: 0 };
  return explore(
    start,
    (place) => Object.values(place).join(),
    (place) => digitEdges(place, integer, lower, upper, multipleOf),
    (place) => isWithin(place, lower, upper),
  );
}

/** How far a number has been written. */
interface Place {
  readonly at: 'start' | 'sign' | 'zero' | 'whole' | 'point' | 'fraction';
  readonly negative: boolean;
  /** Digits so far: before the point, or behind it once that has come. */
  readonly count: number;
  /** Whether the digits so far are below (-1), equal to (0) or above (1) as many digits of the bounds. */
  readonly lower: number;
  readonly upper: number;
  /** Of the division by `multipleOf`. */
  readonly rest: number;
  /** All digits so far. */
  readonly total: number;
}

interface Decimal {
  readonly negative: boolean;
  readonly whole: string;
  readonly fraction: string;
}
type DecimalBound = Bound & { readonly digits: Decimal };

/** The shortest decimal that reads as `value`, without an exponent. */
function decimalOf(value: number): Decimal {
  const negative = value < 0;
  const [mantissa, exponent] = Math.abs(value).toExponential().split('e') as [string, string];
  const digits = mantissa.replace('.', '');
  const point = Number(exponent) + 1; // digits before the point
  const whole = point <= 0 ? '0' : digits.slice(0, point).padEnd(point, '0');
  const fraction = point <= 0 ? '0'.repeat(-point) + digits : digits.slice(point);
  return { negative, whole: whole.replace(/^0+(?=\d)/, ''), fraction: fraction.replace(/0+$/, '') };
}

function digitEdges(
  place: Place,
  integer: boolean,
  lower: DecimalBound | null,
  upper: DecimalBound | null,
  multipleOf: number | null,
): CharEdge<Place>[] {
  const out: CharEdge<Place>[] = [];
  const add = (char: string, to: Place) => {
    const code = char.charCodeAt(0);
    out.push({ lo: code, hi: code, to });
  };
  const { at, count, total } = place;
  const digit = (value: number, next: Place['at'], index: number, behindPoint: boolean): Place => ({
    ...place,
    at: next,
    count: index + 1,
    total: total + 1,
    lower: compare(place.lower, value, lower, index, behindPoint),
    upper: compare(place.upper, value, upper, index, behindPoint),
    rest: multipleOf === null ? 0 : (place.rest * 10 + value) % multipleOf,
  });
  if (at === 'start') add('-', { ...place, at: 'sign', negative: true });
  if (at === 'start' || at === 'sign') {
    // Minus zero is a float's zero, and an integer has only one.
    if (at === 'start' || !integer) add('0', settle(digit(0, 'zero', 0, false), lower, upper));
    for (let value = 1; value <= 9; value++) add(String(value), digit(value, 'whole', 0, false));
  } else if (at === 'whole' && total < boundDigits) {
    for (let value = 0; value <= 9; value++) add(String(value), digit(value, 'whole', count, false));
  }
  if ((at === 'zero' || at === 'whole') && !integer && total < boundDigits) {
    add('.', { ...settle(place, lower, upper), at: 'point', count: 0 });
  } else if ((at === 'point' || at === 'fraction') && total < boundDigits) {
    for (let value = 0; value <= 9; value++) add(String(value), digit(value, 'fraction', at === 'point' ? 0 : count, true));
  }
  return out;
}

/** Behind one more digit. Before the point numbers of other lengths are told apart by `settle`. */
function compare(so: number, digit: number, bound: DecimalBound | null, index: number, behindPoint: boolean): number {
  if (bound === null || so !== 0) return so;
  const digits = behindPoint ? bound.digits.fraction : bound.digits.whole;
  const other = index < digits.length ? Number(digits[index]) : behindPoint ? 0 : digit;
  return Math.sign(digit - other);
}

/** At the end of the whole part: one of more digits is larger, whatever they are. */
function settle(place: Place, lower: DecimalBound | null, upper: DecimalBound | null): Place {
  const side = (so: number, bound: DecimalBound | null) =>
    bound === null || place.count === bound.digits.whole.length ? so : Math.sign(place.count - bound.digits.whole.length);
  return { ...place, lower: side(place.lower, lower), upper: side(place.upper, upper) };
}

function isWithin(place: Place, lower: DecimalBound | null, upper: DecimalBound | null): boolean {
  if (place.at === 'start' || place.at === 'sign' || place.at === 'point') return false;
  if (place.rest !== 0) return false;
  const done = place.at === 'whole' ? settle(place, lower, upper) : place;
  return isOnSide(done, done.lower, lower, 1) && isOnSide(done, done.upper, upper, -1);
}

/** Whether the number is on the right side of a bound; `direction` 1: it must not be below, -1: not above. */
function isOnSide(place: Place, magnitude: number, bound: DecimalBound | null, direction: number): boolean {
  if (bound === null) return true;
  const zeroBound = bound.digits.whole === '0' && bound.digits.fraction === '';
  let order: number; // of the number to the bound
  if (place.negative !== bound.digits.negative && !zeroBound) order = place.negative ? -1 : 1;
  else order = remainder(place, magnitude, bound) * (place.negative ? -1 : 1);
  return order === 0 ? !bound.exclusive : order === direction;
}

/** Where all digits so far agree, those that the bound has besides make it larger. */
function remainder(place: Place, magnitude: number, bound: DecimalBound): number {
  if (magnitude !== 0) return magnitude;
  const written = place.at === 'fraction' ? place.count : 0;
  return bound.digits.fraction.length > written ? -1 : 0;
}

/** Refuses what has no meaning, or more of it than the automaton holds. */
export function checkMultiple(value: unknown, place: string): number {
  if (typeof value === 'number' && Number.isInteger(value) && value >= 1 && value <= multipleMax) return value;
  throw new LockstepError(
    'invalid_value',
    `The JSON schema cannot be kept: \`multipleOf\` at ${place} must be an integer of 1 to ${multipleMax}.`,
  );
}
