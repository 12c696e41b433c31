/**
 * The engine's loop: admit, schedule, dispatch, collect, update, deliver. It owns a request from submit to its last event and nothing
 * else: who runs is the scheduler's, arithmetic the ranks', text the API's. Step n+1 is planned while step n runs.
 */
import { performance } from 'node:perf_hooks';
import { LockstepError } from '../errors.js';
import { preemptionBounds, stepTokenBounds } from '../metrics/metrics.js';
import { Histogram } from '../metrics/series.js';
import { doorbellEpoch, waitForRing } from '../parallel/channel.js';
import type { GroupGrammars } from '../parallel/grammars.js';
import type { StepDriver } from '../parallel/step-driver.js';
import { finishCode, type SchedulerOutput } from '../scheduler/output.js';
import type { Scheduler } from '../scheduler/scheduler.js';
import type { StepBuffers, StepResult } from '../step/buffers.js';
import { type Control, EngineControl } from './control.js';
import {
  type Batch,
  counterIndex,
  firstPositionCounter,
  portOf,
  requestPreemptionsCounter,
  stepTokensCounter,
  type ToEngine,
} from './messages.js';
import { News } from './news.js';
import type { GenerationRequest, TokenLogprobs } from './request.js';

export interface EngineParts {
  readonly buffers: StepBuffers;
  readonly scheduler: Scheduler;
  readonly ranks: Pick<StepDriver, 'dispatch' | 'collect'>;
  /** Threads that ask; handles and numbers of controls say which. */
  readonly numPorts: number;
  /** Takes one message that has arrived at any port, or undefined. */
  readonly receive: () => ToEngine | undefined;
  readonly send: (port: number, batch: Batch) => void;
  /** What the ranks know of grammars. */
  readonly grammars: Pick<GroupGrammars, 'acquire' | 'release' | 'know'>;
  readonly counters: Float64Array;
  /** [worldSize, phase] the sums of all steps' `timesUs`. */
  readonly phaseTimes: Float64Array;
  /** 64 random bits for a request that brings no seed. */
  readonly drawSeed: () => bigint;
}

/** The engine looks for messages at least so often. */
const idleMs = 1000;

/** Steps whose start is remembered; a prompt that takes more of them is said to have waited longer than it did. */
const stepTimesLen = 4096;

const noIds = new Int32Array(0);

/** One choice that the scheduler has; its index in `Engine.#choices` is the scheduler's key. */
interface Choice {
  readonly tracked: Tracked;
  readonly index: number;
}

/** One request from its arrival to its last event. */
interface Tracked {
  readonly handle: number;
  readonly request: GenerationRequest;
  readonly seed: bigint;
  readonly arrivalMs: number;
  /** Key of each choice; -1: not begun, or ended. */
  readonly keys: Int32Array; // [n]
  numBegun: number;
  numOpen: number;
  hasNews: boolean;
  readonly promptLogprobs: TokenLogprobs[] | null;
  /** The ranks' number of its grammar. */
  readonly grammar: number | null;
}

export class Engine {
  readonly #parts: EngineParts;
  readonly #tracked = new Map<number, Tracked>();
  readonly #choices: (Choice | null)[] = [];
  readonly #freeKeys: number[] = [];
  /** [numPorts] of this turn. */
  readonly #news: readonly News[];
  readonly #control: EngineControl;
  /** When a step was planned, by the last bits of its number. */
  readonly #stepStartMs = new Float64Array(stepTimesLen);
  readonly #stepTokens: Histogram;
  readonly #requestPreemptions: Histogram;

  constructor(parts: EngineParts) {
    this.#parts = parts;
    this.#news = Array.from({ length: parts.numPorts }, () => new News());
    this.#control = new EngineControl(parts.scheduler);
    this.#stepTokens = new Histogram(parts.counters, stepTokensCounter, stepTokenBounds);
    this.#requestPreemptions = new Histogram(parts.counters, requestPreemptionsCounter, preemptionBounds);
  }

  /** Runs until it is told to stop. Throws `RankFault` when the ranks cannot go on. */
  run(): void {
    const { buffers, scheduler, ranks, counters, phaseTimes } = this.#parts;
    for (;;) {
      const rung = doorbellEpoch(buffers.control); // before looking, so that no ring is lost
      const startMs = performance.now();
      if (!this.#admit()) return;
      const plan = scheduler.schedule();
      if (plan !== null) {
        this.#stepStartMs[plan.planHeader[0]! & (stepTimesLen - 1)] = startMs;
        this.#stepTokens.observe(plan.planHeader[2]!);
        ranks.dispatch(plan.planHeader[0]!);
      }
      const result = ranks.collect();
      if (result !== null) {
        counters[counterIndex.steps]!++;
        for (let i = 0; i < phaseTimes.length; i++) phaseTimes[i]! += result.timesUs[i]!;
        this.#deliver(scheduler.update(result), result);
      }
      for (const number of this.#control.take()) this.#newsOf(number).done.push(number);
      this.#count();
      this.#flush();
      if (plan !== null || result !== null) counters[counterIndex.hostTimeUs]! += (performance.now() - startMs) * 1000;
      else waitForRing(buffers.control, rung, idleMs);
    }
  }

  /** Takes what has arrived. false: stop. */
  #admit(): boolean {
    for (let message = this.#parts.receive(); message !== undefined; message = this.#parts.receive()) {
      if (message.kind === 'stop') return false;
      if (message.kind === 'submit') this.#begin(message.handle, message.request);
      else if (message.kind === 'abort') this.#abort(message.handle);
      else if (message.kind === 'control') this.#steer(message.number, message.control);
      else this.#drop(message.handle, message.choice);
    }
    return true;
  }

  #begin(handle: number, request: GenerationRequest): void {
    const { n, seed, numPromptLogprobs } = request.sampling;
    const tracked: Tracked = {
      handle,
      request,
      seed: seed ?? this.#parts.drawSeed(),
      arrivalMs: performance.now(),
      keys: new Int32Array(n).fill(-1),
      numBegun: 0,
      numOpen: n,
      hasNews: false,
      promptLogprobs: numPromptLogprobs === null ? null : [],
      grammar: request.grammar === undefined ? null : this.#parts.grammars.acquire(request.grammar),
    };
    if (request.vocabulary !== undefined) this.#parts.grammars.know(request.vocabulary);
    this.#tracked.set(handle, tracked);
    this.#parts.counters[counterIndex.promptTokens]! += request.promptTokens.length;
    // The prompt is scored once, by the first choice; the others begin when that is done.
    this.#beginChoices(tracked, tracked.promptLogprobs !== null && request.promptTokens.length > 1 ? 1 : n);
  }

  #beginChoices(tracked: Tracked, upTo: number): void {
    const { request } = tracked;
    for (; tracked.numBegun < upTo; tracked.numBegun++) {
      const choice = tracked.numBegun;
      const key = this.#freeKeys.pop() ?? this.#choices.length;
      this.#choices[key] = { tracked, index: choice };
      tracked.keys[choice] = key;
      const sampling = choice === 0 ? request.sampling : { ...request.sampling, numPromptLogprobs: null };
      const { promptTokens, stop, priority, cacheSalt, share, pooling } = request;
      try {
        const input = { key, promptTokens, sampling, choice, seed: tracked.seed, stop, priority, cacheSalt, ...(share && { share }) };
        const grammar = tracked.grammar === null ? {} : { grammar: tracked.grammar };
        this.#parts.scheduler.add(pooling === undefined ? { ...input, ...grammar } : { ...input, pooling });
      } catch (error) {
        this.#release(tracked, choice);
        const { code, message, param } = error instanceof LockstepError ? error : new LockstepError('internal', String(error));
        this.#newsOf(tracked.handle).errors.push({ handle: tracked.handle, choice, code, message, param });
        this.#close(tracked);
      }
    }
  }

  #abort(handle: number): void {
    const tracked = this.#tracked.get(handle);
    if (tracked === undefined) return;
    for (const [choice, key] of tracked.keys.entries()) {
      if (key < 0) continue;
      this.#parts.scheduler.abort(key);
      this.#release(tracked, choice);
    }
    this.#forget(tracked);
  }

  #forget({ handle, request }: Tracked): void {
    this.#tracked.delete(handle);
    if (request.grammar !== undefined) this.#parts.grammars.release(request.grammar.key);
  }

  #steer(number: number, control: Control): void {
    this.#control.begin(number, control);
    if (control.kind !== 'sleep' || control.mode !== 'abort') return;
    for (const tracked of [...this.#tracked.values()]) this.#cutOff(tracked);
  }

  /** Ends a request where it is; the client is told. */
  #cutOff(tracked: Tracked): void {
    for (let choice = 0; choice < tracked.keys.length; choice++) {
      if (tracked.keys[choice]! < 0 && choice < tracked.numBegun) continue; // has ended
      this.#newsOf(tracked.handle).record(tracked.handle, choice, finishCode.abort, -1, noIds, 0, 0);
    }
    this.#abort(tracked.handle);
  }

  /** One choice is wanted no more. */
  #drop(handle: number, choice: number): void {
    const tracked = this.#tracked.get(handle);
    const key = tracked?.keys[choice] ?? -1;
    if (tracked === undefined || key < 0) return;
    this.#parts.scheduler.abort(key);
    this.#release(tracked, choice);
    this.#close(tracked);
  }

  #release(tracked: Tracked, choice: number): void {
    const key = tracked.keys[choice]!;
    this.#choices[key] = null;
    this.#freeKeys.push(key);
    tracked.keys[choice] = -1;
  }

  /** A choice has ended. */
  #close(tracked: Tracked): void {
    if (--tracked.numOpen === 0) this.#forget(tracked);
  }

  #deliver(output: SchedulerOutput, result: StepResult): void {
    for (let i = 0; i < output.numEntries; i++) {
      const owner = this.#choices[output.keys[i]!];
      if (owner === null || owner === undefined) continue;
      const { tracked, index } = owner;
      if (output.numPrompt[i]! > 0) this.#takePromptScores(tracked, output, i, result);
      const numIds = output.numIds[i]!;
      const finish = output.finish[i]!;
      if (numIds === 0 && finish === finishCode.none) continue;
      if (!tracked.hasNews) {
        tracked.hasNews = true;
        const { handle, arrivalMs, promptLogprobs } = tracked;
        // A request that came during the turn of its first step was not waiting before.
        const queueMs = Math.max(0, this.#stepStartMs[output.firstStep[i]! & (stepTimesLen - 1)]! - arrivalMs);
        this.#newsOf(handle).prompts.push({ handle, cachedTokens: output.cachedTokens[i]!, queueMs, promptLogprobs });
      }
      this.#record(tracked, index, output, i, result);
      this.#parts.counters[counterIndex.generationTokens]! += numIds;
      if (tracked.numBegun < tracked.keys.length) this.#beginChoices(tracked, tracked.keys.length);
      if (finish !== finishCode.none) {
        this.#requestPreemptions.observe(output.numPreemptions[i]!);
        this.#release(tracked, index);
        this.#close(tracked);
      }
    }
  }

  #takePromptScores(tracked: Tracked, output: SchedulerOutput, i: number, result: StepResult): void {
    const count = tracked.request.sampling.numPromptLogprobs ?? 0;
    for (let j = 0; j < output.numPrompt[i]!; j++)
      tracked.promptLogprobs?.push(this.#readLogprobs(result, output.promptOutputStart[i]! + j, count));
  }

  #record({ handle, request }: Tracked, choice: number, output: SchedulerOutput, i: number, result: StepResult): void {
    const news = this.#newsOf(handle);
    const numIds = output.numIds[i]!;
    const index = news.record(handle, choice, output.finish[i]!, output.stopId[i]!, output.ids, i * output.maxIds, numIds);
    const { numLogprobs } = request.sampling;
    if (numLogprobs !== null && numIds > 0) {
      const logprobs = Array.from({ length: numIds }, (_, j) => this.#readLogprobs(result, output.outputStart[i]! + j, numLogprobs));
      news.logprobs.push([index, logprobs]);
    }
    if (request.pooling !== undefined && output.finish[i] !== finishCode.none) {
      news.pooled.push([index, this.#readPooled(output.rows[i]!)]);
    }
  }

  /** For the thread that asked: of a handle, or of a control's number. */
  #newsOf(handle: number): News {
    return this.#news[portOf(handle)]!;
  }

  #readPooled(row: number): Float32Array {
    const { rows, layout } = this.#parts.buffers;
    const { pooledLen } = layout.dims;
    return rows.pooled.slice(row * pooledLen, (row + 1) * pooledLen);
  }

  #readLogprobs(result: StepResult, output: number, count: number): TokenLogprobs {
    const { maxLogprobs } = this.#parts.buffers.layout.dims;
    const at = output * maxLogprobs;
    return {
      id: result.outputIds[output]!,
      logprob: result.outputLogprobs[output]!,
      rank: result.outputRanks[output]!,
      topIds: result.topIds.slice(at, at + count),
      topLogprobs: result.topLogprobs.slice(at, at + count),
    };
  }

  /** Sends the news of this turn to those for whom there are any. */
  #flush(): void {
    for (let port = 0; port < this.#news.length; port++) {
      const batch = this.#news[port]!.take();
      if (batch !== null) this.#parts.send(port, batch);
    }
  }

  #count(): void {
    const { counters, scheduler } = this.#parts;
    const now = scheduler.counters();
    counters[counterIndex.running] = now.running;
    counters[counterIndex.waiting] = now.waiting;
    counters[counterIndex.kvCacheUsage] = now.kvCacheUsage;
    counters[counterIndex.asleep] = this.#control.asleep ? 1 : 0;
    counters[counterIndex.preemptions] = now.preemptions;
    counters[counterIndex.prefixCacheQueries] = now.prefixCacheQueries;
    counters[counterIndex.prefixCacheHits] = now.prefixCacheHits;
    if (now.speculation === null) return;
    counters[counterIndex.specDrafts] = now.speculation.drafts;
    counters[counterIndex.specDraftTokens] = now.speculation.draftTokens;
    counters[counterIndex.specAcceptedTokens] = now.speculation.acceptedTokens;
    counters.set(now.speculation.acceptedPerPosition, firstPositionCounter);
  }
}
