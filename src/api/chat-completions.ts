/** POST /v1/chat/completions: parse the body, prepare the prompt, call the engine, format the answer. */
import type { ChatMessage, RenderOptions } from '../chat/template.js';
import type { PromptFacts } from '../engine/request.js';
import { LockstepError } from '../errors.js';
import { type ChatChoice, ChatChunks, type ChatEnvelope, wholeChat } from './chat-chunks.js';
import { type Context, checkModelName, checkQueue, type Serving, servingNow, warnOfUnknown } from './context.js';
import type { Exchange } from './exchange.js';
import { checkFields } from './fields.js';
import { flagOf, type Generation, parseGeneration, parseStreamOptions, type StreamOptions } from './generation.js';
import { type JsonObject, readJson } from './json-body.js';
import { chatLogprobs, promptLogprobs } from './logprobs.js';
import { type AnswerEvents, responseId, run, toRequest } from './run.js';
import type { ServedModel } from './served-model.js';
import type { EventStream } from './sse.js';
import { runningUsage, UsageCounter } from './usage.js';

export interface ConversationRequest {
  readonly messages: readonly ChatMessage[];
  readonly options: RenderOptions;
  readonly addSpecialTokens: boolean;
}

const bothEnds =
  'continue_final_message and add_generation_prompt are not compatible. Use continue_final_message when you want the model to continue the ' +
  'final message, and add_generation_prompt when you want to add a header that will prompt it to start a new assistant message instead.';
const mediaParts = new Set(['image_url', 'input_image', 'image_embeds', 'input_audio', 'audio_url', 'video_url', 'file']);

/**
 * A message as templates expect it: text, if empty, where there are no tool calls to speak for it; and the system's older name, where the
 * template does not know OpenAI's newer one and would print it as one more speaker.
 */
function asTemplatesExpect(message: ChatMessage, knowsDeveloper: boolean): ChatMessage {
  const { role, content, tool_calls: toolCalls } = message;
  const isEmpty = (content === null || content === undefined) && (toolCalls ?? []).length === 0;
  const isDeveloper = role === 'developer' && !knowsDeveloper;
  if (!isEmpty && !isDeveloper) return message;
  return { ...message, role: isDeveloper ? 'system' : role, ...(isEmpty ? { content: '' } : {}) };
}

/** The fields of chat and of /tokenize that say what the prompt is. */
export function parseConversation(body: JsonObject, { names, preparation }: ServedModel): ConversationRequest {
  const messages = body['messages'] as readonly ChatMessage[] | null | undefined;
  if (messages === null || messages === undefined) {
    throw new LockstepError('invalid_body', 'messages is required.', { param: 'body.messages' });
  }
  if (messages.length === 0) {
    throw new LockstepError('invalid_value', 'Cannot apply chat template to an empty conversation. Provide at least one message.');
  }
  for (const [i, { content }] of messages.entries()) {
    if (!Array.isArray(content)) continue;
    for (const { type } of content as readonly { type: string }[]) {
      if (mediaParts.has(type)) throw new LockstepError('invalid_value', `${names[0]} is not a multimodal model`);
      if (type !== 'text') throw new LockstepError('invalid_value', `Unknown part type: ${type}`, { param: `messages.${i}.content` });
    }
  }
  const continueFinalMessage = flagOf(body, 'continue_final_message', false);
  const addGenerationPrompt = flagOf(body, 'add_generation_prompt', true);
  if (continueFinalMessage && addGenerationPrompt) throw new LockstepError('invalid_value', bothEnds);
  const knowsDeveloper = preparation?.chatTemplate?.includes('developer') ?? false;
  const kwargs = body['chat_template_kwargs'] as JsonObject | null | undefined;
  return {
    messages: messages.map((message) => asTemplatesExpect(message, knowsDeveloper)),
    options: { addGenerationPrompt, continueFinalMessage, ...(kwargs ? { kwargs } : {}) },
    addSpecialTokens: flagOf(body, 'add_special_tokens', false),
  };
}

export async function handleChat(exchange: Exchange, context: Context): Promise<void> {
  const arrivalMs = performance.now();
  const serving = servingNow(context);
  const { model } = serving;
  checkQueue(model);
  const { body, text } = await readJson(exchange, context);
  warnOfUnknown(exchange, checkFields(body, 'chat', context.options.unknownFields));
  checkModelName(body, model);
  const streaming = parseStreamOptions(body, context.options.forceIncludeUsage);
  const generation = parseGeneration(body, text, model, 'chat');
  const conversation = parseConversation(body, model);
  const promptTokens = await serving.preparer.encode({ kind: 'messages', ...conversation });
  if (exchange.aborted) return;

  const id = responseId('chatcmpl', exchange, body);
  const request = toRequest(id, promptTokens, generation, model.maxModelLen);
  const role = conversation.options.addGenerationPrompt ? context.options.responseRole : conversation.messages.at(-1)!.role;
  const envelope = { id, created: Math.floor(Date.now() / 1000), model: model.names[0]!, fingerprint: serving.fingerprint, role };
  const answer = (streaming.stream ? streamed : whole)({ exchange, context, serving, generation, streaming, promptTokens, envelope });
  const { skipSpecialTokens } = generation;
  run(context, serving, exchange, request, { skipSpecialTokens, arrivalMs }, answer);
}

interface AnswerParts {
  readonly exchange: Exchange;
  readonly context: Context;
  readonly serving: Serving;
  readonly generation: Generation;
  readonly streaming: StreamOptions;
  readonly promptTokens: Int32Array;
  readonly envelope: ChatEnvelope;
}

function whole({ exchange, context, serving, generation, promptTokens, envelope }: AnswerParts): AnswerEvents {
  const { tokenizer, blockSize } = serving.model;
  const usage = new UsageCounter();
  usage.promptTokens = promptTokens.length;
  const choices = Array.from({ length: generation.sampling.n }, (): ChatChoice => {
    const tokenIds = generation.returnTokenIds ? [] : null;
    const logprobs = generation.sampling.numLogprobs === null ? null : { content: [] };
    return { text: '', logprobs, finishReason: null, stopReason: null, tokenIds };
  });
  let facts: PromptFacts = { cachedTokens: 0, queueMs: 0, promptLogprobs: null };
  return {
    prompt(known) {
      facts = known;
      usage.promptKnown(promptTokens.length, known.cachedTokens, blockSize);
    },
    delta(delta) {
      const choice = choices[delta.choice]!;
      choice.text += delta.text;
      usage.completionTokens += delta.ids.length;
      choice.tokenIds?.push(...delta.ids);
      if (delta.logprobs !== null) choice.logprobs?.content.push(...chatLogprobs(tokenizer, delta.logprobs).content);
      choice.finishReason = delta.finishReason;
      choice.stopReason = delta.stopReason;
    },
    finish() {
      const prompt = {
        logprobs: facts.promptLogprobs === null ? null : promptLogprobs(tokenizer, facts.promptLogprobs),
        tokenIds: generation.returnTokenIds ? Array.from(promptTokens) : null,
      };
      const body = wholeChat(envelope, choices, usage.whole(context.options.promptTokensDetails), prompt);
      exchange.reply(200, 'application/json', body);
    },
  };
}

function streamed({ exchange, context, serving, generation, streaming, promptTokens, envelope }: AnswerParts): AnswerEvents {
  const { tokenizer, blockSize } = serving.model;
  const chunks = new ChatChunks(envelope);
  const numChoices = generation.sampling.n;
  const choiceTokens = new Int32Array(numChoices);
  const usage = new UsageCounter();
  usage.promptTokens = promptTokens.length;
  const ids = (values: Int32Array) => (generation.returnTokenIds ? JSON.stringify(Array.from(values)) : 'null');
  const usageAfter = (numTokens: number) => (streaming.continuousUsage ? runningUsage(promptTokens.length, numTokens) : '');

  /** With the first token, not before: the role chunk is what clients take for the first token. */
  const open = (): EventStream => {
    const opened = exchange.openStream();
    for (let choice = 0; choice < numChoices; choice++) opened.send(chunks.role(choice, ids(promptTokens), usageAfter(0)));
    return opened;
  };
  return {
    prompt(facts) {
      usage.promptKnown(promptTokens.length, facts.cachedTokens, blockSize);
    },
    delta(delta) {
      const stream = exchange.stream ?? open();
      usage.completionTokens += delta.ids.length;
      choiceTokens[delta.choice]! += delta.ids.length;
      const logprobs = delta.logprobs === null ? 'null' : JSON.stringify(chatLogprobs(tokenizer, delta.logprobs));
      const sofar = usageAfter(choiceTokens[delta.choice]!);
      stream.send(chunks.delta(delta, logprobs, ids(delta.ids), sofar, !streaming.includeUsage));
    },
    finish() {
      const last = streaming.includeUsage ? chunks.usage(usage.last(context.options.promptTokensDetails)) : '';
      exchange.stream?.end(`${last}data: [DONE]\n\n`);
    },
  };
}
