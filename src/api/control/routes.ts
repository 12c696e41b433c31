/** The rows of the routes that steer the engine, and of those that say what the server is. */
import { emptyAnswer } from '../answers.js';
import { type Needed, type Route, route } from '../route.js';
import { anyOf, boolean, list, object, string } from '../schema.js';
import { handleGetServerInfo, handleHealthGenerate, handleModelInfo, handleServerInfo, handleTokenizerInfo, infoQuery } from './info.js';
import {
  handleFlushCache,
  handleIsPaused,
  handleIsSleeping,
  handlePause,
  handleResetPrefixCache,
  handleResume,
  handleSleep,
  handleWakeUp,
  pauseQuery,
  resetQuery,
  sleepQuery,
  wakeQuery,
} from './steer.js';

const sleeping: readonly Needed[] = ['sleepMode', 'devMode'];
const isSleepingAnswer = { name: 'IsSleeping', json: object({ is_sleeping: boolean }) };
const pausedAnswer = { name: 'Paused', json: object({ status: string }) };
const isPausedAnswer = { name: 'IsPaused', json: object({ is_paused: boolean }) };
const flushAnswer = { name: 'Flushed', media: 'text/plain' };
const open = { open: true } as const;
const serverInfoAnswer = { name: 'ServerInfo', json: object({ version: string }, {}, open) };
const modelInfoAnswer = { name: 'ModelInfo', json: object({ model_path: string, is_generation: boolean }, {}, open) };
const tokenizerInfoAnswer = { name: 'TokenizerInfo', json: object({}, { chat_template: anyOf(string, list(object({}, {}, open))) }, open) };

// biome-ignore format: a row a route
export const controlRoutes: readonly Route[] = [
  route('POST', '/sleep', 'key', { needs: sleeping, handle: handleSleep,
    summary: 'Generates nothing until it is woken', query: sleepQuery, answer: emptyAnswer }),
  route('POST', '/wake_up', 'key', { needs: sleeping, handle: handleWakeUp,
    summary: 'Goes on with what waits', query: wakeQuery, answer: emptyAnswer }),
  route('GET', '/is_sleeping', 'key', { needs: sleeping, handle: handleIsSleeping,
    summary: 'Whether it sleeps', answer: isSleepingAnswer }),
  route('POST', '/pause', 'key', { needs: ['devMode'], handle: handlePause,
    summary: 'The same as /sleep', query: pauseQuery, answer: pausedAnswer }),
  route('POST', '/resume', 'key', { needs: ['devMode'], handle: handleResume,
    summary: 'The same as /wake_up', answer: pausedAnswer }),
  route('GET', '/is_paused', 'key', { needs: ['devMode'], handle: handleIsPaused,
    summary: 'The same as /is_sleeping', answer: isPausedAnswer }),
  route('POST', '/reset_prefix_cache', 'key', { needs: ['devMode'], handle: handleResetPrefixCache,
    summary: 'Empties the prefix cache', query: resetQuery, answer: emptyAnswer }),
  route('GET', '/server_info', 'key', { needs: ['devMode'], handle: handleServerInfo,
    summary: 'The flags and the machine', query: infoQuery, answer: serverInfoAnswer }),
  route('GET', '/tokenizer_info', 'key', { needs: ['tokenizerInfo'], handle: handleTokenizerInfo,
    summary: "What the tokenizer's files say", answer: tokenizerInfoAnswer }),
  route('GET', '/get_model_info', 'key', { handle: handleModelInfo,
    summary: 'What model is served', answer: modelInfoAnswer }),
  route('GET', '/get_server_info', 'key', { handle: handleGetServerInfo,
    summary: 'The flags, the model and the load', answer: serverInfoAnswer }),
  route('GET', '/health_generate', 'inference', { handle: handleHealthGenerate,
    summary: 'Whether a token comes', answer: emptyAnswer }),
  route('GET', '/flush_cache', 'key', { handle: handleFlushCache,
    summary: 'Empties the prefix cache', answer: flushAnswer }),
  route('POST', '/flush_cache', 'key', { handle: handleFlushCache,
    summary: 'Empties the prefix cache', answer: flushAnswer }),
];
