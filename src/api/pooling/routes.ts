/** The rows of the routes that give vectors and scores in place of tokens. */
import { type Answer, type Route, route } from '../route.js';
import { anyObject, integer, list, nullable, number, object, oneWord, type Schema, string } from '../schema.js';
import { handleClassify } from './classify.js';
import { handleEmbeddings, handlePooling } from './embeddings.js';
import { classifyBody, embeddingBody, poolingBody, rerankBody, scoreBody } from './fields.js';
import { handleRerank, handleScore } from './scores.js';

const vector: Schema = { anyOf: [list(number), string] };
const usage = object({ prompt_tokens: integer, total_tokens: integer, completion_tokens: integer }, { prompt_tokens_details: anyObject });
const listOf = (name: string, entry: Schema): Answer => ({
  name,
  json: object({ id: string, object: oneWord('list'), created: integer, model: string, data: list(entry), usage }),
});

const embeddingAnswer = listOf('Embeddings', object({ index: integer, object: oneWord('embedding'), embedding: vector }));
const poolingAnswer = listOf('Pooled', object({ index: integer, object: oneWord('pooling'), data: vector }));
const scoreAnswer = listOf('Scores', object({ index: integer, object: oneWord('score'), score: number }));
const classifyAnswer = listOf(
  'Classification',
  object({ index: integer, label: nullable(string), probs: list(number), num_classes: integer }),
);
const rerankAnswer: Answer = {
  name: 'Reranked',
  json: object({
    id: string,
    model: string,
    usage: object({ prompt_tokens: integer, total_tokens: integer }),
    results: list(object({ index: integer, relevance_score: number }, { document: object({ text: string }, { multi_modal: anyObject }) })),
  }),
};

type Row = Pick<Route, 'handle' | 'summary' | 'body' | 'answer'>;
const post = (path: string, row: Row) => route('POST', path, 'inference', row);

const embeddings: Row = { handle: handleEmbeddings, summary: 'An embedding of each input', body: embeddingBody, answer: embeddingAnswer };
const pooling: Row = { handle: handlePooling, summary: 'What the model makes of each input', body: poolingBody, answer: poolingAnswer };
const classify: Row = { handle: handleClassify, summary: 'A label for each input', body: classifyBody, answer: classifyAnswer };
const score: Row = { handle: handleScore, summary: 'How well pairs of texts go together', body: scoreBody, answer: scoreAnswer };
const rerank: Row = { handle: handleRerank, summary: 'Documents in the order of their relevance', body: rerankBody, answer: rerankAnswer };

export const poolingRoutes: readonly Route[] = [
  post('/v1/embeddings', embeddings),
  post('/pooling', pooling),
  post('/classify', classify),
  post('/v1/score', score),
  post('/score', score),
  post('/v1/rerank', rerank),
  post('/v2/rerank', rerank),
  post('/rerank', rerank),
];
