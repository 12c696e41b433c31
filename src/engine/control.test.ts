import assert from 'node:assert/strict';
import { test } from 'node:test';
import { EngineControl } from './control.js';

function start() {
  const calls: string[] = [];
  const scheduler = {
    still: false,
    hold: (held: boolean) => calls.push(held ? 'hold' : 'let in'),
    preemptAll: () => calls.push('preempt'),
    forgetPrefixes: () => calls.push('forget'),
    isStill: () => scheduler.still,
  };
  return { calls, scheduler, control: new EngineControl(scheduler as never) };
}

test('it is asleep once nothing runs, and only then are prefixes forgotten', () => {
  const { calls, scheduler, control } = start();
  control.begin(1, { kind: 'sleep', mode: 'wait', forget: true });
  assert.deepEqual(control.take(), []);
  assert.deepEqual([calls, control.asleep], [['hold'], false]);
  scheduler.still = true;
  assert.deepEqual(control.take(), [1]);
  assert.deepEqual([calls, control.asleep], [['hold', 'forget'], true]);
  assert.deepEqual(control.take(), []);
});

test("mode 'keep' puts those that run back in the queue; without forget the prefixes stay", () => {
  const { calls, scheduler, control } = start();
  scheduler.still = true;
  control.begin(1, { kind: 'sleep', mode: 'keep', forget: false });
  assert.deepEqual(control.take(), [1]);
  assert.deepEqual(calls, ['hold', 'preempt']);
});

test('waking answers those who still wait for it to fall asleep', () => {
  const { calls, control } = start();
  control.begin(1, { kind: 'sleep', mode: 'wait', forget: true });
  control.begin(2, { kind: 'wake' });
  assert.deepEqual(control.take(), [1, 2]);
  assert.deepEqual([calls, control.asleep], [['hold', 'let in'], false]);
});

test('prefixes are forgotten at once; those that run lose theirs where that is asked for', () => {
  const { calls, control } = start();
  control.begin(1, { kind: 'forgetPrefixes', preempt: false });
  control.begin(2, { kind: 'forgetPrefixes', preempt: true });
  assert.deepEqual(control.take(), [1, 2]);
  assert.deepEqual(calls, ['forget', 'preempt', 'forget']);
});
