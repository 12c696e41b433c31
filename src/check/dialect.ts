/** What the probes have to know of an API: how a request of it is made short and steady, and what fields it has. */
import type { RequestBody } from '../api/fields.js';
import type { JsonObject } from '../api/json-object.js';
import { messagesBody } from '../api/messages/fields.js';
import { embeddingBody } from '../api/pooling/fields.js';
import { chatBody, completionBody } from '../api/request-fields.js';
import { responsesBody } from '../api/responses/fields.js';

export interface Dialect {
  readonly body: RequestBody;
  /** The field with what is asked, and how a text of ours stands there. */
  readonly question: string;
  readonly asked: (text: string) => unknown;
  /** What is kept of the application's request besides the question. */
  readonly kept: readonly string[];
  /** Names of the field that bounds an answer, the usual one last; none: answers have no length. */
  readonly limits: readonly string[];
  /** The least that this field may be. */
  readonly limitMin: number;
  /** Nothing is left to chance. */
  readonly cold: JsonObject;
  /** The highest temperature that is allowed: at 2 what is drawn differs wherever more than one answer can be given. */
  readonly hottest: number;
  /** A field whose type every server looks at. */
  readonly typed: string;
}

const inTurn = (text: string) => [{ role: 'user', content: text }];
const asIs = (text: string) => text;
const generating = { kept: ['model'], limitMin: 1, cold: { temperature: 0 }, hottest: 2, typed: 'temperature' };

const dialects = {
  chat: { ...generating, body: chatBody, question: 'messages', asked: inTurn, limits: ['max_completion_tokens', 'max_tokens'] },
  completions: { ...generating, body: completionBody, question: 'prompt', asked: asIs, limits: ['max_tokens'] },
  // OpenAI documents the 16. An application that has nothing kept must not find answers of ours.
  responses: {
    ...generating,
    body: responsesBody,
    question: 'input',
    asked: asIs,
    kept: ['model', 'store'],
    limits: ['max_output_tokens'],
    limitMin: 16,
  },
  messages: { ...generating, body: messagesBody, question: 'messages', asked: inTurn, limits: ['max_tokens'], hottest: 1 },
  embeddings: { ...generating, body: embeddingBody, question: 'input', asked: asIs, limits: [], cold: {}, typed: 'encoding_format' },
} as const satisfies Record<string, Dialect>;

/** The routes whose requests are probed. */
export type Route = keyof typeof dialects;

export const isProbed = (route: string): route is Route => Object.hasOwn(dialects, route);
export const dialectOf = (route: Route): Dialect => dialects[route];
