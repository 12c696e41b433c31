/** The bodies of Ollama's routes. Options say how to sample, which has its effect, and how to run, which is the server's own affair. */
import { type Field, requestBody } from '../fields.js';
import { anyObject, anyOf, anything, boolean, integer, list, number, object, oneWord, type Schema, string } from '../schema.js';

const only = (...values: (string | number | boolean)[]): Schema => ({ enum: values });

/** Ollama's name -> chat's. */
export const samplingOptions = {
  temperature: 'temperature',
  top_p: 'top_p',
  top_k: 'top_k',
  min_p: 'min_p',
  seed: 'seed',
  stop: 'stop',
  repeat_penalty: 'repetition_penalty',
  presence_penalty: 'presence_penalty',
  frequency_penalty: 'frequency_penalty',
} as const;

const options = object(
  {},
  {
    temperature: number,
    top_p: number,
    top_k: integer,
    min_p: number,
    seed: integer,
    stop: anyOf(string, list(string)),
    repeat_penalty: number,
    presence_penalty: number,
    frequency_penalty: number,
    num_predict: integer,
    // Samplers that are not built, with the values that turn them off; penalties look at the whole context.
    mirostat: only(0),
    mirostat_tau: number,
    mirostat_eta: number,
    tfs_z: only(1),
    typical_p: only(1),
    penalize_newline: only(true),
    repeat_last_n: only(-1),
    // How to run.
    num_ctx: integer,
    num_keep: integer,
    num_batch: integer,
    num_gpu: integer,
    main_gpu: integer,
    num_thread: integer,
    numa: boolean,
    low_vram: boolean,
    f16_kv: boolean,
    logits_all: boolean,
    vocab_only: boolean,
    use_mmap: boolean,
    use_mlock: boolean,
    embedding_only: boolean,
  },
);

const call = object(
  { function: object({ name: string }, { arguments: anyObject, index: integer, description: string }) },
  { id: string, type: string },
);
const message = object(
  { role: string },
  { content: string, thinking: string, images: list(anything), tool_calls: list(call), tool_name: string, tool_call_id: string },
);
const tool = object({ function: anyObject }, { type: oneWord('function') });
const format = anyOf(oneWord('', 'json'), anyObject);
const think = anyOf(boolean, oneWord('high', 'medium', 'low'));

const refused = (name: string, help: string, neutral: readonly unknown[] = []): Field => ({
  name,
  schema: anything,
  use: 'refused',
  help,
  neutral,
});

// biome-ignore format: a row a field
const shared: readonly Field[] = [
  { name: 'model', schema: string, use: 'honoured', required: true, help: 'a served name, with or without :latest' },
  { name: 'stream', schema: boolean, use: 'honoured', default: true, help: 'a line of JSON for every piece' },
  { name: 'format', schema: format, use: 'honoured', help: 'json, or a JSON schema' },
  { name: 'options', schema: options, use: 'honoured', help: 'num_predict, temperature, top_k, top_p, min_p, seed, stop, repeat_penalty and the other penalties; those about running have no effect' },
  { name: 'think', schema: think, use: 'honoured', help: 'whether, or how much, to reason first' },
  { name: 'thinking_token_budget', schema: { type: 'integer', minimum: -1 }, use: 'honoured', default: -1,
    help: 'most tokens of reasoning: then its end is forced; -1: no bound. Not of Ollama' },
  { name: 'logprobs', schema: boolean, use: 'honoured', default: false, help: 'log-probabilities of the tokens' },
  { name: 'top_logprobs', schema: integer, use: 'honoured', range: '0 … --max-logprobs', help: 'likeliest tokens shown at each position' },
  { name: 'keep_alive', schema: anyOf(string, number), use: 'accepted', help: 'the model stays' },
  { name: 'truncate', schema: boolean, use: 'honoured', default: false, help: 'of a prompt that does not fit, the end is taken' },
];

// biome-ignore format: a row a field
export const ollamaChatBody = requestBody('OllamaChatRequest', [
  ...shared,
  { name: 'messages', schema: list(message), use: 'honoured', help: 'the conversation; without any, nothing is generated' },
  { name: 'tools', schema: list(tool), use: 'honoured', help: 'functions that the model may call' },
]);

// biome-ignore format: a row a field
export const ollamaGenerateBody = requestBody('OllamaGenerateRequest', [
  ...shared,
  { name: 'prompt', schema: string, use: 'honoured', help: 'a text; without one, nothing is generated' },
  { name: 'system', schema: string, use: 'honoured', help: 'the system message; not with raw' },
  { name: 'raw', schema: boolean, use: 'honoured', default: false, help: 'the prompt goes to the model as it is, without the chat template' },
  refused('suffix', 'only for models with fill-in-the-middle tokens', ['']),
  refused('images', 'only text models are served', [[]]),
  refused('template', 'only --chat-template sets one', ['']),
  refused('context', 'use /api/chat for conversations', [[]]),
  refused('width', 'no images are made'),
  refused('height', 'no images are made'),
  refused('steps', 'no images are made'),
]);

// biome-ignore format: a row a field
export const ollamaShowBody = requestBody('OllamaShowRequest', [
  { name: 'model', schema: string, use: 'honoured', help: 'a served name, with or without :latest; unset: the first' },
  { name: 'name', schema: string, use: 'honoured', help: 'an older name of model' },
  { name: 'verbose', schema: boolean, use: 'accepted', help: 'there is nothing more to say' },
  refused('system', 'it is shown as it is', ['']),
  refused('template', 'it is shown as it is', ['']),
  refused('options', 'it is shown as it is', [{}]),
]);
