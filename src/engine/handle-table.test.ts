import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { HandleTable } from './handle-table.js';
import { portOf } from './messages.js';

test('entries come and go as in a map, and no handle is given twice', () => {
  const port = 5;
  fc.assert(
    fc.property(fc.array(fc.oneof(fc.constant('add' as const), fc.nat(300)), { maxLength: 600 }), (steps) => {
      const table = new HandleTable<{ readonly handle: number }>(port);
      const model = new Map<number, { readonly handle: number }>();
      const given = new Set<number>();
      for (const step of steps) {
        if (step === 'add') {
          const entry = { handle: table.nextHandle() };
          assert.ok(!given.has(entry.handle) && portOf(entry.handle) === port);
          given.add(entry.handle);
          table.add(entry);
          model.set(entry.handle, entry);
        } else {
          const handle = [...given][step];
          if (handle === undefined) continue;
          table.delete(handle); // also of one that has gone
          model.delete(handle);
        }
        for (const handle of given) assert.equal(table.get(handle), model.get(handle));
        assert.deepEqual(new Set(table.values()), new Set(model.values()));
      }
    }),
    { numRuns: 30 },
  );
});

test('what stays does not stop the count: thousands come and go beside it', () => {
  const table = new HandleTable<{ readonly handle: number }>(0);
  const stays = { handle: table.nextHandle() };
  table.add(stays);
  for (let i = 0; i < 10_000; i++) {
    const entry = { handle: table.nextHandle() };
    table.add(entry);
    assert.equal(table.get(stays.handle), stays);
    table.delete(entry.handle);
    assert.equal(table.get(entry.handle), undefined);
  }
  assert.deepEqual(table.values(), [stays]);
});
