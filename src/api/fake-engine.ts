/**
 * For tests of this room: an engine that makes tokens of nothing, with delays, aborts counted and errors on demand, and a tokenizer whose
 * ids are bytes. Deterministic: the ids of a choice follow from its prompt's length, the choice and the seed.
 */
import type { EngineClient, RequestEvents } from '../engine/client.js';
import type { Control } from '../engine/control.js';
import type { GenerationRequest, TokenLogprobs } from '../engine/request.js';
import { LockstepError } from '../errors.js';
import { type EngineFigures, preemptionBounds, stepTokenBounds } from '../metrics/metrics.js';
import type { DecodeOptions, DecodeStream, Tokenizer } from '../tokenizer/tokenizer.js';
import { ModelMarkup } from './model-markup.js';
import type { ServedModel } from './served-model.js';

const failedAsAsked = new LockstepError('internal', 'the fake engine failed as asked');

export interface FakeEngineOptions {
  /** Time of a step. */
  readonly stepMs?: number;
  /** Before the first step of a request. */
  readonly prefillMs?: number;
  /** Requests that run or wait; one more is `queue_full`. */
  readonly queueLenMax?: number;
  /** The id at `position` of a choice's output. */
  readonly nextId?: (request: GenerationRequest, choice: number, position: number) => number;
  /** The choice fails instead of making its token at this position. */
  readonly failAt?: number;
}

interface Running {
  readonly request: GenerationRequest;
  readonly events: RequestEvents;
  readonly open: Set<number>;
  position: number;
  timer: NodeJS.Timeout | undefined;
}

export class FakeEngine implements EngineClient {
  numAborts = 0;
  numSubmitted = 0;
  readonly controls: Control[] = [];
  #asleep = false;
  phase: ReturnType<EngineClient['state']> = 'ready';
  /** As /metrics would show a long queue. */
  numWaiting = 0;
  options: FakeEngineOptions;
  readonly #running = new Map<string, Running>();
  #promptTokens = 0;
  #generationTokens = 0;
  #steps = 0;

  constructor(options: FakeEngineOptions = {}) {
    this.options = options;
  }

  get numRunning(): number {
    return this.#running.size;
  }

  submit(request: GenerationRequest, events: RequestEvents): void {
    if (this.#running.size >= (this.options.queueLenMax ?? 4096)) {
      throw new LockstepError('queue_full', 'The queue is full. Try again later.', { retryAfterSeconds: 1 });
    }
    this.numSubmitted++;
    const open = new Set(Array.from({ length: request.sampling.n }, (_, choice) => choice));
    const running: Running = { request, events, open, position: 0, timer: undefined };
    this.#running.set(request.id, running);
    if (!this.#asleep) this.#begin(running);
  }

  #begin(running: Running): void {
    running.timer = setTimeout(() => this.#first(running.request.id), this.options.prefillMs ?? 0);
  }

  /** Sleeping by the way 'abort': what runs ends, what arrives waits. */
  async control(control: Control): Promise<void> {
    this.controls.push(control);
    if (control.kind === 'sleep') {
      this.#asleep = true;
      for (const running of [...this.#running.values()]) {
        for (const choice of running.open) running.events.end({ choice, finishReason: 'abort', stopTokenId: null, error: null });
        this.#close(running);
      }
    }
    if (control.kind !== 'wake') return;
    this.#asleep = false;
    for (const running of this.#running.values()) this.#begin(running);
  }

  abort(id: string): void {
    const running = this.#running.get(id);
    if (running === undefined) return;
    this.numAborts++;
    this.#close(running);
  }

  finishChoice(id: string, choice: number): void {
    this.#running.get(id)?.open.delete(choice);
  }

  waiting(): number {
    return this.numWaiting;
  }

  counters(): EngineFigures {
    return {
      running: this.#running.size,
      waiting: this.numWaiting,
      kvCacheUsage: this.#running.size / 1000,
      preemptions: 0,
      promptTokens: this.#promptTokens,
      generationTokens: this.#generationTokens,
      prefixCacheQueries: this.#promptTokens,
      prefixCacheHits: 0,
      specDrafts: 0,
      specDraftTokens: 0,
      specAcceptedTokens: 0,
      specAcceptedPerPosition: [],
      steps: this.#steps,
      hostTimeUs: 0,
      phaseTimesUs: { total: [0] },
      asleep: this.#asleep ? 1 : 0,
      stepTokens: new Array<number>(stepTokenBounds.length + 2).fill(0),
      requestPreemptions: new Array<number>(preemptionBounds.length + 2).fill(0),
    };
  }

  state(): ReturnType<EngineClient['state']> {
    return this.phase;
  }

  #close(running: Running): void {
    clearTimeout(running.timer);
    this.#running.delete(running.request.id);
    running.events.closed();
  }

  #first(id: string): void {
    const running = this.#running.get(id);
    if (running === undefined) return;
    const { request, events } = running;
    const { numPromptLogprobs } = request.sampling;
    this.#promptTokens += request.promptTokens.length;
    const promptLogprobs =
      numPromptLogprobs === null ? null : Array.from(request.promptTokens.slice(1), (token) => logprobsOf(token, numPromptLogprobs));
    events.prompt({ cachedTokens: 0, promptLogprobs, queueMs: this.options.prefillMs ?? 0 });
    if (request.pooling === undefined) this.#step(running);
    else this.#pool(running);
  }

  #pool(running: Running): void {
    const { promptTokens, pooling } = running.request;
    const isBroken = this.options.failAt === promptTokens.length;
    const ending = isBroken ? { finishReason: 'error' as const, error: failedAsAsked } : { finishReason: 'length' as const, error: null };
    const pooled = isBroken ? {} : { pooled: fakePooled(promptTokens, pooling!.secondSegment ?? 0) };
    running.events.end({ choice: 0, stopTokenId: null, ...ending, ...pooled });
    this.#close(running);
  }

  #step(running: Running): void {
    const { request } = running;
    this.#steps++;
    for (const choice of [...running.open]) this.#oneToken(running, choice);
    running.position++;
    if (!this.#running.has(request.id)) return;
    if (running.open.size === 0) this.#close(running);
    else running.timer = setTimeout(() => this.#step(running), this.options.stepMs ?? 0);
  }

  #oneToken({ request, events, open, position }: Running, choice: number): void {
    const { stop, sampling } = request;
    if (position === this.options.failAt) {
      open.delete(choice);
      events.end({ choice, finishReason: 'error', stopTokenId: null, error: failedAsAsked });
      return;
    }
    const id = (this.options.nextId ?? defaultNextId)(request, choice, position);
    this.#generationTokens++;
    const logprobs = sampling.numLogprobs === null ? null : [logprobsOf(id, sampling.numLogprobs, sampling.logprobIds)];
    events.tokens({ choice, ids: [id], logprobs });
    if (!open.has(choice)) return; // a stop string was found
    const mayStop = position + 1 > stop.minTokens;
    const isEos = mayStop && !stop.ignoreEos && stop.eosTokenIds.includes(id);
    const isStop = mayStop && stop.stopTokenIds.includes(id);
    const isLength = position + 1 >= stop.maxTokens;
    if (!isEos && !isStop && !isLength) return;
    open.delete(choice);
    events.end({ choice, finishReason: isEos || isStop ? 'stop' : 'length', stopTokenId: isStop && !isEos ? id : null, error: null });
  }
}

/** Letters, other ones for other choices of a sampled request. */
function defaultNextId({ promptTokens, sampling }: GenerationRequest, choice: number, position: number): number {
  const shift = sampling.temperature === 0 ? 0 : choice * 7 + Number((sampling.seed ?? 0n) % 26n);
  return 97 + ((promptTokens.length + position + shift) % 26);
}

function logprobsOf(id: number, count: number, asked: readonly number[] = []): TokenLogprobs {
  const topIds = asked.length > 0 ? Int32Array.from(asked) : Int32Array.from({ length: count }, (_, i) => (i === 0 ? id : (id + i) % 256));
  return { id, logprob: -0.5, rank: 1, topIds, topLogprobs: Float32Array.from({ length: count }, (_, i) => -0.5 - i) };
}

/** Of a prompt: its first token, its last, its length, and where its second segment begins. */
export const fakePooled = (ids: Int32Array, secondSegment: number) => Float32Array.of(ids[0]!, ids.at(-1)!, ids.length, secondSegment);

/** Ids are bytes; 256 is `<eos>`, 257 `<bos>`. */
export class FakeTokenizer implements Tokenizer {
  readonly vocabSize = 258;
  readonly bosToken = '<bos>';
  readonly eosToken = '<eos>';
  readonly bosTokenId = 257;
  readonly eosTokenId = 256;

  encode(text: string): Int32Array {
    return Int32Array.from(Buffer.from(text));
  }

  decode(ids: ArrayLike<number>, options: DecodeOptions): string {
    const stream = this.decodeStream(options);
    return Array.from(ids, (id) => stream.push(id)).join('') + stream.flush();
  }

  decodeStream({ skipSpecialTokens }: DecodeOptions): DecodeStream {
    const decoder = new TextDecoder();
    return {
      push: (id) => (this.isSpecial(id) && skipSpecialTokens ? '' : decoder.decode(this.tokenBytes(id), { stream: true })),
      flush: () => decoder.decode(),
    };
  }

  tokenBytes(id: number): Uint8Array {
    return this.isSpecial(id) ? Buffer.from(id === 256 ? this.eosToken : this.bosToken) : Uint8Array.of(id);
  }

  tokenText(id: number): string {
    return new TextDecoder().decode(this.tokenBytes(id));
  }

  isSpecial(id: number): boolean {
    return id >= 256;
  }
}

export const fakeContextLen = 4096;

/** A model over a fake engine and the byte tokenizer; `changes` replace its fields. */
export function fakeModel(engine: EngineClient, changes: Partial<ServedModel> = {}): ServedModel {
  return {
    names: ['fake', 'alias'],
    root: 'fake-root',
    maxModelLen: fakeContextLen,
    vocabSize: 258,
    tokenizer: new FakeTokenizer(),
    template: {
      render: (messages, { addGenerationPrompt }) =>
        messages
          .map(
            ({ role, content }) =>
              `${role}:${typeof content === 'string' ? content : (content ?? []).map((part) => part.text).join('\n')}\n`,
          )
          .join('') + (addGenerationPrompt ? 'assistant:' : ''),
    },
    markup: new ModelMarkup(new FakeTokenizer(), {}),
    defaults: { eosTokenIds: [256] },
    requestDefaults: { streamInterval: 1, tokensAsIds: false, templateKwargs: {}, compactJson: false },
    pooler: null,
    pairs: 'joined',
    engine,
    maxLogprobs: 20,
    queueLenMax: 4096,
    priorityScheduling: false,
    trustRequestTemplate: false,
    preparation: null,
    blockSize: 16,
    cacheConfig: { block_size: '16', num_gpu_blocks: '1000' },
    facts: {
      family: 'fake',
      fileFormat: 'safetensors',
      weightFormat: 'bf16',
      numParameters: 1_500_000,
      numBytes: 3_000_000,
      numLayers: 2,
      hidden: 8,
    },
    placement: {
      ranks: 1,
      devices: ['cpu'],
      mode: 'gather',
      threadsPerRank: 1,
      cuts: [{ part: 'vocabulary', layers: null, total: 258, ranges: [[0, 258]] }],
      kvCacheBytes: 1_000_000,
      kvCacheTokens: 16_000,
    },
    ...changes,
  };
}
