import assert from 'node:assert/strict';
import { test } from 'node:test';
import { openApiOf } from './openapi.js';
import { sharedFields } from './request-fields.js';
import { routes } from './routes.js';

// biome-ignore lint/suspicious/noExplicitAny: a document is looked at place by place
type Json = any;

test('every route is in the document, with a summary, its answer and its errors', () => {
  const { paths, components, openapi } = openApiOf(routes, '1.2.3') as Json;
  assert.equal(openapi, '3.1.0');
  for (const { method, path, access, summary, needs, body, bodies, query } of routes) {
    const operation = paths[path.replaceAll('*', '{id}')][method.toLowerCase()];
    assert.equal(operation.summary, summary);
    assert.ok(operation.responses[200] !== undefined && operation.responses[503] !== undefined, path);
    assert.equal(operation.responses[401] !== undefined, access === 'key', path);
    assert.equal(operation.requestBody !== undefined, (body ?? bodies) !== undefined, path);
    assert.equal(operation.responses[400] !== undefined, (body ?? bodies ?? query) !== undefined, path);
    if (needs !== undefined) assert.ok(operation.responses[404] !== undefined, path);
  }
  const ids = Object.values(paths).flatMap((path) => Object.values(path as object).map(({ operationId }) => operationId));
  assert.equal(new Set(ids).size, ids.length, 'ids of operations are unique');
  for (const [, name] of JSON.stringify(paths).matchAll(/#\/components\/schemas\/(\w+)"/g)) assert.ok(name! in components.schemas, name);
});

test('a stream is described by one of its events', () => {
  const { paths } = openApiOf(routes, '1.2.3') as Json;
  const schema = paths['/v1/completions'].post.responses[200].content['text/event-stream'].schema;
  assert.deepEqual(schema.required, ['data']);
  assert.deepEqual(schema.properties.data.anyOf[0].contentSchema, {
    anyOf: ['CompletionChunk', 'Error'].map((name) => ({ $ref: `#/components/schemas/${name}` })),
  });
});

test('fields have their type, bounds, default and words', () => {
  const { components } = openApiOf(routes, '1.2.3') as Json;
  const { properties, required, additionalProperties } = components.schemas.ChatCompletionRequest;
  assert.deepEqual(required, ['messages']);
  assert.equal(additionalProperties, false);
  assert.deepEqual(properties.temperature, {
    anyOf: [{ type: 'number', minimum: 0, maximum: 2 }, { type: 'null' }],
    description: "0: greedy; unset: the model author's",
    default: 1,
  });
  assert.deepEqual(properties.store, { anyOf: [{ type: 'null' }, { const: false }], description: 'Refused: nothing is stored' });
  assert.deepEqual(
    Object.keys(properties),
    sharedFields.filter(({ routes }) => routes.includes('chat')).map(({ name }) => name),
  );
});
