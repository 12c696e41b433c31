/** The requests that are sent again, and what OpenAI documents of their answers. Others might change something at the server. */
import type { Schema } from '../api/schema.js';
import type { Exchange } from './exchange.js';
import { chatAnswer, chatChunk, embeddingAnswer, modelAnswer, modelsAnswer, textAnswer, textChunk } from './openai-answers.js';

export interface CheckedRoute {
  /** In the names of findings. */
  readonly name: string;
  readonly method: 'GET' | 'POST';
  /** Of the path, without the query. */
  readonly pattern: RegExp;
  /** null: its answers are only compared with another server's. */
  readonly answer: Schema | null;
  readonly chunk: Schema | null;
}

const route = (name: string, pattern: RegExp, answer: Schema | null = null, chunk: Schema | null = null): CheckedRoute => ({
  name,
  method: /^models?$/.test(name) ? 'GET' : 'POST',
  pattern,
  answer,
  chunk,
});

const routes: readonly CheckedRoute[] = [
  route('chat', /\/chat\/completions$/, chatAnswer, chatChunk),
  route('completions', /\/completions$/, textAnswer, textChunk),
  route('embeddings', /\/embeddings$/, embeddingAnswer),
  route('models', /\/models$/, modelsAnswer),
  route('model', /\/models\/[^/]+$/, modelAnswer),
  route('responses', /\/responses$/),
  route('messages', /\/messages$/),
  route('count_tokens', /\/messages\/count_tokens$/),
  route('moderations', /\/moderations$/),
  route('score', /\/score$/),
  route('rerank', /\/rerank$/),
  route('tokenize', /\/tokenize$/),
  route('detokenize', /\/detokenize$/),
];

/** null: not sent again. */
export function routeOf({ method, path }: Exchange): CheckedRoute | null {
  const [name = ''] = path.split('?', 1);
  return routes.find((each) => each.method === method && each.pattern.test(name)) ?? null;
}
