/**
 * JSON as Python reads it: 1.0 stays a float. Tool schemas are printed into prompts, and `1.0` and `1` are different tokens there. Only values that
 * are whole need the mark; others are floats anyway.
 */

/** A whole number that was written as a float. */
export class PythonFloat {
  readonly value: number;

  constructor(value: number) {
    this.value = value;
  }

  toJSON(): number {
    return this.value;
  }
}

const stringOrNumber = /"(?:[^"\\]|\\.)*"|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?/g;
const mark = '\u0000float';

/** `JSON.parse`, with `PythonFloat` in place of whole numbers that have a point or an exponent. Throws `SyntaxError` as that does. */
export function parseJsonKeepingNumbers(text: string): unknown {
  let found = false;
  const marked = text.replace(stringOrNumber, (token) => {
    if (token.startsWith('"') || !/[.eE]/.test(token) || !Number.isInteger(Number(token))) return token;
    found = true;
    return `{${JSON.stringify(mark)}:${token}}`;
  });
  if (!found) return JSON.parse(text);
  try {
    return JSON.parse(marked, (_, value: unknown) => (isMarked(value) ? new PythonFloat(value[mark]) : value));
  } catch {
    return JSON.parse(text); // throws, with the position in what the client wrote
  }
}

function isMarked(value: unknown): value is { readonly [mark]: number } {
  return typeof value === 'object' && value !== null && Object.hasOwn(value, mark);
}
