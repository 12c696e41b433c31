/** POST /v1/completions: parse the body, read the prompts, submit one request to the engine for each. The answer is made in `completion-answer.ts`. */
import type { GenerationRequest } from '../engine/request.js';
import { LockstepError } from '../errors.js';
import { type CompletionRequest, joinPrompts, type Prompt, streamedCompletion, wholeCompletionAnswer } from './completion-answer.js';
import { constraintsOf } from './constraints.js';
import type { Context, Serving } from './context.js';
import type { Exchange } from './exchange.js';
import { middleFormat } from './fill-in-the-middle.js';
import { flagOf, parseGeneration, parseStreamOptions } from './generation.js';
import type { JsonObject } from './json-object.js';
import { checkVocabulary, truncated } from './prepare.js';
import { readGenerating } from './request.js';
import { choicesMax, completionBody, noPrompt } from './request-fields.js';
import { responseId, run, toRequest } from './run.js';
import { thinkingOf } from './thinking.js';

const noAnswer = { text: '', answerPrefix: null };

/** Most prompts of one request. */
export const promptsMax = 1024;

export async function handleCompletion(exchange: Exchange, context: Context): Promise<void> {
  const { serving, body, text, arrivalMs } = await readGenerating(exchange, context, completionBody);
  const { model } = serving;
  const { completion, prompts } = await readCompletion(body, text, context, serving);
  const { generation } = completion;
  const common = await constraintsOf(serving, { ...generation, thinkingBudget: null }, noAnswer);
  const id = responseId('cmpl', exchange, body);
  const requests: GenerationRequest[] = [];
  for (const { ids } of prompts) {
    const text = generation.thinkingBudget === null ? '' : model.tokenizer.decode(ids, { skipSpecialTokens: false });
    const thinking = await thinkingOf(serving, generation.thinkingBudget, { text, answerPrefix: null });
    requests.push(toRequest(id, ids, generation, { ...common, ...thinking }, model.maxModelLen));
  }
  if (exchange.aborted) return;

  const envelope = { id, created: Math.floor(Date.now() / 1000), model: model.names[0]!, fingerprint: serving.fingerprint };
  const format = completion.streaming.stream ? streamedCompletion : wholeCompletionAnswer;
  const answers = joinPrompts(prompts, completion, serving, format({ exchange, context, serving, completion, prompts, envelope }));
  // Where the queue takes only some of the prompts, the error ends the exchange, and that takes back those submitted.
  for (const [prompt, request] of requests.entries()) {
    run(context, serving, exchange, request, { generation, arrivalMs }, answers[prompt]!);
  }
}

/** What is asked, and of which prompts. */
export async function readCompletion(
  body: JsonObject,
  text: string,
  context: Context,
  serving: Serving,
): Promise<{ readonly completion: CompletionRequest; readonly prompts: Prompt[] }> {
  const parsed = parseCompletion(body, text, context, serving);
  const { completion, wrap } = await withSuffix(body, parsed, serving);
  return { completion, prompts: await readPrompts(body, serving, completion, wrap) };
}

const asItIs = (text: string) => text;

/** With a suffix, what makes the model's prompt of a text, and the tokens with which the model ends a middle. */
async function withSuffix(body: JsonObject, completion: CompletionRequest, { model }: Serving) {
  const suffix = (body['suffix'] as string | null | undefined) ?? '';
  if (suffix === '') return { completion, wrap: asItIs };
  const refuse = (message: string, param: string) => new LockstepError('invalid_value', message, { param });
  const format = await middleFormat(model.tokenizer);
  if (format === null) throw refuse('suffix is only supported for models with FIM completion rendering', 'suffix');
  const prompts = [body['prompt']].flat();
  if (prompts.some((prompt) => typeof prompt !== 'string')) throw refuse('suffix needs a prompt of text.', 'suffix');
  const { generation } = completion;
  if (generation.truncation !== null) throw refuse('A prompt with a suffix cannot be cut.', 'truncate_prompt_tokens');
  const eosTokenIds = [...new Set([...generation.stop.eosTokenIds, ...format.endIds])];
  const stop = { ...generation.stop, eosTokenIds };
  return { completion: { ...completion, generation: { ...generation, stop } }, wrap: (text: string) => format.prompt(text, suffix) };
}

function parseCompletion(body: JsonObject, text: string, context: Context, { model }: Serving): CompletionRequest {
  const streaming = parseStreamOptions(body, context.options.forceIncludeUsage);
  const parsed = parseGeneration(body, text, model, 'completions');
  const echo = flagOf(body, 'echo', false);
  const { sampling } = parsed;
  // An echoed prompt shows as many log-probabilities as the output.
  const numPromptLogprobs = sampling.numPromptLogprobs ?? (echo ? sampling.numLogprobs : null);
  const generation = { ...parsed, sampling: { ...sampling, numPromptLogprobs } };
  return { generation, streaming, echo, onlyPrompt: parsed.maxTokens === 0 };
}

async function readPrompts(
  body: JsonObject,
  { model, preparer }: Serving,
  { generation, echo }: CompletionRequest,
  wrap: (text: string) => string,
): Promise<Prompt[]> {
  const prompt = body['prompt'] as string | readonly (string | number | readonly number[])[];
  if (prompt === '') throw new LockstepError('invalid_value', noPrompt, { param: 'prompt' });
  if (prompt.length === 0) throw new LockstepError('invalid_value', 'You must pass at least one prompt');
  const items = typeof prompt === 'string' ? [prompt] : typeof prompt[0] === 'number' ? [prompt as readonly number[]] : prompt;
  if (items.length > promptsMax || items.length * generation.sampling.n > choicesMax * 4) {
    throw new LockstepError('invalid_value', `At most ${promptsMax} prompts and ${choicesMax * 4} choices fit in one request.`, {
      param: 'prompt',
    });
  }
  const addSpecialTokens = flagOf(body, 'add_special_tokens', true);
  const { skipSpecialTokens, truncation } = generation;
  const prompts: Prompt[] = [];
  for (const item of items as readonly (string | readonly number[])[]) {
    if (typeof item === 'string') {
      prompts.push({ text: item, ids: await preparer.encode({ kind: 'text', text: wrap(item), addSpecialTokens, truncation }) });
    } else {
      checkVocabulary(item, model.vocabSize);
      const whole = Int32Array.from(item);
      const ids = truncation === null ? whole : truncated(whole, truncation, model.tokenizer.bosTokenId);
      prompts.push({ text: echo ? model.tokenizer.decode(ids, { skipSpecialTokens }) : '', ids });
    }
    if (prompts.at(-1)!.ids.length === 0) throw new LockstepError('invalid_value', 'The prompt cannot be empty.', { param: 'prompt' });
  }
  return prompts;
}
