import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fc } from '../../test/property.js';
import { FairShare } from './fair-share.js';

/** Owners in the order in which `arrivals` are admitted, all of them waiting from the start. */
function served(arrivals: readonly { owner: number; weight: number }[]): number[] {
  const shares = new FairShare();
  return arrivals
    .map((share, arrival) => ({ owner: share.owner, arrival, turn: shares.turnOf(share) }))
    .sort((a, b) => a.turn - b.turn || a.arrival - b.arrival)
    .map(({ owner }) => owner);
}

const count = (owners: readonly number[], owner: number) => owners.filter((one) => one === owner).length;

test('a flood of one does not hold up another', () => {
  const flood = Array.from({ length: 1000 }, () => ({ owner: 0, weight: 1 }));
  const order = served([...flood, { owner: 1, weight: 1 }, { owner: 1, weight: 1 }]);
  assert.deepEqual([order.indexOf(1), order.lastIndexOf(1)], [1, 3]);
});

test('who comes late stands where the engine is now, not where it began', () => {
  const shares = new FairShare();
  const flood = Array.from({ length: 100 }, () => shares.turnOf({ owner: 0, weight: 1 }));
  shares.admitted(flood[50]!);
  assert.deepEqual(
    [1, 2].map(() => shares.turnOf({ owner: 1, weight: 1 })),
    [50, 51],
  );
});

test('one owner: the order of arrival', () => {
  const shares = new FairShare();
  const turns = Array.from({ length: 50 }, (_, i) => {
    if (i === 20) shares.admitted(19);
    return shares.turnOf({ owner: 3, weight: 0.5 });
  });
  assert.deepEqual(
    turns,
    [...turns].sort((a, b) => a - b),
  );
  assert.equal(new Set(turns).size, 50);
});

test('turns by weight, whoever came first', () => {
  const weights = fc.array(fc.integer({ min: 1, max: 4 }), { minLength: 2, maxLength: 4 });
  fc.assert(
    fc.property(weights, (all) => {
      const order = served(all.flatMap((weight, owner) => Array.from({ length: 120 }, () => ({ owner, weight }))));
      const total = all.reduce((sum, weight) => sum + weight, 0);
      const rounds = 20;
      const first = order.slice(0, rounds * total);
      for (const [owner, weight] of all.entries()) assert.ok(Math.abs(count(first, owner) - rounds * weight) <= all.length);
    }),
    { numRuns: 50 },
  );
});
