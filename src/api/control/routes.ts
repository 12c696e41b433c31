/** The rows of the routes that steer the engine, and of those that say what the server is. */
import { emptyAnswer } from '../answers.js';
import type { Needed, Route } from '../route.js';
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
  { method: 'POST', path: '/sleep', access: 'key', needs: sleeping, inference: false, handle: handleSleep,
    summary: 'Generates nothing until it is woken', query: sleepQuery, answer: emptyAnswer },
  { method: 'POST', path: '/wake_up', access: 'key', needs: sleeping, inference: false, handle: handleWakeUp,
    summary: 'Goes on with what waits', query: wakeQuery, answer: emptyAnswer },
  { method: 'GET', path: '/is_sleeping', access: 'key', needs: sleeping, inference: false, handle: handleIsSleeping,
    summary: 'Whether it sleeps', answer: isSleepingAnswer },
  { method: 'POST', path: '/pause', access: 'key', needs: ['devMode'], inference: false, handle: handlePause,
    summary: 'The same as /sleep', query: pauseQuery, answer: pausedAnswer },
  { method: 'POST', path: '/resume', access: 'key', needs: ['devMode'], inference: false, handle: handleResume,
    summary: 'The same as /wake_up', answer: pausedAnswer },
  { method: 'GET', path: '/is_paused', access: 'key', needs: ['devMode'], inference: false, handle: handleIsPaused,
    summary: 'The same as /is_sleeping', answer: isPausedAnswer },
  { method: 'POST', path: '/reset_prefix_cache', access: 'key', needs: ['devMode'], inference: false, handle: handleResetPrefixCache,
    summary: 'Empties the prefix cache', query: resetQuery, answer: emptyAnswer },
  { method: 'GET', path: '/server_info', access: 'key', needs: ['devMode'], inference: false, handle: handleServerInfo,
    summary: 'The flags and the machine', query: infoQuery, answer: serverInfoAnswer },
  { method: 'GET', path: '/tokenizer_info', access: 'key', needs: ['tokenizerInfo'], inference: false, handle: handleTokenizerInfo,
    summary: "What the tokenizer's files say", answer: tokenizerInfoAnswer },
  { method: 'GET', path: '/get_model_info', access: 'key', inference: false, handle: handleModelInfo,
    summary: 'What model is served', answer: modelInfoAnswer },
  { method: 'GET', path: '/get_server_info', access: 'key', inference: false, handle: handleGetServerInfo,
    summary: 'The flags, the model and the load', answer: serverInfoAnswer },
  { method: 'GET', path: '/health_generate', access: 'key', inference: true, handle: handleHealthGenerate,
    summary: 'Whether a token comes', answer: emptyAnswer },
  { method: 'GET', path: '/flush_cache', access: 'key', inference: false, handle: handleFlushCache,
    summary: 'Empties the prefix cache', answer: flushAnswer },
  { method: 'POST', path: '/flush_cache', access: 'key', inference: false, handle: handleFlushCache,
    summary: 'Empties the prefix cache', answer: flushAnswer },
];
