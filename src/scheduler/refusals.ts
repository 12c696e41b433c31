/** What could never run: options at start, and sequences that would wait for ever. Refused by name, before anything is changed. */
import { LockstepError, startError } from '../errors.js';
import {
  badWordsLenMax,
  markerLenMax,
  maxAllowedIds,
  maxBiasLen,
  maxLogprobIds,
  maxStopIds,
  numSlots,
  type StepDims,
} from '../step/layout.js';
import type { SchedulerOptions } from './options.js';
import type { SequenceInput } from './sequence.js';

export function checkInput(input: SequenceInput, dims: StepDims): void {
  const { maxSeqLen, blockSize, numBlocks } = dims;
  const { promptTokens, stop, sampling } = input;
  const promptLen = promptTokens.length;
  if (promptLen === 0) refuse('prompt', 'The prompt has no tokens.');
  // One place is for the first id that is sampled; a request that samples none may fill all.
  if (promptLen + Math.min(stop.maxTokens, 1) > maxSeqLen) {
    refuse('prompt', `The prompt has ${promptLen} tokens; this server's sequences have at most ${maxSeqLen}.`);
  }
  // The last token's K and V are never needed.
  const numCached = Math.max(promptLen, Math.min(promptLen + stop.maxTokens, maxSeqLen) - 1);
  const needed = Math.ceil(numCached / blockSize);
  if (needed > numBlocks) refuse('max_tokens', `Prompt and max_tokens may need ${needed} KV cache blocks; this server has ${numBlocks}.`);
  if (sampling.logitBias.length > maxBiasLen) refuse('logit_bias', `logit_bias has more than ${maxBiasLen} entries.`);
  if ((sampling.allowedTokenIds?.length ?? 0) > maxAllowedIds)
    refuse('allowed_token_ids', `There are more than ${maxAllowedIds} allowed token ids.`);
  if (sampling.badWords.reduce((sum, word) => sum + 1 + word.length, 0) > badWordsLenMax)
    refuse('bad_words', 'The bad words have too many tokens.');
  if (sampling.logprobIds.length > maxLogprobIds) refuse('logprob_token_ids', `There are more than ${maxLogprobIds} logprob_token_ids.`);
  const { begin, end, forced } = sampling.thinking ?? { begin: null, end: null, forced: [] };
  if ([begin, end, forced].some((marker) => marker !== null && typeof marker !== 'number' && marker.length > markerLenMax))
    refuse('thinking_token_budget', `The markers of reasoning are longer than ${markerLenMax} tokens or bytes.`);
  if (stop.eosTokenIds.length + stop.stopTokenIds.length > maxStopIds) {
    refuse('stop_token_ids', `There are more than ${maxStopIds} stop token ids, end-of-sequence ids included.`);
  }
}

function refuse(param: string, message: string): never {
  throw new LockstepError('invalid_value', message, { param });
}

export function checkOptions(options: SchedulerOptions, dims: StepDims): void {
  if (options.maxNumSeqs < 1 || options.maxNumSeqs > dims.maxRows) {
    throw startError(`max_num_seqs must be 1 to ${dims.maxRows}, is ${options.maxNumSeqs}`, { param: '--max-num-seqs' });
  }
  if (options.maxInFlight < 1 || options.maxInFlight > numSlots) throw new Error(`maxInFlight must be 1 to ${numSlots}`);
  if (!(options.watermark >= 0 && options.watermark < 1)) throw new Error(`watermark must be from 0 to below 1, is ${options.watermark}`);
  if (!options.chunkedPrefill && dims.maxTokens < dims.maxSeqLen) {
    throw startError(
      `without chunked prefill a step must hold the longest sequence: --max-num-batched-tokens is ${dims.maxTokens}, ` +
        `--max-model-len is ${dims.maxSeqLen}; raise the first, lower the second, or allow chunked prefill`,
      { param: '--max-num-batched-tokens' },
    );
  }
}
