/**
 * How models write tool calls, as data: a row a format. What reads them is `output-parser.ts`, the same for all. Markers are without the
 * white space around them, since models put more or less of it there; white space inside of one stands for any amount.
 */

export interface ToolFormat {
  readonly name: string;
  /** Each tells that calls follow. None is the beginning of another one. */
  readonly opens: readonly string[];
  /** Each ends a run of calls. */
  readonly closes: readonly string[];
  /** An answer may also begin with a call and no marker; its name must then be a known one. */
  readonly bare?: true;
  /** What may stand behind a marker; tried in order. */
  readonly calls: readonly CallShape[];
  /** How calls are written whose arguments are held to a schema; null: in the common format, as those of this one cannot be. */
  readonly written: WrittenCalls | null;
  /** Characters of a call's id, letters and digits; unset: the API's own kind of id. */
  readonly callIdLen?: number;
  /** The template that a model of this format brings. */
  readonly isOf?: (template: string) => boolean;
}

/** `open`, calls with `separator` between them, `close`. A call is `begin`, its name, `nameEnd`, its arguments, `end`. */
export interface WrittenCalls {
  readonly open: string;
  readonly begin: string;
  readonly nameEnd: string;
  readonly arguments: WrittenArguments;
  readonly end: string;
  readonly separator: string;
  readonly close: string;
}

/** A JSON object; `begin`, a key, `keyEnd`, its value, `end` for each; `key=value, key=value` as Python has it; or `key:value,key:value`. */
export type WrittenArguments =
  | { readonly kind: 'json' }
  | ({ readonly kind: 'parameters' } & ParameterMarkup)
  | { readonly kind: 'python' }
  | ({ readonly kind: 'quoted' } & QuotedMarkup);

/** Keys that can be written so; '^' and '$' left out. */
export const writtenKeys: Readonly<Record<WrittenArguments['kind'], string>> = {
  json: '[^]*',
  parameters: '[^\\s<>"\'=|]{1,200}',
  python: '[A-Za-z_][A-Za-z0-9_]{0,200}',
  quoted: '[A-Za-z_][A-Za-z0-9_-]{0,200}',
};

export type CallShape = ObjectCall | NamedCall | PythonCall;

/** `{"name": "f", "arguments": {…}}`, alone or several in a list. */
export interface ObjectCall {
  readonly kind: 'object';
  readonly nameKey: string;
  readonly argumentKeys: readonly string[];
}

/** `begin`, the name, `nameEnd`, the arguments, `end`. */
export interface NamedCall {
  readonly kind: 'named';
  readonly begin: string;
  /** '': the beginning of the arguments ends the name. The first `{` of JSON does so too. */
  readonly nameEnd: string;
  readonly arguments: 'json' | ParameterMarkup | QuotedMarkup;
  readonly end: string;
}

/**
 * `begin`, the key, `keyEnd`, the value, `end`; for each argument. A value is text where its type is a string's, else JSON; with
 * `jsonKeyEnd` it is text behind `keyEnd` and JSON behind that.
 */
export interface ParameterMarkup {
  readonly begin: string;
  readonly keyEnd: string;
  readonly jsonKeyEnd?: string;
  readonly end: string;
}

/** `key:value,key:value` up to a `}`: JSON, but keys are bare and strings stand between two `quote`s, as they are. */
export interface QuotedMarkup {
  readonly quote: string;
}

/** `f(city='Oslo', days=[1, 2])`, in a list. */
export interface PythonCall {
  readonly kind: 'python';
}
