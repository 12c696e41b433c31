/**
 * POST /v1/score and /v1/rerank: how well texts go together. A model that gives one score for a pair is asked for it; one that gives embeddings
 * embeds both, and the score is their cosine similarity.
 */
import { cosineSimilarity } from '../../engine/pooler.js';
import { LockstepError } from '../../errors.js';
import type { Context } from '../context.js';
import type { Exchange } from '../exchange.js';
import { flagOf, type Present } from '../generation.js';
import type { JsonObject } from '../json-object.js';
import { responseId } from '../run.js';
import { rerankBody, scoreBody } from './fields.js';
import { checkNumber, InputReader, type PoolPrompt } from './inputs.js';
import { activationOf, envelope, finishAll, type PoolingRequest, pool, readPooling, tokensOf, usageOf } from './run.js';

interface Scores {
  readonly scores: readonly number[];
  readonly numTokens: number;
  readonly cachedTokens: number;
}

export async function handleScore(exchange: Exchange, context: Context): Promise<void> {
  const request = await readPooling(exchange, context, scoreBody, { name: 'Score API' });
  const { body, serving } = request;
  const [first, second] = [textsOf(body, ['text_1', 'queries', 'data_1']), textsOf(body, ['text_2', 'documents', 'items', 'data_2'])];
  const { scores, numTokens, cachedTokens } = await scoresOf(exchange, context, request, first, second);
  const data = scores.map((score, index) => ({ index, object: 'score', score }));
  const whole = { ...envelope(serving, responseId('score', exchange, body)), data, usage: usageOf(numTokens, cachedTokens, context) };
  exchange.reply(200, 'application/json', JSON.stringify(whole));
}

export async function handleRerank(exchange: Exchange, context: Context): Promise<void> {
  const request = await readPooling(exchange, context, rerankBody, { name: 'Rerank (Score) API' });
  const { body, serving } = request;
  const documents = (body['documents'] as readonly (string | { readonly text: string })[]).map((each) =>
    typeof each === 'string' ? each : each.text,
  );
  const { scores, numTokens } = await scoresOf(exchange, context, request, [body['query'] as string], documents);
  const withDocuments = flagOf(body, 'return_documents', true);
  const results = scores.map((relevance_score, index) => ({
    index,
    ...(withDocuments ? { document: { text: documents[index]!, multi_modal: null } } : {}),
    relevance_score,
  }));
  results.sort((a, b) => b.relevance_score - a.relevance_score || a.index - b.index);
  const topN = (body['top_n'] as Present<number>) ?? 0;
  const { id, model } = envelope(serving, responseId('rerank', exchange, body));
  const usage = { prompt_tokens: numTokens, total_tokens: numTokens };
  exchange.reply(200, 'application/json', JSON.stringify({ id, model, usage, results: topN > 0 ? results.slice(0, topN) : results }));
}

/** The texts under the one of these names that is given. */
function textsOf(body: JsonObject, names: readonly string[]): readonly string[] {
  const name = names.find((each) => body[each] !== null && body[each] !== undefined);
  if (name === undefined) throw new LockstepError('invalid_body', `${names[0]} is required.`, { param: `body.${names[0]}` });
  const value = body[name] as string | readonly string[];
  return typeof value === 'string' ? [value] : value;
}

async function scoresOf(
  exchange: Exchange,
  context: Context,
  request: PoolingRequest,
  first: readonly string[],
  second: readonly string[],
): Promise<Scores> {
  const refuse = (message: string) => new LockstepError('invalid_value', message);
  if (first.length > 1 && first.length !== second.length) throw refuse('Input lengths must be either 1:1, 1:N or N:N');
  if (first.length === 0) throw refuse('At least one text element must be given');
  if (second.length === 0) throw refuse('At least one text_pair element must be given');
  checkNumber(second.length, 'documents');
  const { pooler, serving, body } = request;
  const judges = pooler.spec.task === 'classify';
  if (judges && pooler.spec.labels.length !== 1) throw refuse('Score API is only enabled for num_labels == 1.');
  const reader = new InputReader(serving, pooler, exchange, body);
  const prompts: PoolPrompt[] = [];
  if (judges) for (const [i, text] of second.entries()) prompts.push(await reader.pair(first[i] ?? first[0]!, text));
  else for (const text of [...first, ...second]) prompts.push({ ids: await reader.text(text), secondSegment: null });
  const pooled = await pool(exchange, context, request, prompts);
  const vectors = await finishAll(pooler, pooled, prompts, { dimensions: null, activation: activationOf(body) });
  const embedded = (i: number) => vectors[first.length === 1 ? 0 : i]!;
  const scores = judges
    ? vectors.map(([score]) => score!)
    : second.map((_, i) => cosineSimilarity(embedded(i), vectors[first.length + i]!));
  return { scores, numTokens: tokensOf(prompts), cachedTokens: pooled.cachedTokens };
}
