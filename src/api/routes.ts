/** The route table: a row a route. `server.ts` finds the row and guards it, `openapi.ts` describes it; the handlers are a file each. */
import {
  chatAnswer,
  completionAnswer,
  detokenizeAnswer,
  docsAnswer,
  emptyAnswer,
  invocationAnswer,
  loadAnswer,
  metricsAnswer,
  modelAnswer,
  modelsAnswer,
  openApiAnswer,
  pageAnswer,
  renderedAnswer,
  renderedListAnswer,
  tokenizeAnswer,
  versionAnswer,
} from './answers.js';
import { handleChat } from './chat-completions.js';
import { handleCompletion } from './completions.js';
import { controlRoutes } from './control/routes.js';
import { handleDocs } from './docs-page.js';
import { engineAnswer, handleEngine } from './engine-state.js';
import { handleHealth, handleLoad, handleMetrics, handleVersion } from './health.js';
import { handleInvocation } from './invocations.js';
import { messagesRoutes } from './messages/routes.js';
import { handleModel, handleModels } from './models.js';
import { ollamaRoutes } from './ollama/routes.js';
import { handleOpenApi } from './openapi.js';
import { handlePage } from './page.js';
import { embeddingBody, rerankBody, scoreBody } from './pooling/fields.js';
import { poolingRoutes } from './pooling/routes.js';
import { handleRenderChat, handleRenderCompletion } from './render.js';
import { chatBody, completionBody, detokenizeBody, tokenizeBody } from './request-fields.js';
import { responsesRoutes } from './responses/routes.js';
import { type Route, route } from './route.js';
import { handleDetokenize, handleTokenize } from './tokenize.js';

// biome-ignore format: a row a route
export const routes: readonly Route[] = [
  route('POST', '/v1/chat/completions', 'inference', { handle: handleChat,
    summary: 'Answers a conversation', body: chatBody, answer: chatAnswer }),
  route('POST', '/v1/completions', 'inference', { handle: handleCompletion,
    summary: 'Goes on with a text', body: completionBody, answer: completionAnswer }),
  route('POST', '/v1/chat/completions/render', 'inference', { handle: handleRenderChat,
    summary: 'What the model would be asked: token ids and sampling parameters', body: chatBody, answer: renderedAnswer }),
  route('POST', '/v1/completions/render', 'inference', { handle: handleRenderCompletion,
    summary: 'The same for texts, one for each', body: completionBody, answer: renderedListAnswer }),
  route('POST', '/invocations', 'inference', { handle: handleInvocation,
    summary: 'Chat, completions, embeddings or scores, as the body is; what SageMaker calls',
    bodies: [chatBody, completionBody, embeddingBody, scoreBody, rerankBody], answer: invocationAnswer }),
  ...poolingRoutes,
  route('GET', '/v1/models', 'key', { handle: handleModels,
    summary: 'The names under which the model is served', answer: modelsAnswer }),
  route('GET', '/v1/models/*', 'key', { handle: handleModel, summary: 'One of them', answer: modelAnswer }),
  route('POST', '/tokenize', 'inference', { handle: handleTokenize,
    summary: 'Text or messages -> token ids', body: tokenizeBody, answer: tokenizeAnswer }),
  route('POST', '/detokenize', 'inference', { handle: handleDetokenize,
    summary: 'Token ids -> text', body: detokenizeBody, answer: detokenizeAnswer }),
  route('GET', '/health', 'open', { handle: handleHealth, summary: 'Whether requests are taken', answer: emptyAnswer }),
  route('GET', '/ping', 'open', { handle: handleHealth, summary: 'The same', answer: emptyAnswer }),
  route('POST', '/ping', 'open', { handle: handleHealth, summary: 'The same', answer: emptyAnswer }),
  route('GET', '/version', 'open', { handle: handleVersion, summary: 'The version of the server', answer: versionAnswer }),
  route('GET', '/load', 'open', { handle: handleLoad, summary: 'How many requests are running', answer: loadAnswer }),
  route('GET', '/metrics', 'open', { handle: handleMetrics, summary: 'Metrics for Prometheus', answer: metricsAnswer }),
  ...responsesRoutes,
  ...messagesRoutes,
  ...ollamaRoutes,
  ...controlRoutes,
  route('GET', '/engine', 'key', { handle: handleEngine,
    summary: 'What the engine does and how it is laid out; the page at / shows it', answer: engineAnswer }),
  route('GET', '/', 'open', { needs: ['page'], handle: handlePage,
    summary: 'A page to chat on and to watch the engine', answer: pageAnswer }),
  route('GET', '/openapi.json', 'open', { needs: ['docs'], summary: 'This description', answer: openApiAnswer,
    handle: (exchange, context) => handleOpenApi(exchange, context, routes) }),
  route('GET', '/docs', 'open', { needs: ['docs'], summary: 'The same as a page', answer: docsAnswer,
    handle: (exchange, context) => handleDocs(exchange, context, routes) }),
];

export type RouteMatch =
  | { readonly found: 'route'; readonly route: Route; readonly rest: string }
  | { readonly found: 'other method'; readonly allowed: string }
  | { readonly found: 'nothing' };

export function findRoute(method: string, asked: string): RouteMatch {
  const path = asked.length > 1 && asked.endsWith('/') ? asked.slice(0, -1) : asked; // as many clients join a base URL and a path
  const exact = routes.filter((candidate) => candidate.path === path);
  const onPath = exact.length > 0 ? exact : routes.filter((candidate) => isBelow(candidate.path, path));
  if (onPath.length === 0) return { found: 'nothing' };
  const found = onPath.find((candidate) => candidate.method === method);
  if (found === undefined) return { found: 'other method', allowed: onPath.map((candidate) => candidate.method).join(', ') };
  return { found: 'route', route: found, rest: found.path.endsWith('/*') ? path.slice(found.path.length - 1) : '' };
}

const isBelow = (pattern: string, path: string): boolean =>
  pattern.endsWith('/*') && path.length >= pattern.length && path.startsWith(pattern.slice(0, -1));
