/**
 * The recorded requests of vLLM against a running server of SmolLM2-135M-Instruct, which LOCKSTEP_TEST_URL names. It must be started with
 * --served-model-name smol --max-model-len 4096, as the recorded one was.
 */
import { describe, test } from 'node:test';
import { sharedData } from '../shared-data.js';
import { compareDifference, compareShape, sendRecorded } from './compare.js';
import { readCases } from './recordings.js';
import { differences } from './scope.js';

const base = process.env['LOCKSTEP_TEST_URL']?.replace(/\/v1\/?$/, '');
const skip = sharedData === null ? 'the shared data is not here' : base === undefined ? 'LOCKSTEP_TEST_URL names no server' : false;
/** Cases that the server's own state answers. */
const notAsked = new Set(['load', 'models']);

describe('recorded cases against a running server', { skip }, () => {
  for (const recorded of skip === false ? readCases('default-flags.json') : []) {
    const difference = differences[recorded.name];
    if (notAsked.has(recorded.name)) continue;
    test(recorded.name, async () => {
      const answer = await sendRecorded(base!, recorded, null);
      const text = await answer.text();
      if (difference !== undefined) compareDifference(difference.expect, answer, text);
      else compareShape(recorded, answer, text);
    });
  }
});
