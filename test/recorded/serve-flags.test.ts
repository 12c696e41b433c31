/** Every flag of the recorded `vllm serve` is either taken or refused with a reason. Needs ../shared. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import type { Flag } from '../../src/cli/flag.js';
import { serveFlags } from '../../src/cli/options.js';
import { refusedFlags } from '../../src/cli/refused-flags.js';
import { sharedData } from '../shared-data.js';

const recorded = `${sharedData}/vllm-recordings/serve-flags.json`;

test('every flag of vllm serve has an answer', { skip: sharedData === null && '../shared is not here' }, () => {
  const rows = JSON.parse(readFileSync(recorded, 'utf8')) as { flags: string[] }[];
  const taken = serveFlags.flatMap((flag: Flag) => [`--${flag.name}`, ...(flag.aliases ?? [])]);
  const known = new Set(['-h', '--help', ...taken, ...refusedFlags.keys()]);
  const unanswered = rows.flatMap(({ flags }) => flags).filter((flag) => !known.has(flag) && !known.has(flag.replace(/^--no-/, '--')));
  assert.deepEqual(unanswered, []);
  assert.ok(rows.length > 200);
});
