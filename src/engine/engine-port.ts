/**
 * The engine as `api/` sees it, on a thread of its: gives requests handles, and hands each batch of news to the requests it speaks of. Every such
 * thread has a port of its own to the engine's, so that none waits for another; what must be one number for all is in shared memory.
 */
import type { MessagePort } from 'node:worker_threads';
import { LockstepError } from '../errors.js';
import type { EngineFigures } from '../metrics/metrics.js';
import { ringDoorbell } from '../parallel/channel.js';
import type { Share } from '../scheduler/fair-share.js';
import { finishCode } from '../scheduler/output.js';
import { phaseStride, type StepPhase, stepPhases } from '../step/layout.js';
import type { EngineClient, RequestEvents } from './client.js';
import type { Control } from './control.js';
import { HandleTable } from './handle-table.js';
import {
  type Batch,
  counterIndex,
  countMax,
  firstPositionCounter,
  handleOf,
  recordLen,
  requestPreemptionsCounter,
  stepTokensCounter,
  type ToEngine,
} from './messages.js';
import { QueueBound } from './queue-bound.js';
import type { ChoiceTokens, FinishReason, GenerationRequest } from './request.js';

/** What a thread is given to reach the engine: plain data over shared memory, but for the port, which is handed over. */
export interface EngineLink {
  readonly port: MessagePort;
  /** Which of the engine's ports it is. */
  readonly index: number;
  /** Where the engine's doorbell is. */
  readonly control: Int32Array;
  readonly counters: SharedArrayBuffer;
  /** [worldSize, phase] as `Engine` sums them. */
  readonly phaseTimes: SharedArrayBuffer;
  /** Whether the model gives hidden states; else it generates. */
  readonly pools: boolean;
  readonly queueLenMax: number;
  /** Of `queueMemory`. */
  readonly queue: SharedArrayBuffer;
}

interface Live {
  readonly id: string;
  readonly handle: number;
  readonly events: RequestEvents;
  /** [n] whether a choice still has something to come. */
  readonly open: boolean[];
  readonly n: number;
  numOpen: number;
  /** With whom it shares the queue; undefined: with nobody. */
  readonly share: Share | undefined;
  /** Nothing was heard of it yet. */
  isSilent: boolean;
}

/** By `finishCode`. */
const finishReasons: readonly FinishReason[] = ['error', 'stop', 'length', 'abort', 'error'];
/** The request's own fault, and so an error of it. */
const stuck = new LockstepError(
  'invalid_value',
  'No token may come next: grammar, allowed_token_ids and bad_words leave none, or the grammar is too costly for this output.',
);
const engineFailed = new LockstepError('internal', 'The engine has failed.');
const noLogprobs: ReadonlyMap<number, Batch['logprobs'][number][1]> = new Map();
const nothingPooled: ReadonlyMap<number, Float32Array> = new Map();
const retryAfterSeconds = 1;
/** Requests that are read together before their tokens are handed out. */
const warmedTogether = 16;

/** For every token; while all are open, as nearly always, without the list, which is two cache lines more. */
const isOpen = ({ n, numOpen, open }: Live, choice: number): boolean => numOpen === n || open[choice] === true;

export class EnginePort implements EngineClient {
  readonly #link: EngineLink;
  readonly #counters: Float64Array;
  readonly #phaseTimes: Float64Array;
  readonly #queue: QueueBound;
  readonly #byId = new Map<string, Live>();
  readonly #live: HandleTable<Live>;
  readonly #controls = new Map<number, { resolve: () => void; reject: (error: Error) => void }>();
  #numControls = 0;
  #state: ReturnType<EngineClient['state']> = 'loading';
  #failure = '';
  /** What `warm` gave: kept, so that its reads are no dead code. */
  #warmed = 0;

  constructor(link: EngineLink) {
    this.#link = link;
    this.#live = new HandleTable(link.index);
    this.#counters = new Float64Array(link.counters);
    this.#phaseTimes = new Float64Array(link.phaseTimes);
    this.#queue = new QueueBound(link.queueLenMax, link.queue);
    link.port.on('message', (batch: Batch) => this.#deliver(batch));
  }

  state(): ReturnType<EngineClient['state']> {
    return this.#state;
  }

  /** The ranks are loaded: requests are taken from now on. */
  open(): void {
    if (this.#state === 'loading') this.#state = 'ready';
  }

  /** Every request ends with an error, and no more are taken. */
  fail(reason: string): void {
    if (this.#state === 'failed') return;
    this.#state = 'failed';
    this.#failure = reason;
    for (const live of this.#live.values()) {
      for (const [choice, open] of live.open.entries())
        if (open) live.events.end({ choice, finishReason: 'error', stopTokenId: null, error: engineFailed });
      this.#close(live);
    }
    for (const { reject } of this.#controls.values()) reject(this.#notReady());
    this.#controls.clear();
  }

  submit(request: GenerationRequest, events: RequestEvents): void {
    if (this.#state !== 'ready') throw this.#notReady();
    if ((request.pooling !== undefined) !== this.#link.pools)
      throw new LockstepError(
        'invalid_value',
        'The model does not do what is asked: it generates text, or gives hidden states, and not both.',
      );
    const { n } = request.sampling;
    if (this.#byId.has(request.id))
      throw new LockstepError('invalid_value', `A request with the id ${request.id} is running.`, { param: 'request_id' });
    // What runs is known as of the newest step; the rest of what is open waits.
    this.#queue.enter(request.share, n, this.#counters[counterIndex.running]!);
    const [handle, open] = [this.#live.nextHandle(), new Array<boolean>(n).fill(true)];
    const live: Live = { id: request.id, handle, events, open, n, numOpen: n, share: request.share, isSilent: true };
    this.#byId.set(live.id, live);
    this.#live.add(live);
    this.#send({ kind: 'submit', handle: live.handle, request });
  }

  abort(id: string): void {
    const live = this.#byId.get(id);
    if (live === undefined) return;
    this.#send({ kind: 'abort', handle: live.handle });
    this.#forget(live);
    // Never inside the call.
    setImmediate(() => live.events.closed());
  }

  finishChoice(id: string, choice: number): void {
    const live = this.#byId.get(id);
    if (live === undefined || !isOpen(live, choice)) return;
    this.#send({ kind: 'finishChoice', handle: live.handle, choice });
    this.#endChoice(live, choice);
  }

  control(control: Control): Promise<void> {
    if (this.#state !== 'ready') return Promise.reject(this.#notReady());
    const number = handleOf(this.#link.index, ++this.#numControls & countMax);
    return new Promise((resolve, reject) => {
      this.#controls.set(number, { resolve, reject });
      this.#send({ kind: 'control', number, control });
    });
  }

  waiting(): number {
    return this.#counters[counterIndex.waiting]!;
  }

  counters(): EngineFigures {
    const c = this.#counters;
    const entries = Object.entries(counterIndex).map(([name, index]) => [name, c[index]!] as const);
    return {
      ...(Object.fromEntries(entries) as unknown as EngineFigures),
      stepTokens: Array.from(c.subarray(stepTokensCounter, requestPreemptionsCounter)),
      requestPreemptions: Array.from(c.subarray(requestPreemptionsCounter, firstPositionCounter)),
      specAcceptedPerPosition: Array.from(c.subarray(firstPositionCounter)),
      phaseTimesUs: this.#phaseTimesUs(),
    };
  }

  #phaseTimesUs(): EngineFigures['phaseTimesUs'] {
    const times = this.#phaseTimes;
    const ofPhase = (phase: number) => Array.from({ length: times.length / phaseStride }, (_, rank) => times[rank * phaseStride + phase]!);
    return Object.fromEntries(stepPhases.map((name, phase) => [name, ofPhase(phase)])) as Record<StepPhase, number[]>;
  }

  #notReady(): LockstepError {
    const reason = this.#failure === '' ? 'The engine takes no requests now.' : 'The engine has failed.';
    return new LockstepError('not_ready', reason, { retryAfterSeconds });
  }

  #send(message: ToEngine): void {
    this.#link.port.postMessage(message);
    ringDoorbell(this.#link.control);
  }

  #deliver({ records, logprobs, pooled, prompts, errors, done }: Batch): void {
    for (const { handle, cachedTokens, queueMs, promptLogprobs } of prompts) {
      const live = this.#live.get(handle);
      if (live === undefined) continue;
      this.#hearOf(live);
      live.events.prompt({ cachedTokens, queueMs, promptLogprobs });
    }
    const logprobsOf = logprobs.length === 0 ? noLogprobs : new Map(logprobs);
    const pooledOf = pooled.length === 0 ? nothingPooled : new Map(pooled);
    for (let at = 0, record = 0; at < records.length; record++) {
      if (record % warmedTogether === 0) this.#warm(records, at);
      const numIds = records[at + 2]!;
      const first = at + recordLen;
      const ids = numIds === 1 ? [records[first]!] : Array.from(records.subarray(first, first + numIds));
      const live = this.#live.get(records[at]!);
      const choice = records[at + 1]!;
      if (live !== undefined && isOpen(live, choice)) {
        const tokens = { choice, ids, logprobs: logprobsOf.get(record) ?? null };
        this.#tell(live, tokens, records[at + 3]!, records[at + 4]!, pooledOf.get(record));
      }
      at += recordLen + numIds;
    }
    for (const { handle, choice, code, message, param } of errors) {
      const live = this.#live.get(handle);
      if (live === undefined || !isOpen(live, choice)) continue;
      live.events.end({
        choice,
        finishReason: 'error',
        stopTokenId: null,
        error: new LockstepError(code, message, param === null ? {} : { param }),
      });
      this.#endChoice(live, choice);
    }
    for (const number of done) {
      this.#controls.get(number)?.resolve();
      this.#controls.delete(number);
    }
  }

  /** Of the records from `at`. */
  #warm(records: Int32Array, at: number): void {
    for (let i = 0; i < warmedTogether && at < records.length; i++) {
      this.#warmed = (this.#warmed + (this.#live.get(records[at]!)?.events.warm?.() ?? 0)) | 0;
      at += recordLen + records[at + 2]!;
    }
  }

  #tell(live: Live, tokens: ChoiceTokens, finish: number, stopId: number, pooled: Float32Array | undefined): void {
    const { choice } = tokens;
    if (tokens.ids.length > 0) live.events.tokens(tokens);
    // A listener may have ended the choice by a stop string, or aborted the request.
    if (finish === finishCode.none || !isOpen(live, choice) || this.#live.get(live.handle) !== live) return;
    live.events.end({
      choice,
      finishReason: finishReasons[finish]!,
      stopTokenId: stopId < 0 ? null : stopId,
      error: finish === finishCode.stuck ? stuck : null,
      ...(pooled && { pooled }),
    });
    this.#endChoice(live, choice);
  }

  #endChoice(live: Live, choice: number): void {
    if (!isOpen(live, choice)) return;
    live.open[choice] = false;
    live.numOpen--;
    this.#queue.end(1);
    if (live.numOpen === 0) this.#close(live);
  }

  #close(live: Live): void {
    this.#forget(live);
    live.events.closed();
  }

  #hearOf(live: Live): void {
    if (live.isSilent) this.#queue.leave(live.share, live.open.length);
    live.isSilent = false;
  }

  #forget(live: Live): void {
    this.#hearOf(live);
    this.#queue.end(live.numOpen);
    live.numOpen = 0;
    live.open.fill(false);
    this.#byId.delete(live.id);
    this.#live.delete(live.handle);
  }
}
