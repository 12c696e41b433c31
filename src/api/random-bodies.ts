/**
 * For tests: random bodies for every route that takes one, of values that fit a field's schema, values that do not, and fields of other
 * routes.
 */
import fc from 'fast-check';
import type { RequestBody } from './fields.js';
import { poolingRoutes } from './pooling/routes.js';
import { routes } from './routes.js';
import type { Schema } from './schema.js';

const depthMax = 4;

const words = fc.constantFrom('', 'a', 'hi', 'fake', 'f', '\u0000', '😀', 'user', 'auto', 'x'.repeat(300));
const numbers = fc.oneof(fc.constantFrom(0, -1, 1, 0.5, 2, 1e9, -1e9, 1e300, 1e-300), fc.integer({ min: -3, max: 40 }));

/** Mostly values that fit. */
function valuesOf(schema: Schema, depth = 0): fc.Arbitrary<unknown> {
  if (schema.enum !== undefined) return fc.constantFrom(...schema.enum);
  if (schema.anyOf !== undefined) return fc.oneof(...schema.anyOf.map((choice) => valuesOf(choice, depth)));
  if (depth > depthMax) return fc.constant(null);
  switch (schema.type) {
    case 'string':
      return words;
    case 'integer':
      return fc.oneof(fc.integer({ min: schema.minimum ?? -3, max: schema.maximum ?? 40 }), numbers.map(Math.round));
    case 'number':
      return numbers;
    case 'boolean':
      return fc.boolean();
    case 'null':
      return fc.constant(null);
    case 'array':
      return fc.array(valuesOf(schema.items ?? {}, depth + 1), { maxLength: 3 });
    case 'object':
      return objectsOf(schema, depth);
    default:
      return fc.jsonValue({ maxDepth: 2 });
  }
}

function objectsOf({ properties = {}, required = [] }: Schema, depth: number): fc.Arbitrary<unknown> {
  const own = Object.fromEntries(Object.entries(properties).map(([name, schema]) => [name, valuesOf(schema, depth + 1)]));
  if (Object.keys(own).length === 0) return fc.dictionary(words, fc.jsonValue({ maxDepth: 1 }), { maxKeys: 2 });
  return fc.record(own, { requiredKeys: [...required] });
}

function bodiesOf({ fields }: RequestBody): fc.Arbitrary<Record<string, unknown>> {
  const rows = [...fields.values()];
  const values = rows.map(({ name, schema }) =>
    fc.tuple(
      fc.constant(name),
      fc.oneof({ weight: 12, arbitrary: valuesOf(schema) }, { weight: 1, arbitrary: fc.jsonValue({ maxDepth: 2 }) }),
    ),
  );
  const always = rows.flatMap(({ name, required }, i) => (required !== undefined || name === 'messages' ? [values[i]!] : []));
  return fc
    .tuple(fc.tuple(...always), fc.array(fc.oneof(...values), { maxLength: 6 }))
    .map(([needed, some]) => Object.fromEntries([...some, ...needed]));
}

export interface RandomBodies {
  readonly path: string;
  /** What it does takes a model that gives vectors. */
  readonly pools: boolean;
  readonly bodies: fc.Arbitrary<Record<string, unknown>>;
}

const pooling = new Set(poolingRoutes.map(({ path }) => path));

/** A line a route with bodies. */
export const randomBodies: readonly RandomBodies[] = routes.flatMap(({ method, path, body, bodies }) => {
  const possible = bodies ?? (body === undefined ? [] : [body]);
  if (method !== 'POST' || possible.length === 0) return [];
  return [{ path, pools: pooling.has(path), bodies: fc.oneof(...possible.map(bodiesOf)) }];
});
