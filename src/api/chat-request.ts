/**
 * The body of /v1/chat/completions -> what the model is asked. The other APIs with conversations (Responses, Messages, Ollama's) write their
 * bodies in this one's terms and come through here too, so that a field means the same in all of them.
 */
import type { ChatMessage, RenderOptions } from '../chat/template.js';
import { LockstepError } from '../errors.js';
import { asTemplatesExpect } from './chat-messages.js';
import { wrongType } from './fields.js';
import { flagOf, type Generation, parseGeneration } from './generation.js';
import type { JsonObject } from './json-object.js';
import type { ServedModel } from './served-model.js';
import { parseToolRequest, type ToolRequest, toolsForPrompt } from './tools.js';

export interface ConversationRequest {
  readonly messages: readonly ChatMessage[];
  readonly options: RenderOptions;
  readonly addSpecialTokens: boolean;
  /** Source of a template in place of the model's; null: the model's. */
  readonly template: string | null;
  /** What of the answer the prompt holds already: continue_final_message; null: nothing. */
  readonly answerPrefix: string | null;
}

export interface ChatRequest {
  readonly generation: Generation;
  readonly conversation: ConversationRequest;
  /** The last message is shown before the text, where it is of the role that answers. */
  readonly echo: boolean;
  /** The prompt as text is part of the answer. */
  readonly returnPromptText: boolean;
  /** null: no calls. */
  readonly tools: ToolRequest | null;
  readonly includeReasoning: boolean;
}

/** `body`: its fields are known and of their types. `text`: as it came. */
export function parseChat(body: JsonObject, text: string, model: ServedModel): ChatRequest {
  const tools = parseToolRequest(body, model.markup);
  const generation = parseGeneration(body, text, model, 'chat');
  const includeReasoning = flagOf(body, 'include_reasoning', true);
  if (
    !includeReasoning &&
    model.markup.reasoningFormat !== null &&
    (generation.sampling.numLogprobs !== null || generation.returnTokenIds)
  ) {
    const message = 'include_reasoning=false does not go with logprobs or return_token_ids, which would show it.';
    throw new LockstepError('invalid_value', message, { param: 'include_reasoning' });
  }
  const echo = flagOf(body, 'echo', false);
  return {
    generation: echo && !flagOf(body, 'stream', false) ? withPromptLogprobs(generation, body) : generation,
    conversation: parseConversation(body, model, text),
    tools,
    includeReasoning,
    echo,
    returnPromptText: flagOf(body, 'return_prompt_text', false),
  };
}

/** With the echo of a prompt come its log-probabilities, as vLLM has it. */
function withPromptLogprobs(generation: Generation, body: JsonObject): Generation {
  const { sampling } = generation;
  const numPromptLogprobs = sampling.numPromptLogprobs ?? (body['top_logprobs'] as number | null | undefined) ?? 0;
  return { ...generation, sampling: { ...sampling, numPromptLogprobs } };
}

const bothEnds =
  'continue_final_message and add_generation_prompt are not compatible. Use continue_final_message when you want the model to continue the ' +
  'final message, and add_generation_prompt when you want to add a header that will prompt it to start a new assistant message instead.';
const untrustedTemplate =
  'Chat template is passed with request, but --trust-request-chat-template is not set. Refused request with untrusted chat template.';
const mediaParts = new Set(['image_url', 'input_image', 'image_embeds', 'input_audio', 'audio_url', 'video_url', 'file']);

/** The fields of chat and of /tokenize that say what the prompt is. `text`: the body as it came; numbers of tools are printed as there. */
export function parseConversation(body: JsonObject, model: ServedModel, text = ''): ConversationRequest {
  const { names, preparation, trustRequestTemplate, markup, requestDefaults } = model;
  const messages = body['messages'] as readonly ChatMessage[];
  if (messages.length === 0) {
    throw new LockstepError('invalid_value', 'Cannot apply chat template to an empty conversation. Provide at least one message.');
  }
  for (const [i, { content }] of messages.entries()) {
    if (!Array.isArray(content)) continue;
    for (const [j, { type, text }] of (content as readonly { type: string; text?: unknown }[]).entries()) {
      if (mediaParts.has(type)) throw new LockstepError('invalid_value', `${names[0]} is not a multimodal model`);
      if (type !== 'text') throw new LockstepError('invalid_value', `Unknown part type: ${type}`, { param: `messages.${i}.content` });
      if (typeof text !== 'string') throw wrongType(`messages.${i}.content.${j}.text`, 'a string');
    }
  }
  const kwargs = body['chat_template_kwargs'] as JsonObject | null | undefined;
  const template = (body['chat_template'] as string | null | undefined) ?? null;
  const isForeign = template !== null || (kwargs?.['chat_template'] ?? null) !== null;
  if (isForeign && !trustRequestTemplate) throw new LockstepError('invalid_value', untrustedTemplate);
  const continueFinalMessage = flagOf(body, 'continue_final_message', false);
  const addGenerationPrompt = flagOf(body, 'add_generation_prompt', true);
  if (continueFinalMessage && addGenerationPrompt) throw new LockstepError('invalid_value', bothEnds);
  const source = template ?? preparation?.chatTemplate ?? '';
  const knowsDeveloper = source.includes('developer');
  const documents = body['documents'] as readonly unknown[] | null | undefined;
  const tools = toolsForPrompt(body, text, markup);
  const last = messages.at(-1)!.content;
  return {
    messages: messages.map((message) => asTemplatesExpect(message, knowsDeveloper)),
    options: {
      addGenerationPrompt,
      continueFinalMessage,
      kwargs: { ...requestDefaults.templateKwargs, ...reasoningKwargs(body, source), ...kwargs },
      ...(documents ? { documents } : {}),
      ...(tools === null ? {} : { tools }),
    },
    addSpecialTokens: flagOf(body, 'add_special_tokens', false),
    template,
    answerPrefix: continueFinalMessage ? (typeof last === 'string' ? last : (last?.at(-1)?.text ?? '')) : null,
  };
}

/** Names under which templates are told whether and how much to reason. */
const reasoningVariables = ['reasoning_effort', 'enable_thinking', 'thinking'] as const;

/** reasoning_effort as templates read it. Throws where this one does not. */
function reasoningKwargs(body: JsonObject, template: string): JsonObject {
  const effort = (body['reasoning_effort'] ?? null) as string | null;
  if (effort === null) return {};
  if (effort !== 'none' && !reasoningVariables.some((name) => template.includes(name))) {
    const message = 'reasoning_effort is not supported with this model: its chat template does not read it. Leave it out.';
    throw new LockstepError('invalid_value', message, { param: 'reasoning_effort' });
  }
  return { reasoning_effort: effort, enable_thinking: effort !== 'none', thinking: effort !== 'none' };
}
