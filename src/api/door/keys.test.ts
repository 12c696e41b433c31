import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { Exchange } from '../exchange.js';
import { anybody } from './caller.js';
import { KeyRing, parseKeyFile, plainKeys } from './keys.js';

const withHeaders = (headers: Record<string, string>) => ({ header: (name: string) => headers[name] }) as Exchange;

test('a key in either header, and whose it is', () => {
  const ring = new KeyRing(plainKeys(['one', 'two']));
  assert.equal(ring.callerOf(withHeaders({ authorization: 'Bearer two' }))?.owner, 1);
  assert.equal(ring.callerOf(withHeaders({ authorization: 'bearer  one ' }))?.owner, 0);
  assert.equal(ring.callerOf(withHeaders({ 'x-api-key': 'two' }))?.name, 'key-2');
  for (const headers of [
    {},
    { authorization: 'one' },
    { authorization: 'Basic one' },
    { authorization: 'Bearer' },
    { 'x-api-key': 'three' },
  ])
    assert.equal(ring.callerOf(withHeaders(headers as Record<string, string>)), null);
  assert.equal(new KeyRing([]).callerOf(withHeaders({})), anybody);
});

describe('a file of keys', () => {
  test('lines, comments, rules', () => {
    const keys = parseKeyFile('# ours\nsk-a\n\n  sk-b name=batch weight=0.5 tokens-per-minute=1000\r\n', 'keys');
    assert.deepEqual(keys, [
      { key: 'sk-a', name: 'line-2', weight: 1, requestsPerMinute: null, tokensPerMinute: null },
      { key: 'sk-b', name: 'batch', weight: 0.5, requestsPerMinute: null, tokensPerMinute: 1000 },
    ]);
  });

  for (const [line, message] of [
    ['secret weigth=2', /line 1: there is no 'weigth'; there are: name, weight/],
    ['secret weight=-1', /line 1: weight must be a number above 0, not '-1'/],
    ['secret other', /line 1: behind the key stands/],
  ] as const) {
    test(line, () => {
      assert.throws(() => parseKeyFile(line, 'keys'), message);
      assert.throws(
        () => parseKeyFile(line, 'keys'),
        (error: Error) => !error.message.includes('secret'),
      );
    });
  }
});
