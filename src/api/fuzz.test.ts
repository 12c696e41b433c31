/**
 * Random bodies for every route that takes one: values that fit a field's schema, values that do not, and fields of other routes. Whatever
 * comes, the answer is JSON, events or lines, and never a 5xx; and the server answers the next request. LOCKSTEP_FUZZ_RUNS: bodies a route.
 */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { fc } from '../../test/property.js';
import { reasoningFormats } from '../parsing/reasoning-format.js';
import { toolFormats } from '../parsing/tool-formats.js';
import { FakeTokenizer } from './fake-engine.js';
import { type FakeServer, fakeServer, saying } from './fake-exchange.js';
import type { RequestBody } from './fields.js';
import { ModelMarkup } from './model-markup.js';
import { poolingRoutes } from './pooling/routes.js';
import { routes } from './routes.js';
import type { Schema } from './schema.js';

const numRuns = Number(process.env['LOCKSTEP_FUZZ_RUNS'] ?? 30);
const depthMax = 4;
/** The model generates, and so takes none of theirs. */
const pooling = new Set(poolingRoutes.map(({ path }) => path));
const bodies = routes.flatMap(({ method, path, body }) => (method === 'POST' && body !== undefined ? [{ path, body }] : []));
let it: FakeServer;

before(async () => {
  const markup = new ModelMarkup(new FakeTokenizer(), {
    toolFormat: toolFormats.find(({ name }) => name === 'hermes')!,
    autoToolChoice: true,
    reasoningFormat: reasoningFormats[0]!,
  });
  it = await fakeServer({}, saying('<think>a</think>b<tool_call>\n{"name": "f", "arguments": {}}\n</tool_call>'), { markup });
});
after(() => it.close());

const words = fc.constantFrom('', 'a', 'hi', 'fake', 'f', '\u0000', '😀', 'user', 'auto', 'x'.repeat(300));
const numbers = fc.oneof(fc.constantFrom(0, -1, 1, 0.5, 2, 1e9, -1e9, 1e300), fc.integer({ min: -3, max: 40 }));

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

for (const { path, body } of bodies) {
  test(`${path}: no body is answered with a 5xx`, async () => {
    let numTaken = 0;
    await fc.assert(
      fc.asyncProperty(bodiesOf(body), async (random) => {
        const answer = await it.post(path, random);
        const text = await answer.text();
        if (answer.status === 200) numTaken++;
        assert.ok(answer.status < 500, `${answer.status}: ${text}`);
        assert.ok(!text.includes('Internal server error'), text);
        if ((answer.headers.get('content-type') ?? '').startsWith('application/json')) JSON.parse(text);
      }),
      { numRuns },
    );
    if (!pooling.has(path)) assert.ok(numTaken > 0, 'some bodies are right');
    assert.equal((await fetch(`${it.url}/health`)).status, 200);
  });
}
