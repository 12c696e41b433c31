/** The rows of Ollama's API. */
import { type Answer, route, withErrors } from '../route.js';
import { anyObject, boolean, integer, list, object, string } from '../schema.js';
import { linesType } from './answer.js';
import { ollamaErrors } from './errors.js';
import { ollamaChatBody, ollamaGenerateBody, ollamaShowBody } from './fields.js';
import { handleOllamaVersion, handleRunning, handleShow, handleTags } from './models.js';
import { handleOllamaChat, handleOllamaGenerate } from './ollama.js';

const open = { open: true } as const;
const line = { model: string, created_at: string, done: boolean };
const end = { done_reason: string, prompt_eval_count: integer, eval_count: integer };
const chatLine = object({ ...line, message: anyObject }, end, open);
const generateLine = object({ ...line, response: string }, end, open);
const chatAnswer: Answer = { name: 'OllamaChat', json: chatLine, media: linesType };
const generateAnswer: Answer = { name: 'OllamaGenerate', json: generateLine, media: linesType };
const modelsAnswer: Answer = { name: 'OllamaModels', json: object({ models: list(object({ name: string, model: string }, {}, open)) }) };
const showAnswer: Answer = { name: 'OllamaModel', json: object({ details: anyObject, model_info: anyObject }, { template: string }, open) };
const versionAnswer: Answer = { name: 'OllamaVersion', json: object({ version: string }) };

// biome-ignore format: a row a route
export const ollamaRoutes = withErrors(ollamaErrors, [
  route('POST', '/api/chat', 'inference', { handle: handleOllamaChat,
    summary: "Answers a conversation, in Ollama's terms; streamed unless stream is false, a line of JSON for every piece", body: ollamaChatBody, answer: chatAnswer }),
  route('POST', '/api/generate', 'inference', { handle: handleOllamaGenerate,
    summary: "Answers a prompt, in Ollama's terms; streamed likewise", body: ollamaGenerateBody, answer: generateAnswer }),
  route('POST', '/api/show', 'key', { handle: handleShow,
    summary: 'What the model is', body: ollamaShowBody, answer: showAnswer }),
  route('GET', '/api/tags', 'key', { handle: handleTags,
    summary: 'The names under which the model is served', answer: modelsAnswer }),
  route('GET', '/api/ps', 'key', { handle: handleRunning,
    summary: 'The models in memory', answer: modelsAnswer }),
  route('GET', '/api/version', 'open', { handle: handleOllamaVersion,
    summary: 'The version of the server', answer: versionAnswer }),
]);
