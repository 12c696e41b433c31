/** The bodies of /v1/responses and /v1/responses/input_tokens. What chat has under the same name means the same here. */
import { type Field, requestBody } from '../fields.js';
import { sharedFields } from '../request-fields.js';
import { anyObject, anyOf, anything, boolean, integer, list, object, oneWord, string } from '../schema.js';

const open = { open: true } as const;
const part = object({ type: string }, { text: string, refusal: string }, open);
const content = anyOf(string, list(part));
const message = object(
  { role: oneWord('user', 'assistant', 'system', 'developer'), content },
  { type: oneWord('message'), id: string, status: string, phase: string },
);
const call = object(
  { type: oneWord('function_call'), call_id: string, name: string, arguments: string },
  { id: string, status: string, caller: anyObject, namespace: string },
);
const output = object(
  { type: oneWord('function_call_output'), call_id: string, output: content },
  { id: string, status: string, caller: anyObject },
);
const reasoning = object(
  { type: oneWord('reasoning') },
  { id: string, summary: list(part), content: list(part), encrypted_content: string, status: string },
);
const item = anyOf(message, call, output, reasoning);

const schemaFormat = { type: oneWord('json_schema'), name: string, schema: anyObject };
const format = anyOf(object({ type: oneWord('text', 'json_object') }), object(schemaFormat, { strict: boolean, description: string }));
const tool = object(
  { type: oneWord('function'), name: string },
  {
    parameters: anyObject,
    description: string,
    strict: boolean,
    defer_loading: { enum: [false] },
    allowed_callers: list(oneWord('direct')),
  },
);
const named = object({ type: oneWord('function'), name: string });
const toolChoice = anyOf(
  oneWord('none', 'auto', 'required'),
  named,
  object({ type: oneWord('allowed_tools'), mode: oneWord('auto', 'required'), tools: list(named) }),
);
/** Of items that are never made here, besides the log-probabilities. */
const included = list(
  oneWord(
    'message.output_text.logprobs',
    'reasoning.encrypted_content',
    'code_interpreter_call.outputs',
    'computer_call_output.output.image_url',
    'file_search_call.results',
    'message.input_image.image_url',
    'web_search_call.action.sources',
    'web_search_call.results',
  ),
);
const effort = object(
  {},
  { effort: string, summary: oneWord('auto', 'concise', 'detailed'), generate_summary: oneWord('auto', 'concise', 'detailed') },
);

/** Fields that go through to chat as they are. */
// biome-ignore format: names
export const sameAsChat = [
  'model', 'temperature', 'top_p', 'top_k', 'min_p', 'presence_penalty', 'frequency_penalty', 'repetition_penalty', 'seed', 'stop', 'ignore_eos',
  'logit_bias', 'skip_special_tokens', 'include_stop_str_in_output', 'structured_outputs', 'priority', 'request_id', 'cache_salt',
  'parallel_tool_calls', 'chat_template_kwargs', 'thinking_token_budget', 'mm_processor_kwargs', 'vllm_xargs', 'kv_transfer_params', 'ec_transfer_params',
  'user', 'safety_identifier', 'service_tier', 'prompt_cache_key', 'prompt_cache_retention', 'prompt_cache_options', 'moderation',
] as const;

const chatField = (name: string): Field => sharedFields.find((field) => field.name === name && field.routes.includes('chat'))!;
const refused = (name: string, help: string, neutral: readonly unknown[] = [], refusal?: string): Field => ({
  name,
  schema: anything,
  use: 'refused',
  help,
  neutral,
  ...(refusal === undefined ? {} : { refusal }),
});

// biome-ignore format: a row a field
const own: readonly Field[] = [
  { name: 'input', schema: anyOf(string, list(item)), use: 'honoured', required: true, help: 'text, or items: messages, calls, their outputs, reasoning' },
  { name: 'instructions', schema: string, use: 'honoured', help: 'a system message for this response alone' },
  { name: 'previous_response_id', schema: string, use: 'honoured', help: 'a stored response, whose conversation goes on' },
  { name: 'reasoning', schema: effort, use: 'honoured', help: 'effort; summaries are not made, the reasoning itself is given' },
  { name: 'text', schema: object({}, { format, verbosity: string }), use: 'honoured', help: 'format: text, json_object or json_schema' },
  { name: 'tools', schema: list(anyOf(tool)), use: 'honoured', help: 'functions that the model may call' },
  { name: 'tool_choice', schema: toolChoice, use: 'honoured', help: 'none, auto, required, a function, or some of them' },
  { name: 'truncation', schema: oneWord('auto', 'disabled'), use: 'honoured', default: 'disabled', help: 'auto: of a conversation that does not fit, the end is taken' },
  refused('conversation', 'conversations are kept by previous_response_id'),
];

// biome-ignore format: a row a field
const generating: readonly Field[] = [
  { name: 'max_output_tokens', schema: integer, use: 'honoured', range: '1 … --max-model-len', help: 'most tokens of the answer; unset: what the context leaves' },
  { name: 'include', schema: included, use: 'honoured', help: 'message.output_text.logprobs; the others speak of items that are never made here' },
  { name: 'top_logprobs', schema: integer, use: 'honoured', range: '0 … --max-logprobs', help: 'likeliest tokens shown at each position' },
  { name: 'store', schema: boolean, use: 'honoured', default: true, help: 'keep the response in memory, for previous_response_id and GET; the oldest go first' },
  { name: 'background', schema: boolean, use: 'honoured', default: false,
    help: 'answer at once, and make the response meanwhile: to be retrieved, streamed with GET ?stream=true&starting_after=N, or cancelled; needs store' },
  { name: 'metadata', schema: anyObject, use: 'honoured', help: 'comes back with the response' },
  { name: 'stream', schema: boolean, use: 'honoured', default: false, help: 'server-sent events' },
  { name: 'stream_options', schema: object({}, { include_obfuscation: { enum: [false] } }), use: 'accepted', help: 'nothing is obfuscated' },
  { name: 'max_tool_calls', schema: integer, use: 'accepted', help: 'bounds built-in tools, of which there are none' },
  refused('prompt', 'there are no stored prompts', [], 'prompt template is not supported (parameter=prompt)'),
  refused('context_management', 'the conversation is taken as it is'),
  refused('enable_response_messages', 'the items say it', [false]),
  refused('previous_input_messages', 'previous_response_id says it'),
];

export const responsesBody = requestBody('ResponsesRequest', [...own, ...generating, ...sameAsChat.map(chatField)]);
/** What decides about the prompt. */
export const inputTokensBody = requestBody('InputTokensRequest', [
  ...own,
  ...['model', 'parallel_tool_calls', 'chat_template_kwargs'].map(chatField),
]);
