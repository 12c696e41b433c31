/** POST /v1/completions: one request to the engine for each prompt; choice i of prompt p has index p * n + i. */
import type { TextDelta, TextEvents } from '../engine/output.js';
import type { GenerationRequest, PromptFacts, TokenLogprobs } from '../engine/request.js';
import { LockstepError } from '../errors.js';
import { endedEarly } from './chat-completions.js';
import { type CompletionChoice, CompletionChunks, type CompletionEnvelope, wholeCompletion } from './completion-chunks.js';
import { type Context, checkModelName, checkQueue, type Serving, servingNow, warnOfUnknown } from './context.js';
import { errorBody, replyError } from './error-body.js';
import type { Exchange } from './exchange.js';
import { checkFields } from './fields.js';
import { choicesMax, flagOf, type Generation, parseGeneration, parseStreamOptions, type StreamOptions } from './generation.js';
import { type JsonObject, readJson } from './json-body.js';
import { CompletionLogprobsWriter, promptLogprobs } from './logprobs.js';
import { choiceError, responseId, run, toRequest } from './run.js';
import { runningUsage, UsageCounter } from './usage.js';

/** Most prompts of one request. */
export const promptsMax = 1024;

/** One prompt: its text, where it came as text or is to be echoed, and its ids. */
interface Prompt {
  readonly text: string;
  readonly ids: Int32Array;
}

interface CompletionRequest {
  readonly generation: Generation;
  readonly streaming: StreamOptions;
  readonly echo: boolean;
  /** max_tokens 0: the prompt alone is wanted. */
  readonly onlyPrompt: boolean;
}

export async function handleCompletion(exchange: Exchange, context: Context): Promise<void> {
  const arrivalMs = performance.now();
  const serving = servingNow(context);
  const { model } = serving;
  checkQueue(model);
  const { body, text } = await readJson(exchange, context.options.maxBodyBytes);
  warnOfUnknown(exchange, checkFields(body, 'completions', context.options.unknownFields));
  checkModelName(body, model);
  const completion = parseCompletion(body, text, context, serving);
  const prompts = await readPrompts(body, serving, completion);
  if (exchange.aborted) return;

  const id = responseId('cmpl', exchange, body);
  const requests = prompts.map(({ ids }) => toRequest(id, ids, completion.generation, model.maxModelLen));
  const envelope = { id, created: Math.floor(Date.now() / 1000), model: model.names[0]!, fingerprint: serving.fingerprint };
  const answer = completion.streaming.stream
    ? new StreamedCompletion(exchange, context, serving, completion, prompts, envelope)
    : new WholeCompletion(exchange, context, serving, completion, prompts, envelope);
  submitAll(requests, answer, completion, exchange, context, serving, arrivalMs);
}

/** All or none: where the queue takes only some of the prompts, those are withdrawn. */
function submitAll(
  requests: readonly GenerationRequest[],
  answer: Answer,
  { generation: { skipSpecialTokens } }: CompletionRequest,
  exchange: Exchange,
  context: Context,
  serving: Serving,
  arrivalMs: number,
): void {
  const submitted: string[] = [];
  try {
    for (const [prompt, request] of requests.entries()) {
      run(context, serving, exchange, request, { skipSpecialTokens, arrivalMs }, answer.eventsOf(prompt));
      submitted.push(request.id);
    }
  } catch (error) {
    answer.withdraw();
    for (const id of submitted) serving.model.engine.abort(id);
    throw error;
  }
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

async function readPrompts(body: JsonObject, { model, preparer }: Serving, { generation, echo }: CompletionRequest): Promise<Prompt[]> {
  const prompt = body['prompt'] as string | readonly (string | number | readonly number[])[] | null | undefined;
  const isEmpty = prompt === null || prompt === undefined || prompt === '';
  if (isEmpty) {
    throw new LockstepError('invalid_value', 'Either prompt or prompt_embeds must be provided and non-empty. (parameter=prompt)', {
      param: 'prompt',
    });
  }
  if (prompt.length === 0) throw new LockstepError('invalid_value', 'You must pass at least one prompt');
  const items = typeof prompt === 'string' ? [prompt] : typeof prompt[0] === 'number' ? [prompt as readonly number[]] : prompt;
  if (items.length > promptsMax || items.length * generation.sampling.n > choicesMax * 4) {
    throw new LockstepError('invalid_value', `At most ${promptsMax} prompts and ${choicesMax * 4} choices fit in one request.`, {
      param: 'prompt',
    });
  }
  const addSpecialTokens = flagOf(body, 'add_special_tokens', true);
  const prompts: Prompt[] = [];
  for (const item of items as readonly (string | readonly number[])[]) {
    if (typeof item === 'string') {
      prompts.push({ text: item, ids: await preparer.encode({ kind: 'text', text: item, addSpecialTokens }) });
    } else {
      const { skipSpecialTokens } = generation;
      prompts.push({ text: echo ? model.tokenizer.decode(item, { skipSpecialTokens }) : '', ids: checkedIds(item, model.vocabSize) });
    }
    if (prompts.at(-1)!.ids.length === 0) throw new LockstepError('invalid_value', 'The prompt cannot be empty.', { param: 'prompt' });
  }
  return prompts;
}

function checkedIds(ids: readonly number[], vocabSize: number): Int32Array {
  const outside = ids.find((id) => id >= vocabSize);
  if (outside !== undefined) throw new LockstepError('invalid_value', `Token id ${outside} is out of vocabulary`);
  return Int32Array.from(ids);
}

/** What the two kinds of answer share: one usage over all prompts, and the end, when every prompt is closed. */
abstract class Answer {
  protected readonly usage = new UsageCounter();
  protected readonly writers: (CompletionLogprobsWriter | null)[];
  protected failure: LockstepError | null = null;
  protected unfinished: number;
  #open: number;
  #withdrawn = false;

  constructor(
    protected readonly exchange: Exchange,
    protected readonly context: Context,
    protected readonly serving: Serving,
    protected readonly completion: CompletionRequest,
    protected readonly prompts: readonly Prompt[],
  ) {
    const { n, numLogprobs } = completion.generation.sampling;
    this.unfinished = prompts.length * n;
    this.#open = prompts.length;
    this.writers = Array.from({ length: this.unfinished }, () =>
      numLogprobs === null ? null : new CompletionLogprobsWriter(serving.model.tokenizer),
    );
    for (const { ids } of prompts) this.usage.promptTokens += ids.length;
  }

  /** The queue took only some of the prompts: what still comes is dropped. */
  withdraw(): void {
    this.#withdrawn = true;
  }

  eventsOf(prompt: number): TextEvents {
    const { n } = this.completion.generation.sampling;
    return {
      prompt: (facts) => {
        if (prompt === 0) this.usage.cachedTokens = facts.cachedTokens;
        if (!this.#withdrawn) this.promptKnown(prompt, facts);
      },
      delta: (delta) => {
        if (this.#withdrawn || this.failure !== null) return;
        if (delta.finishReason === 'error') return this.fail(choiceError(delta));
        this.usage.completionTokens += delta.ids.length;
        if (delta.finishReason !== null) this.unfinished--;
        this.take(prompt, prompt * n + delta.choice, delta);
      },
      closed: () => {
        if (--this.#open > 0 || this.#withdrawn || this.failure !== null) return;
        if (this.unfinished > 0) this.fail(endedEarly);
        else this.finish();
      },
    };
  }

  /** Text and log-probabilities of an echoed prompt go before a choice's own. */
  protected echoInto(writer: CompletionLogprobsWriter | null, prompt: number, known: readonly TokenLogprobs[] | null): string {
    if (!this.completion.echo) return '';
    writer?.pushFirst(this.prompts[prompt]!.ids[0]!);
    writer?.push(known ?? []);
    return this.prompts[prompt]!.text;
  }

  protected fail(error: LockstepError): void {
    this.failure = error;
    replyError(this.exchange, error, this.context.options.errorCodeStyle);
  }

  protected abstract promptKnown(prompt: number, facts: PromptFacts): void;
  protected abstract take(prompt: number, index: number, delta: TextDelta): void;
  protected abstract finish(): void;
}

class WholeCompletion extends Answer {
  readonly #choices: CompletionChoice[];
  readonly #envelope: CompletionEnvelope;

  constructor(
    ...[exchange, context, serving, completion, prompts, envelope]: [...ConstructorParameters<typeof Answer>, CompletionEnvelope]
  ) {
    super(exchange, context, serving, completion, prompts);
    this.#envelope = envelope;
    const { returnTokenIds, sampling } = completion.generation;
    this.#choices = Array.from({ length: this.unfinished }, (_, index): CompletionChoice => {
      const promptTokenIds = returnTokenIds ? Array.from(prompts[Math.floor(index / sampling.n)]!.ids) : null;
      const tokenIds = returnTokenIds ? [] : null;
      return { text: '', logprobs: null, finishReason: null, stopReason: null, tokenIds, promptLogprobs: null, promptTokenIds };
    });
  }

  protected override promptKnown(prompt: number, facts: PromptFacts): void {
    const { n } = this.completion.generation.sampling;
    const shown = facts.promptLogprobs === null ? null : promptLogprobs(this.serving.model.tokenizer, facts.promptLogprobs);
    for (let index = prompt * n; index < (prompt + 1) * n; index++) {
      this.#choices[index]!.promptLogprobs = shown;
      this.#choices[index]!.text = this.echoInto(this.writers[index]!, prompt, facts.promptLogprobs);
    }
  }

  protected override take(_prompt: number, index: number, delta: TextDelta): void {
    const choice = this.#choices[index]!;
    choice.finishReason = delta.finishReason;
    choice.stopReason = delta.stopReason;
    if (this.completion.onlyPrompt) return;
    choice.text += delta.text;
    choice.tokenIds?.push(...delta.ids);
    if (delta.logprobs !== null) this.writers[index]?.push(delta.logprobs);
  }

  protected override finish(): void {
    this.#choices.forEach((choice, index) => {
      choice.logprobs = this.writers[index]?.take() ?? null;
    });
    const usage = this.usage.whole(this.context.options.promptTokensDetails);
    this.exchange.reply(200, 'application/json', wholeCompletion(this.#envelope, this.#choices, usage));
  }
}

class StreamedCompletion extends Answer {
  readonly #chunks: CompletionChunks;
  readonly #choiceTokens: Int32Array;
  readonly #facts: (PromptFacts | null)[];
  #stream: ReturnType<Exchange['openStream']> | null = null;

  constructor(
    ...[exchange, context, serving, completion, prompts, envelope]: [...ConstructorParameters<typeof Answer>, CompletionEnvelope]
  ) {
    super(exchange, context, serving, completion, prompts);
    this.#chunks = new CompletionChunks(envelope);
    this.#choiceTokens = new Int32Array(this.unfinished).fill(-1); // -1: nothing sent yet
    this.#facts = prompts.map(() => null);
  }

  protected override promptKnown(prompt: number, facts: PromptFacts): void {
    this.#facts[prompt] = facts;
  }

  protected override take(prompt: number, index: number, delta: TextDelta): void {
    const { completion, writers, prompts } = this;
    const { streaming, generation, onlyPrompt } = completion;
    const isFirst = this.#choiceTokens[index] === -1;
    const echoed = isFirst ? this.echoInto(writers[index]!, prompt, this.#facts[prompt]?.promptLogprobs ?? null) : '';
    this.#choiceTokens[index] = (isFirst ? 0 : this.#choiceTokens[index]!) + delta.ids.length;
    if (!onlyPrompt && delta.logprobs !== null) writers[index]?.push(delta.logprobs);
    const writer = writers[index] ?? null;
    const { ids } = prompts[prompt]!;
    const piece = {
      index,
      text: onlyPrompt ? echoed : echoed + delta.text,
      logprobs: writer === null ? 'null' : JSON.stringify(writer.take()),
      tokenIds: generation.returnTokenIds ? JSON.stringify(onlyPrompt ? [] : Array.from(delta.ids)) : 'null',
      promptTokenIds: generation.returnTokenIds && isFirst ? JSON.stringify(Array.from(ids)) : 'null',
      finishReason: delta.finishReason,
      stopReason: delta.stopReason,
    };
    const usage = streaming.continuousUsage ? runningUsage(ids.length, this.#choiceTokens[index]!) : '';
    this.#stream ??= this.exchange.openStream();
    this.#stream.send(this.#chunks.piece(piece, usage, !streaming.includeUsage));
  }

  protected override fail(error: LockstepError): void {
    this.failure = error;
    if (this.#stream === null) replyError(this.exchange, error, this.context.options.errorCodeStyle);
    else this.#stream.end(`data: ${errorBody(error, this.context.options.errorCodeStyle)}\n\ndata: [DONE]\n\n`);
  }

  protected override finish(): void {
    const { promptTokensDetails } = this.context.options;
    const usage = this.completion.streaming.includeUsage ? this.#chunks.usage(this.usage.last(promptTokensDetails)) : '';
    this.#stream?.end(`${usage}data: [DONE]\n\n`);
  }
}
