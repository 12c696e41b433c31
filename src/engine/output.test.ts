import assert from 'node:assert/strict';
import { test } from 'node:test';
import { LockstepError } from '../errors.js';
import type { Tokenizer } from '../tokenizer/tokenizer.js';
import type { EngineClient, RequestEvents } from './client.js';
import { generate, type TextDelta } from './output.js';
import type { GenerationRequest } from './request.js';

/** Ids are bytes; 256 ends. */
const tokenizer = {
  decodeStream: () => {
    const decoder = new TextDecoder();
    return { push: (id: number) => (id > 255 ? '' : decoder.decode(Uint8Array.of(id), { stream: true })), flush: () => decoder.decode() };
  },
} as unknown as Tokenizer;

function start(stop: Partial<GenerationRequest['stop']>) {
  let events: RequestEvents | undefined;
  const finished: number[] = [];
  const client = {
    submit: (_request: unknown, given: RequestEvents) => (events = given),
    finishChoice: (_id: string, choice: number) => finished.push(choice),
  };
  const rule = {
    eosTokenIds: [256],
    stopTokenIds: [],
    stopStrings: [],
    includeStopString: false,
    ignoreEos: false,
    minTokens: 0,
    maxTokens: 100,
    ...stop,
  };
  const request = { id: 'r', promptTokens: Int32Array.of(65), sampling: { n: 1 }, stop: rule } as unknown as GenerationRequest;
  const deltas: TextDelta[] = [];
  const sink = { prompt: () => undefined, delta: (delta: TextDelta) => deltas.push(delta), closed: () => undefined };
  generate(client as unknown as EngineClient, tokenizer, request, { skipSpecialTokens: true }, sink);
  return {
    deltas,
    finished,
    push: (...ids: number[]) => events!.tokens({ choice: 0, ids, logprobs: null }),
    type(text: string) {
      for (const byte of Buffer.from(text)) this.push(byte);
    },
    end: (finishReason: 'stop' | 'length' | 'error', stopTokenId: number | null = null) =>
      events!.end({
        choice: 0,
        finishReason,
        stopTokenId,
        error: finishReason === 'error' ? new LockstepError('internal', 'broken') : null,
      }),
    text: () => deltas.map(({ text }) => text).join(''),
  };
}

test('a delta for each step, and the last carries the end', () => {
  const run = start({ maxTokens: 2 });
  run.type('ab');
  run.end('length');
  assert.deepEqual(
    run.deltas.map(({ text, finishReason }) => [text, finishReason]),
    [
      ['a', null],
      ['b', 'length'],
    ],
  );
  assert.equal(run.deltas[1]!.ids.length, 1);
});

test('an end-of-sequence token has an id and no text', () => {
  const run = start({});
  run.push(97);
  run.push(256);
  run.end('stop');
  assert.deepEqual(
    run.deltas.map(({ text, finishReason }) => [text, finishReason]),
    [
      ['a', null],
      ['', 'stop'],
    ],
  );
  assert.deepEqual([...run.deltas[1]!.ids], [256]);
});

test('a stop token id is the stop reason; its text shows only when asked for', () => {
  for (const includeStopString of [false, true]) {
    const run = start({ stopTokenIds: [98], includeStopString });
    run.type('ab');
    run.end('stop', 98);
    assert.equal(run.text(), includeStopString ? 'ab' : 'a');
    assert.equal(run.deltas.at(-1)!.stopReason, 98);
  }
});

test('a stop string across tokens: held back, cut off, and the choice is finished', () => {
  const run = start({ stopStrings: ['END'] });
  run.type('xENxEND');
  assert.equal(run.text(), 'xENx');
  assert.equal(run.deltas.at(-1)!.finishReason, 'stop');
  assert.equal(run.deltas.at(-1)!.stopReason, 'END');
  assert.deepEqual(run.finished, [0]);
  run.type('late');
  assert.equal(run.text(), 'xENx');
});

test('the first stop string in the text wins, whichever is listed first', () => {
  const run = start({ stopStrings: ['yz', 'x'] });
  run.push(...Buffer.from('axyz'));
  assert.equal(run.text(), 'a');
  assert.equal(run.deltas[0]!.stopReason, 'x');
});

test('an included stop string is part of the text, and nothing after it', () => {
  const run = start({ stopStrings: ['END'], includeStopString: true });
  run.push(...Buffer.from('aENDb'));
  assert.equal(run.text(), 'aEND');
});

test('several tokens of a step: the same text, tokens and end as one by one', () => {
  const text = 'some END of an ENDing that ENDS';
  for (const stop of [
    { stopStrings: ['ENDi'] },
    { stopStrings: ['END'], minTokens: 9 },
    { stopStrings: ['NDS', 'x'], includeStopString: true },
  ]) {
    const outcomes = [1, 2, 3, 5, 100].map((size) => {
      const run = start(stop);
      const ids = [...Buffer.from(text)];
      for (let at = 0; at < ids.length; at += size) run.push(...ids.slice(at, at + size));
      const numIds = run.deltas.reduce((sum, delta) => sum + delta.ids.length, 0);
      return [run.text(), numIds, run.deltas.at(-1)!.finishReason, run.deltas.at(-1)!.stopReason];
    });
    for (const outcome of outcomes) assert.deepEqual(outcome, outcomes[0]);
    assert.equal(outcomes[0]![2], 'stop');
  }
});

test('what was held back comes with the end', () => {
  const run = start({ stopStrings: ['ENDE'], maxTokens: 4 });
  run.type('aEND');
  assert.equal(run.text(), '');
  run.end('length');
  assert.equal(run.text(), 'aEND');
});

test('no stop string before min_tokens', () => {
  const run = start({ stopStrings: ['a'], minTokens: 2 });
  run.type('aab');
  assert.equal(
    run.deltas.some(({ finishReason }) => finishReason === 'stop'),
    false,
  );
  run.type('a');
  assert.equal(run.deltas.at(-1)!.finishReason, 'stop');
});

test('characters of several tokens come whole; an incomplete one at the end is U+FFFD', () => {
  const run = start({ maxTokens: 5 });
  run.type('é');
  assert.deepEqual(
    run.deltas.map(({ text }) => text),
    ['', 'é'],
  );
  run.push(0xc3);
  run.push(97);
  run.push(0xc3);
  run.end('length');
  assert.equal(run.text(), 'é\ufffda\ufffd');
});

test('an error keeps its message', () => {
  const run = start({});
  run.push(97);
  run.end('error');
  assert.equal(run.deltas.at(-1)!.error?.message, 'broken');
  assert.equal(run.deltas.at(-1)!.finishReason, 'error');
});

test('an output that goes round in circles ends, with what was held back', () => {
  const repetition = { minPattern: 2, maxPattern: 4, minCount: 3 };
  for (const step of [1, 2, 7]) {
    const run = start({ repetition, stopStrings: ['zzz'] });
    const ids = [...Buffer.from('xabababab')];
    for (let at = 0; at < ids.length; at += step) run.push(...ids.slice(at, at + step));
    assert.equal(run.text(), 'xababab', `${step} at a time`);
    assert.deepEqual([run.deltas.at(-1)!.finishReason, run.deltas.at(-1)!.stopReason], ['repetition', 'repetition_detected']);
    assert.deepEqual(run.finished, [0]);
  }
  const patient = start({ repetition, minTokens: 8 });
  patient.type('xabababab');
  assert.equal(patient.text(), 'xabababa');
});
