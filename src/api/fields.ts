/**
 * A request body as a table: a row a field, with its schema, its range and what is done with it. Validation, the refusal of unknown fields,
 * /openapi.json and the README's table come from the rows. What a value means is the route files'.
 *
 * A route has its own table (`requestBody`), declares it in its row of `routes.ts` and gives it to `readRequest` or `readGenerating` of
 * `request.ts`, which hold the body against it.
 */
import { isDeepStrictEqual } from 'node:util';
import { LockstepError } from '../errors.js';
import type { JsonObject } from './json-object.js';
import { type Fault, findFault, isInRange, type Schema } from './schema.js';

export interface Field {
  readonly name: string;
  /** Of values other than null, which every field takes for "not given". A value that does not fit is a `Bad Request`, as vLLM's are. */
  readonly schema: Schema;
  /**
   * honoured: has its effect. accepted: asks nothing of the output, so that there is nothing to do. refused: known from OpenAI or vLLM but
   * not served here; only its neutral values pass.
   */
  readonly use: 'honoured' | 'accepted' | 'refused';
  readonly help: string;
  /** With words of vLLM's, it is a `BadRequestError` where the field is not given. */
  readonly required?: true | string;
  /** What holds where the field is not given, if it is a value. */
  readonly default?: unknown;
  /** Ranges that vLLM checks after types: a value outside is a `BadRequestError`, in vLLM's words. */
  readonly limits?: readonly Limit[];
  /** Bounds that the server's flags or other fields set, for people. */
  readonly range?: string;
  /** With 'refused': values besides null that ask for nothing. */
  readonly neutral?: readonly unknown[];
  /** With 'refused': vLLM's own words where it refuses too. */
  readonly refusal?: string;
}

export interface Limit extends Pick<Schema, 'minimum' | 'maximum' | 'exclusiveMinimum'> {
  /** What the value must be. */
  readonly words: string;
  /** vLLM names the parameter. */
  readonly named?: true;
}

/** Chat's name of a field -> the name that it has in another API; `[]` is any index. */
export type FieldNames = Readonly<Record<string, string>>;

/** The schema with the limits in it. */
export function boundedSchema({ schema, limits = [] }: Field): Schema {
  const bounds: { minimum?: number; maximum?: number; exclusiveMinimum?: number } = {};
  for (const { minimum, maximum, exclusiveMinimum } of limits) {
    if (minimum !== undefined) bounds.minimum = minimum;
    if (maximum !== undefined) bounds.maximum = maximum;
    if (exclusiveMinimum !== undefined) bounds.exclusiveMinimum = exclusiveMinimum;
  }
  return { ...schema, ...bounds };
}

export interface RequestBody {
  /** Of its schema in /openapi.json. */
  readonly name: string;
  readonly fields: ReadonlyMap<string, Field>;
}

/** Throws where a name is there twice. */
export function requestBody(name: string, rows: readonly Field[]): RequestBody {
  const fields = new Map(rows.map((row) => [row.name, row]));
  if (fields.size !== rows.length) throw new Error(`a field is twice in ${name}`);
  return { name, fields };
}

/** `--unknown-fields`: 400, or let pass with a Warning header. */
export type UnknownFields = 'refuse' | 'warn';

/**
 * Throws for a field that is not as its row says, for one that cannot be honoured and for one that is missing. Returns the unknown fields
 * that were let pass.
 */
export function checkFields(body: JsonObject, { fields }: RequestBody, unknownFields: UnknownFields): string[] {
  const passed: string[] = [];
  for (const name of Object.keys(body)) {
    const field = fields.get(name);
    const value = body[name];
    if (field === undefined) {
      if (unknownFields === 'refuse') throw unrecognized(name);
      passed.push(name);
    } else if (value !== null && value !== undefined) {
      if (field.use === 'refused') refuse(field, value);
      else checkValue(field, value, unknownFields, passed);
    }
  }
  for (const { name, required } of fields.values()) {
    if (required === undefined || (body[name] !== null && body[name] !== undefined)) continue;
    if (required === true) throw new LockstepError('invalid_body', `${name} is required.`, { param: `body.${name}` });
    throw new LockstepError('invalid_value', required, { param: name });
  }
  return passed;
}

function checkValue({ name, schema, limits = [] }: Field, value: unknown, unknownFields: UnknownFields, passed: string[]): void {
  let fault = findFault(schema, value);
  if (fault !== null && fault.expected === null && unknownFields === 'warn') {
    passed.push([name, ...fault.path].join('.'));
    fault = findFault(schema, value, true);
  }
  if (fault !== null) throw faultError(name, fault);
  for (const limit of limits) if (!isInRange(limit, value as number)) throw outside(name, schema, limit, value as number);
}

function faultError(name: string, { path, expected }: Fault): LockstepError {
  const place = [name, ...path].join('.');
  return expected === null ? unrecognized(place) : wrongType(place, expected);
}

export const unrecognized = (name: string) =>
  new LockstepError('invalid_body', `Unrecognized request argument supplied: ${name}`, { param: name });

export const wrongType = (place: string, expected: string) =>
  new LockstepError('invalid_body', `${place} must be ${expected}.`, { param: `body.${asVllmNames(place)}` });

/** A message without a role: vLLM names the first kind of message that it tried. */
const asVllmNames = (place: string) => place.replace(/^(messages\.\d+)\.role$/, '$1.ChatCompletionDeveloperMessageParam.role');

function outside(name: string, { type }: Schema, { words, named }: Limit, value: number): LockstepError {
  const shown = type === 'number' ? float(value) : String(value);
  const suffix = named === true ? ` (parameter=${name}, value=${shown})` : '';
  return new LockstepError('invalid_value', `${name} must be ${words}, got ${shown}.${suffix}`, named === true ? { param: name } : {});
}

/** A number as vLLM's messages show it: floats with a point. */
export const float = (value: number) => (Number.isInteger(value) && Math.abs(value) < 1e16 ? value.toFixed(1) : String(value));

function refuse({ name, neutral, refusal }: Field, value: unknown): void {
  if (neutral?.some((each) => isDeepStrictEqual(each, value))) return;
  throw new LockstepError('invalid_value', refusal ?? `\`${name}\` is not supported by this server. Leave it out.`, { param: name });
}
