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
  renderedAnswer,
  renderedListAnswer,
  tokenizeAnswer,
  versionAnswer,
} from './answers.js';
import { handleChat } from './chat-completions.js';
import { handleCompletion } from './completions.js';
import { controlRoutes } from './control/routes.js';
import { handleDocs } from './docs-page.js';
import { handleHealth, handleLoad, handleMetrics, handleVersion } from './health.js';
import { handleInvocation } from './invocations.js';
import { messagesRoutes } from './messages/routes.js';
import { handleModel, handleModels } from './models.js';
import { ollamaRoutes } from './ollama/routes.js';
import { handleOpenApi } from './openapi.js';
import { embeddingBody, rerankBody, scoreBody } from './pooling/fields.js';
import { poolingRoutes } from './pooling/routes.js';
import { handleRenderChat, handleRenderCompletion } from './render.js';
import { chatBody, completionBody, detokenizeBody, tokenizeBody } from './request-fields.js';
import { responsesRoutes } from './responses/routes.js';
import type { Route } from './route.js';
import { handleDetokenize, handleTokenize } from './tokenize.js';

// biome-ignore format: a row a route
export const routes: readonly Route[] = [
  { method: 'POST', path: '/v1/chat/completions', access: 'key', inference: true, handle: handleChat,
    summary: 'Answers a conversation', body: chatBody, answer: chatAnswer },
  { method: 'POST', path: '/v1/completions', access: 'key', inference: true, handle: handleCompletion,
    summary: 'Goes on with a text', body: completionBody, answer: completionAnswer },
  { method: 'POST', path: '/v1/chat/completions/render', access: 'key', inference: true, handle: handleRenderChat,
    summary: 'What the model would be asked: token ids and sampling parameters', body: chatBody, answer: renderedAnswer },
  { method: 'POST', path: '/v1/completions/render', access: 'key', inference: true, handle: handleRenderCompletion,
    summary: 'The same for texts, one for each', body: completionBody, answer: renderedListAnswer },
  { method: 'POST', path: '/invocations', access: 'key', inference: true, handle: handleInvocation,
    summary: 'Chat, completions, embeddings or scores, as the body is; what SageMaker calls',
    bodies: [chatBody, completionBody, embeddingBody, scoreBody, rerankBody], answer: invocationAnswer },
  ...poolingRoutes,
  { method: 'GET', path: '/v1/models', access: 'key', inference: false, handle: handleModels,
    summary: 'The names under which the model is served', answer: modelsAnswer },
  { method: 'GET', path: '/v1/models/*', access: 'key', inference: false, handle: handleModel, summary: 'One of them', answer: modelAnswer },
  { method: 'POST', path: '/tokenize', access: 'key', inference: true, handle: handleTokenize,
    summary: 'Text or messages -> token ids', body: tokenizeBody, answer: tokenizeAnswer },
  { method: 'POST', path: '/detokenize', access: 'key', inference: true, handle: handleDetokenize,
    summary: 'Token ids -> text', body: detokenizeBody, answer: detokenizeAnswer },
  { method: 'GET', path: '/health', access: 'open', inference: false, handle: handleHealth, summary: 'Whether requests are taken', answer: emptyAnswer },
  { method: 'GET', path: '/ping', access: 'open', inference: false, handle: handleHealth, summary: 'The same', answer: emptyAnswer },
  { method: 'POST', path: '/ping', access: 'open', inference: false, handle: handleHealth, summary: 'The same', answer: emptyAnswer },
  { method: 'GET', path: '/version', access: 'open', inference: false, handle: handleVersion, summary: 'The version of the server', answer: versionAnswer },
  { method: 'GET', path: '/load', access: 'open', inference: false, handle: handleLoad, summary: 'How many requests are running', answer: loadAnswer },
  { method: 'GET', path: '/metrics', access: 'open', inference: false, handle: handleMetrics, summary: 'Metrics for Prometheus', answer: metricsAnswer },
  ...responsesRoutes,
  ...messagesRoutes,
  ...ollamaRoutes,
  ...controlRoutes,
  { method: 'GET', path: '/openapi.json', access: 'open', needs: ['docs'], inference: false, summary: 'This description', answer: openApiAnswer,
    handle: (exchange, context) => handleOpenApi(exchange, context, routes) },
  { method: 'GET', path: '/docs', access: 'open', needs: ['docs'], inference: false, summary: 'The same as a page', answer: docsAnswer,
    handle: (exchange, context) => handleDocs(exchange, context, routes) },
];

export type RouteMatch =
  | { readonly found: 'route'; readonly route: Route; readonly rest: string }
  | { readonly found: 'other method'; readonly allowed: string }
  | { readonly found: 'nothing' };

export function findRoute(method: string, path: string): RouteMatch {
  const exact = routes.filter((route) => route.path === path);
  const onPath = exact.length > 0 ? exact : routes.filter((route) => isBelow(route.path, path));
  if (onPath.length === 0) return { found: 'nothing' };
  const route = onPath.find((candidate) => candidate.method === method);
  if (route === undefined) return { found: 'other method', allowed: onPath.map((candidate) => candidate.method).join(', ') };
  return { found: 'route', route, rest: route.path.endsWith('/*') ? path.slice(route.path.length - 1) : '' };
}

const isBelow = (pattern: string, path: string): boolean =>
  pattern.endsWith('/*') && path.length >= pattern.length && path.startsWith(pattern.slice(0, -1));
