/**
 * The fields that chat and completions share, checked for range, -> `SamplingParams` and `StopRule`. Request wins over the model's
 * generation_config, which wins over the built-in value. Types were checked by `fields.ts`. The wording is vLLM's: clients match on it.
 */
import { isDeepStrictEqual } from 'node:util';
import { type BeamRule, beamsMax } from '../engine/beam-search.js';
import { LockstepError } from '../errors.js';
import type { FieldSpec } from '../grammar/spec.js';
import type { RepetitionRule, SamplingParams, StopRule } from '../sampling/params.js';
import { contextError, promptTooLong, type Truncation } from './context-limit.js';
import { wrongType } from './fields.js';
import { exactInteger } from './json-body.js';
import type { JsonObject } from './json-object.js';
import { allowedIdsMax } from './request-fields.js';
import type { ServedModel } from './served-model.js';
import { parseGrammar } from './structured-outputs.js';

/** What a row of the engine's step holds; end-of-sequence ids count among the stop ids. */
export const stopIdsMax = 128;
export const logitBiasMax = 1024;
const maxTokensDefault = 16;
const seedMax = 2n ** 63n - 1n;
/** Below this a temperature means greedy; below `temperatureMin` the softmax would overflow. */
const greedyBelow = 1e-5;
const temperatureMin = 0.01;

export interface StreamOptions {
  readonly stream: boolean;
  readonly includeUsage: boolean;
  /** A usage in every chunk. */
  readonly continuousUsage: boolean;
}

export interface Generation {
  readonly sampling: SamplingParams;
  /** `maxTokens` is set by `withContextLimit`, once the prompt's length is known. */
  readonly stop: Omit<StopRule, 'maxTokens' | 'minTokens'>;
  readonly minTokens: number;
  /** null: what the context leaves, but no more than `maxTokensCap`. */
  readonly maxTokens: number | null;
  /** The model author's longest answer, for requests that name none. */
  readonly maxTokensCap: number;
  readonly priority: number;
  readonly cacheSalt: string | null;
  /** What the output must be; null: any text. */
  readonly grammar: FieldSpec | null;
  /** Texts that the output must not hold. */
  readonly badWords: readonly string[];
  /** Most tokens of reasoning; null: no bound. */
  readonly thinkingBudget: number | null;
  readonly skipSpecialTokens: boolean;
  readonly returnTokenIds: boolean;
  /** Log-probabilities name tokens by id. */
  readonly tokensAsIds: boolean;
  /** Tokens of a choice that make an event. */
  readonly streamInterval: number;
  readonly truncation: Truncation | null;
  /** null: choices are drawn, or greedy. */
  readonly beams: BeamRule | null;
}

const list = (values: readonly (string | number)[]) => `[${values.map((v) => (typeof v === 'string' ? `'${v}'` : v)).join(', ')}]`;

/** Refuses a value of a field; `shown` adds the field and value as vLLM does where it names the parameter. */
function refuse(message: string, param: string | null, shown?: string): never {
  const suffix = shown === undefined ? '' : ` (parameter=${param}${shown === '' ? '' : `, value=${shown}`})`;
  throw new LockstepError('invalid_value', message + suffix, param === null ? {} : { param });
}

export type Present<T> = T | null | undefined;
const numberOf = (body: JsonObject, name: string) => body[name] as Present<number>;
export const flagOf = (body: JsonObject, name: string, fallback: boolean) => (body[name] as Present<boolean>) ?? fallback;

export function parseGeneration(body: JsonObject, text: string, model: ServedModel, route: 'chat' | 'completions'): Generation {
  const { requestDefaults } = model;
  const logprobs = route === 'chat' ? chatLogprobs(body) : (numberOf(body, 'logprobs') ?? null);
  checkLogprobsCount(logprobs, model, 'sample', 'logprobs');
  const numPromptLogprobs = parsePromptLogprobs(body, model);
  const logprobIds = parseLogprobIds(body, model, logprobs !== null);
  const maxTokens = parseMaxTokens(body, model, route);
  return {
    sampling: parseSampling(body, text, model, { numLogprobs: logprobIds.length || logprobs, logprobIds, numPromptLogprobs }),
    stop: parseStop(body, model),
    minTokens: parseMinTokens(body, maxTokens),
    maxTokens,
    maxTokensCap: model.defaults.maxNewTokens ?? Number.POSITIVE_INFINITY,
    priority: parsePriority(body, model),
    cacheSalt: (body['cache_salt'] as Present<string>) ?? null,
    grammar: parseGrammar(body, requestDefaults),
    badWords: (body['bad_words'] as Present<string[]>) ?? [],
    thinkingBudget: parseThinkingBudget(body, model),
    skipSpecialTokens: flagOf(body, 'skip_special_tokens', true),
    returnTokenIds: flagOf(body, 'return_token_ids', false),
    tokensAsIds: flagOf(body, 'return_tokens_as_token_ids', requestDefaults.tokensAsIds),
    streamInterval: Math.max(numberOf(body, 'stream_interval') ?? 1, requestDefaults.streamInterval),
    truncation: parseTruncation(body, model, maxTokens),
    beams: parseBeams(body),
  };
}

function parseSampling(
  body: JsonObject,
  text: string,
  model: ServedModel,
  logprobs: Pick<SamplingParams, 'numLogprobs' | 'logprobIds' | 'numPromptLogprobs'>,
): SamplingParams {
  const { defaults } = model;
  const asked = numberOf(body, 'temperature') ?? defaults.temperature ?? 1;
  return {
    n: numberOf(body, 'n') ?? 1,
    temperature: asked < greedyBelow ? 0 : Math.max(asked, temperatureMin),
    topP: numberOf(body, 'top_p') ?? defaults.topP ?? 1,
    topK: Math.min(Math.max(numberOf(body, 'top_k') ?? defaults.topK ?? 0, 0), model.vocabSize),
    minP: numberOf(body, 'min_p') ?? defaults.minP ?? 0,
    presencePenalty: numberOf(body, 'presence_penalty') ?? 0,
    frequencyPenalty: numberOf(body, 'frequency_penalty') ?? 0,
    repetitionPenalty: numberOf(body, 'repetition_penalty') ?? defaults.repetitionPenalty ?? 1,
    seed: parseSeed(body, text),
    allowedTokenIds: parseAllowed(body, model.vocabSize),
    badWords: [], // `constraints.ts` makes ids of them
    thinking: null, // `thinking.ts` finds out, once the prompt is known
    logitBias: parseLogitBias(body, model.vocabSize),
    ...logprobs,
  };
}

function parseSeed(body: JsonObject, text: string): bigint | null {
  const parsed = numberOf(body, 'seed');
  if (parsed === null || parsed === undefined) return null;
  const seed = exactInteger(text, 'seed', parsed);
  if (seed > seedMax) throw wrongType('seed', `less than or equal to ${seedMax} (less_than_equal)`);
  if (seed < -seedMax - 1n) throw wrongType('seed', `greater than or equal to ${-seedMax - 1n} (greater_than_equal)`);
  return seed === -1n ? null : seed;
}

function parseLogitBias(body: JsonObject, vocabSize: number): [number, number][] {
  const bias = Object.entries((body['logit_bias'] as Present<JsonObject>) ?? {});
  if (bias.length > logitBiasMax) refuse(`logit_bias has ${bias.length} entries, and at most ${logitBiasMax} are allowed.`, 'logit_bias');
  const badKeys = bias.map(([key]) => key).filter((key) => !/^\s*[+-]?\d+\s*$/.test(key));
  if (badKeys.length > 0) {
    refuse(`logit_bias contains key(s) that cannot be converted to integer token IDs: ${list(badKeys)}`, 'logit_bias', list(badKeys));
  }
  for (const [key, value] of bias) if (typeof value !== 'number') throw wrongType(`logit_bias.${key}`, 'a number');
  const pairs = bias.map(([key, value]): [number, number] => [Number(key), Math.min(100, Math.max(-100, value as number))]);
  checkInVocabulary(
    pairs.map(([id]) => id),
    'logit_bias',
    vocabSize,
  );
  return pairs;
}

function parseAllowed(body: JsonObject, vocabSize: number): readonly number[] | null {
  const ids = body['allowed_token_ids'] as Present<number[]>;
  if (ids === null || ids === undefined) return null;
  if (ids.length === 0) refuse('allowed_token_ids is not None and empty!', 'allowed_token_ids', '[]');
  if (ids.length > allowedIdsMax)
    refuse(`allowed_token_ids has ${ids.length} ids, and at most ${allowedIdsMax} are allowed.`, 'allowed_token_ids');
  checkInVocabulary(ids, 'allowed_token_ids', vocabSize);
  return ids;
}

function checkInVocabulary(ids: readonly number[], name: string, vocabSize: number): void {
  const outside = ids.filter((id) => id < 0 || id >= vocabSize);
  if (outside.length === 0) return;
  const message = `token_id(s) ${list(outside)} in ${name} contain out-of-vocab token ids. Vocabulary size: ${vocabSize}`;
  refuse(message, name, list(outside));
}

function parseStop(body: JsonObject, model: ServedModel): Generation['stop'] {
  const stop = body['stop'] as Present<string | string[]>;
  const stopStrings = stop === null || stop === undefined ? [] : typeof stop === 'string' ? [stop] : stop;
  if (stopStrings.includes('')) refuse('stop cannot contain an empty string.', null);
  const stopTokenIds = (body['stop_token_ids'] as Present<number[]>) ?? [];
  checkInVocabulary(stopTokenIds, 'stop_token_ids', model.vocabSize);
  const idsLeft = stopIdsMax - model.defaults.eosTokenIds.length;
  if (stopTokenIds.length > idsLeft) {
    refuse(`stop_token_ids has ${stopTokenIds.length} ids, and at most ${idsLeft} are allowed.`, 'stop_token_ids');
  }
  return {
    eosTokenIds: model.defaults.eosTokenIds,
    stopTokenIds,
    stopStrings,
    includeStopString: flagOf(body, 'include_stop_str_in_output', false),
    ignoreEos: flagOf(body, 'ignore_eos', false),
    repetition: parseRepetition(body),
  };
}

/** Without a largest pattern there is none to look for, as in vLLM. */
function parseRepetition(body: JsonObject): RepetitionRule | null {
  const given = (body['repetition_detection'] as Present<JsonObject>) ?? {};
  const maxPattern = numberOf(given, 'max_pattern_size') ?? 0;
  const minPattern = Math.max(1, numberOf(given, 'min_pattern_size') ?? 0);
  const minCount = numberOf(given, 'min_count') ?? 0;
  if (maxPattern === 0) return null;
  if (minCount < 2) refuse('min_count must be at least 2 where patterns are looked for.', 'repetition_detection.min_count');
  if (minPattern > maxPattern) refuse('min_pattern_size must not be above max_pattern_size.', 'repetition_detection.min_pattern_size');
  return { minPattern, maxPattern, minCount };
}

/** What a beam search, which looks at raw log-probabilities, has no place for. Parameters that only say how tokens are drawn may stay. */
const notWithBeams = [
  'stop',
  'stop_token_ids',
  'min_tokens',
  'presence_penalty',
  'frequency_penalty',
  'repetition_penalty',
  'logit_bias',
  'allowed_token_ids',
  'bad_words',
  'logprob_token_ids',
  'repetition_detection',
];
const neutral: readonly unknown[] = [null, undefined, 0, '', [], {}];

function parseBeams(body: JsonObject): BeamRule | null {
  if (!flagOf(body, 'use_beam_search', false)) return null;
  const n = numberOf(body, 'n') ?? 1;
  if (n > beamsMax) refuse(`n must be at most ${beamsMax} with use_beam_search, got ${n}.`, 'n', String(n));
  if ((numberOf(body, 'thinking_token_budget') ?? -1) >= 0)
    refuse('`thinking_token_budget` cannot be used with `use_beam_search`.', 'thinking_token_budget');
  for (const name of notWithBeams) {
    const isNeutral = neutral.some((value) => isDeepStrictEqual(value, body[name])) || (name === 'repetition_penalty' && body[name] === 1);
    if (!isNeutral) refuse(`\`${name}\` cannot be used with \`use_beam_search\`.`, name);
  }
  return { lengthPenalty: numberOf(body, 'length_penalty') ?? 1 };
}

function parseTruncation(body: JsonObject, { maxModelLen }: ServedModel, maxTokens: number | null): Truncation | null {
  const len = numberOf(body, 'truncate_prompt_tokens');
  if (len === null || len === undefined) return null;
  if (len > maxModelLen) {
    const message = `truncate_prompt_tokens value (${len}) is greater than max_model_len (${maxModelLen}). Please, select a smaller truncation size.`;
    refuse(message, 'truncate_prompt_tokens');
  }
  const side = (body['truncation_side'] as Present<Truncation['side']>) ?? 'left';
  return { len: len === -1 ? Math.max(0, maxModelLen - Math.max(1, maxTokens ?? 1)) : len, side };
}

function parseMaxTokens(body: JsonObject, model: ServedModel, route: 'chat' | 'completions'): number | null {
  const asked = numberOf(body, 'max_completion_tokens') ?? numberOf(body, 'max_tokens');
  if (asked === null || asked === undefined) {
    return route === 'chat' ? null : maxTokensDefault;
  }
  const onlyEcho = asked === 0 && route === 'completions' && flagOf(body, 'echo', false);
  if (asked < 1 && !onlyEcho) refuse(`max_tokens must be at least 1, got ${asked}.`, 'max_tokens', String(asked));
  if (asked > model.maxModelLen) {
    const message = `max_tokens=${asked} cannot be greater than max_model_len=${model.maxModelLen}. Please request fewer output tokens.`;
    refuse(message, 'max_tokens', String(asked));
  }
  return asked;
}

function parseMinTokens(body: JsonObject, maxTokens: number | null): number {
  const minTokens = numberOf(body, 'min_tokens') ?? 0;
  if (maxTokens !== null && minTokens > maxTokens) {
    refuse(`min_tokens must be less than or equal to max_tokens=${maxTokens}, got ${minTokens}.`, null);
  }
  return minTokens;
}

/** null: none; -1: the whole vocabulary. */
function chatLogprobs(body: JsonObject): number | null {
  const { logprobs } = body;
  const top = numberOf(body, 'top_logprobs');
  if (top !== null && top !== undefined && top !== 0 && logprobs !== true) {
    if (top < 0 && top !== -1) refuse('`top_logprobs` must be a positive value or -1.', 'top_logprobs', String(top));
    refuse('when using `top_logprobs`, `logprobs` must be set to true.', 'top_logprobs', '');
  }
  return logprobs === true ? (top ?? 0) : null;
}

function parseLogprobIds(body: JsonObject, model: ServedModel, hasLogprobs: boolean): readonly number[] {
  const ids = (body['logprob_token_ids'] as Present<number[]>) ?? [];
  if (ids.length > 0 && !hasLogprobs) refuse('when using `logprob_token_ids`, `logprobs` must be set.', 'logprob_token_ids', '');
  checkInVocabulary(ids, 'logprob_token_ids', model.vocabSize);
  return ids;
}

function parsePromptLogprobs(body: JsonObject, model: ServedModel): number | null {
  const count = numberOf(body, 'prompt_logprobs') ?? null;
  if (count !== null && count !== 0 && flagOf(body, 'stream', false)) {
    refuse('`prompt_logprobs` are not available when `stream=True`.', 'prompt_logprobs', '');
  }
  checkLogprobsCount(count, model, 'prompt', 'prompt_logprobs');
  return count;
}

/** The whole vocabulary is more than any `--max-logprobs` allows: nobody can read so much. */
function checkLogprobsCount(count: number | null, { maxLogprobs, vocabSize }: ServedModel, kind: 'sample' | 'prompt', param: string): void {
  if (count === null || (count >= 0 && count <= maxLogprobs)) return;
  if (count < -1) refuse(`\`${param}\` must be a positive value or -1.`, param, String(count));
  const asked = count === -1 ? vocabSize : count;
  refuse(`Requested ${kind} logprobs of ${asked}, which is greater than max allowed: ${maxLogprobs}`, param, String(asked));
}

export function parsePriority(body: JsonObject, model: ServedModel): number {
  const priority = numberOf(body, 'priority') ?? 0;
  if (!Number.isSafeInteger(priority)) throw wrongType('priority', 'an integer of at most 53 bits');
  if (priority !== 0 && !model.priorityScheduling) {
    refuse(`Got priority ${priority} but Priority scheduling is not enabled.`, 'priority');
  }
  return priority;
}

/** -1: no bound. */
function parseThinkingBudget(body: JsonObject, { markup }: ServedModel): number | null {
  const budget = numberOf(body, 'thinking_token_budget') ?? -1;
  if (budget < 0) return null;
  if (markup.reasoningFormat === null) refuse('thinking_token_budget requires --reasoning-parser to be set.', 'thinking_token_budget');
  return budget;
}

export function parseStreamOptions(body: JsonObject, forceUsage: boolean): StreamOptions {
  const stream = flagOf(body, 'stream', false);
  const options = body['stream_options'] as Present<JsonObject>;
  if (options === null || options === undefined) return { stream, includeUsage: forceUsage, continuousUsage: forceUsage };
  if (!stream) refuse('Stream options can only be defined when `stream=True`.', 'stream_options', '');
  const includeUsage = forceUsage || flagOf(options, 'include_usage', false);
  return { stream, includeUsage, continuousUsage: forceUsage || (includeUsage && flagOf(options, 'continuous_usage_stats', false)) };
}

/** The stop rule for a prompt of `promptLen` tokens. Throws where prompt and output do not fit, before anything is queued. */
export function withContextLimit(generation: Generation, promptLen: number, maxModelLen: number): StopRule {
  if (promptLen > maxModelLen) throw promptTooLong(maxModelLen);
  const room = maxModelLen - promptLen;
  // max_tokens 0 (echo alone) still runs the prompt, and a run ends with a token.
  const asked = Math.max(1, generation.maxTokens ?? 1);
  if (asked > room) {
    const total = `for a total of at least ${promptLen + asked} tokens`;
    const advice = 'Please reduce the length of the input prompt or the number of requested output tokens.';
    const needs = `you requested ${asked} output tokens and your prompt contains at least ${promptLen} input tokens, ${total}. ${advice}`;
    throw contextError(maxModelLen, needs, promptLen);
  }
  const maxTokens = generation.maxTokens === null ? Math.min(room, generation.maxTokensCap) : asked;
  return { ...generation.stop, minTokens: Math.min(generation.minTokens, maxTokens), maxTokens };
}
