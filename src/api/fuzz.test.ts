/**
 * Random bodies for every route that takes one. Whatever comes, the answer is JSON, events or lines, and never a 5xx; and the server answers
 * the next request. LOCKSTEP_FUZZ_RUNS: bodies a route.
 */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { fc } from '../../test/property.js';
import { reasoningFormats } from '../parsing/reasoning-format.js';
import { toolFormats } from '../parsing/tool-formats.js';
import { FakeTokenizer } from './fake-engine.js';
import { type FakeServer, fakeServer, saying } from './fake-exchange.js';
import { ModelMarkup } from './model-markup.js';
import { randomBodies } from './random-bodies.js';

const numRuns = Number(process.env['LOCKSTEP_FUZZ_RUNS'] ?? 30);
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

for (const { path, pools, bodies } of randomBodies) {
  test(`${path}: no body is answered with a 5xx`, async () => {
    let numTaken = 0;
    await fc.assert(
      fc.asyncProperty(bodies, async (random) => {
        const answer = await it.post(path, random);
        const text = await answer.text();
        if (answer.status === 200) numTaken++;
        assert.ok(answer.status < 500, `${answer.status}: ${text}`);
        assert.ok(!text.includes('Internal server error'), text);
        if ((answer.headers.get('content-type') ?? '').startsWith('application/json')) JSON.parse(text);
      }),
      { numRuns },
    );
    // The model generates, and so takes none of those that pool.
    if (!pools) assert.ok(numTaken > 0, 'some bodies are right');
    assert.equal((await fetch(`${it.url}/health`)).status, 200);
  });
}
