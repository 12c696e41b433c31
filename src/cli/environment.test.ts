import assert from 'node:assert/strict';
import { test } from 'node:test';
import { strayVariables } from './environment.js';

test('a mistyped variable is named with the one that was meant', () => {
  assert.deepEqual(strayVariables({ LOCKSTEP_PROT: '1', LOCKSTEP_MAX_NUM_SEQ: '4', PATH: 'x' }), [
    'the variable LOCKSTEP_PROT is not read: is LOCKSTEP_PORT meant?',
    'the variable LOCKSTEP_MAX_NUM_SEQ is not read: is LOCKSTEP_MAX_NUM_SEQS meant?',
  ]);
  assert.deepEqual(strayVariables({ LOCKSTEP_ENTIRELY_UNKNOWN: '1' }), ['the variable LOCKSTEP_ENTIRELY_UNKNOWN is not read']);
});

test('variables of vLLM are told of once, but for those that are read', () => {
  const environment = { VLLM_API_KEY: 'k', VLLM_LOGGING_LEVEL: 'DEBUG', VLLM_USE_V1: '1', LOCKSTEP_PORT: '1', LOCKSTEP_ISA: 'avx2' };
  assert.deepEqual(strayVariables(environment), ['variables of vLLM have no effect here: VLLM_LOGGING_LEVEL, VLLM_USE_V1']);
  assert.deepEqual(strayVariables({ LOCKSTEP_CACHE: 'x', LOCKSTEP_CONFIG: 'y', LOCKSTEP_PROT: '' }), []);
});
