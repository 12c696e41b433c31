/** The bodies of /v1/messages and /v1/messages/count_tokens, as Anthropic's client sends them. */
import { type Field, requestBody } from '../fields.js';
import { anyObject, anyOf, anything, boolean, integer, list, number, object, oneWord, type Schema, string } from '../schema.js';

const cacheControl = { cache_control: anyObject };
const text = object({ type: oneWord('text'), text: string }, { ...cacheControl, citations: list(anything) });
const media = object({ type: oneWord('image', 'document', 'search_result', 'container_upload') }, {}, { open: true });
const toolUse = object({ type: oneWord('tool_use'), id: string, name: string, input: anyObject }, { ...cacheControl, caller: anyObject });
const toolResult = object(
  { type: oneWord('tool_result'), tool_use_id: string },
  { ...cacheControl, content: anyOf(string, list(anyOf(text, media))), is_error: boolean },
);
const thinking = object({ type: oneWord('thinking'), thinking: string }, { signature: string });
const redacted = object({ type: oneWord('redacted_thinking'), data: string });
const block = anyOf(text, toolUse, toolResult, thinking, redacted, media);
const message = object({ role: oneWord('user', 'assistant', 'system'), content: anyOf(string, list(block)) });

const tool = object(
  { name: string, input_schema: anyObject },
  {
    ...cacheControl,
    type: oneWord('custom'),
    description: string,
    strict: boolean,
    // How the client likes to be streamed to, and who may call: calls come piece by piece, and only from the model.
    eager_input_streaming: boolean,
    defer_loading: { enum: [false] },
    allowed_callers: list(oneWord('direct')),
  },
);
const parallel = { disable_parallel_tool_use: boolean };
const toolChoice = anyOf(
  object({ type: oneWord('auto', 'any') }, parallel),
  object({ type: oneWord('tool'), name: string }, parallel),
  object({ type: oneWord('none') }),
);
const display = { display: oneWord('summarized', 'omitted') };
const thinkingConfig = anyOf(
  object({ type: oneWord('enabled'), budget_tokens: { ...integer, minimum: 1 } }, display),
  object({ type: oneWord('adaptive') }, display),
  object({ type: oneWord('disabled') }),
);
const outputConfig = object({}, { effort: string, format: object({ type: oneWord('json_schema'), schema: anyObject }) });
/** What Claude Code sends with every request: to take nothing out. */
const keepThinking = { type: 'clear_thinking_20251015', keep: 'all' };
const positive: Schema = { ...integer, minimum: 1 };

// biome-ignore format: a row a field
const shared: readonly Field[] = [
  { name: 'model', schema: string, use: 'honoured', help: 'a served name; unset: the first' },
  { name: 'messages', schema: list(message), use: 'honoured', required: true, help: 'the conversation; where it ends with the assistant, the answer goes on from there' },
  { name: 'system', schema: anyOf(string, list(text)), use: 'honoured', help: 'the system message' },
  { name: 'tools', schema: list(tool), use: 'honoured', help: 'functions that the model may call' },
  { name: 'tool_choice', schema: toolChoice, use: 'honoured', help: 'auto, any, tool or none' },
  { name: 'thinking', schema: thinkingConfig, use: 'honoured', help: 'enabled (with a budget), adaptive or disabled' },
  { name: 'output_config', schema: outputConfig, use: 'honoured', help: 'effort, and a JSON schema' },
  { name: 'chat_template_kwargs', schema: anyObject, use: 'honoured', help: 'variables for the chat template' },
  { name: 'cache_control', schema: anyObject, use: 'accepted', help: 'prefixes are found without' },
  { name: 'speed', schema: anything, use: 'refused', neutral: ['standard'], help: 'there is one' },
  { name: 'user_profile_id', schema: string, use: 'accepted', help: 'for the client' },
  { name: 'workspace_id', schema: string, use: 'accepted', help: 'for the client' },
];

// biome-ignore format: a row a field
const generating: readonly Field[] = [
  { name: 'max_tokens', schema: positive, use: 'honoured', required: true, help: 'most tokens of the answer' },
  { name: 'stop_sequences', schema: list(string), use: 'honoured', help: 'texts that end the answer' },
  { name: 'temperature', schema: number, use: 'honoured', help: '0: greedy' },
  { name: 'top_p', schema: number, use: 'honoured', help: 'nucleus: the likeliest tokens with this mass' },
  { name: 'top_k', schema: integer, use: 'honoured', help: 'the k likeliest tokens' },
  { name: 'stream', schema: boolean, use: 'honoured', default: false, help: 'server-sent events' },
  { name: 'metadata', schema: anyObject, use: 'accepted', help: 'for the client' },
  { name: 'service_tier', schema: string, use: 'accepted', help: 'there is one' },
  { name: 'container', schema: anything, use: 'refused', help: 'no code is run here' },
  { name: 'mcp_servers', schema: anything, use: 'refused', neutral: [[]], help: 'no tools are called here' },
  { name: 'context_management', schema: anything, use: 'refused', neutral: [{ edits: [] }, { edits: [keepThinking] }], help: 'the conversation is taken as it is' },
  { name: 'diagnostics', schema: anything, use: 'refused', help: 'there are none' },
  { name: 'inference_geo', schema: anything, use: 'refused', help: 'it runs where it runs' },
  { name: 'kv_transfer_params', schema: anything, use: 'refused', help: 'the KV cache stays in this process' },
];

export const messagesBody = requestBody('MessagesRequest', [...shared, ...generating]);
export const countTokensBody = requestBody('CountTokensRequest', shared);
