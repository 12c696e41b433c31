/** Two threads ask one engine, each by a port of its own: the same question has the same answer at both, and their requests share its steps. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { loadServeOptions } from '../../src/cli/options.js';
import { startEngine } from '../../src/cli/start-engine.js';
import { EnginePort } from '../../src/engine/engine-port.js';
import { silentLogger } from '../../src/log.js';
import { ask, packageRoot, promptOf } from './engine.js';

test('both ports hear the same, alone and together', async () => {
  const options = loadServeOptions([join(packageRoot, 'models/guide'), '--no-enable-prefix-caching'], {});
  const onFault = (reason: string) => assert.fail(reason);
  const askers = { numThreads: 2, numOwners: 1 };
  const { engine, links, ready, stop } = await startEngine(options, { logger: silentLogger, environment: {}, onFault, askers });
  await ready;
  const other = new EnginePort(links[0]!);
  other.open();
  const question = { prompt: promptOf(20, 3, 1024), maxTokens: 200, sampling: { n: 2, temperature: 1 } };
  const alone = await ask(engine, question);
  assert.deepEqual(await ask(other, question), { ...alone, facts: { ...alone.facts, queueMs: 0 } });
  const stepsBefore = engine.counters().steps;
  const together = await Promise.all([ask(engine, question), ask(other, question), ask(other, question)]);
  for (const { choices } of together) assert.deepEqual(choices, alone.choices);
  assert.deepEqual(engine.counters(), other.counters());
  assert.ok(engine.counters().steps - stepsBefore < 2 * 200, 'their steps are shared');
  await stop();
});
