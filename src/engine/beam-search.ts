/**
 * Beam search over an engine that knows only requests: every step asks for one token after each beam, with the log-probabilities of the
 * likeliest, and goes on from the best continuations of all. The prefix cache has what the beams share, so that a step computes little
 * more than their last tokens. As vLLM does it: twice as many candidates as beams, an end-of-sequence token completes a beam, and the
 * score is the sum of raw log-probabilities over the number of tokens, prompt included, to the power of the length penalty.
 *
 * The same request gives the same beams: nothing is drawn, and ties go to the better beam, then to the likelier candidate.
 */
import { LockstepError } from '../errors.js';
import { neutralSampling } from '../sampling/params.js';
import type { EngineClient, RequestEvents } from './client.js';
import type { GenerationRequest, PromptFacts, TokenLogprobs } from './request.js';

const stoppedWithin = new LockstepError('internal', 'The engine stopped within a beam search.');

export interface BeamRule {
  /** Above 1 favours long outputs, below 1 short ones. */
  readonly lengthPenalty: number;
}

/** Candidates of a step are two for a beam, and an engine shows so many. */
export const beamsMax = 64;

/** All that it needs of an engine, and all that it offers in its place. */
export type Submits = Pick<EngineClient, 'submit' | 'abort' | 'finishChoice'>;

interface Beam {
  readonly tokens: readonly TokenLogprobs[];
  /** Of the tokens' log-probabilities. */
  readonly sum: number;
  readonly isComplete: boolean;
}

interface Search {
  readonly request: GenerationRequest;
  readonly events: RequestEvents;
  beams: readonly Beam[];
  readonly complete: Beam[];
  /** Ids of the requests that are running. */
  readonly running: Set<string>;
  /** What came back of a step, for each beam. */
  candidates: (TokenLogprobs | null)[];
  numSteps: number;
  facts: PromptFacts | null;
  failure: LockstepError | null;
}

/** Takes a request as an engine does; its choices, `sampling.n`, are the beams, and come whole at the end. */
export class BeamSearch implements Submits {
  readonly #engine: Submits;
  readonly #rule: BeamRule;
  readonly #searches = new Map<string, Search>();

  constructor(engine: Submits, rule: BeamRule) {
    this.#engine = engine;
    this.#rule = rule;
  }

  submit(request: GenerationRequest, events: RequestEvents): void {
    const search: Search = {
      request,
      events,
      beams: [{ tokens: [], sum: 0, isComplete: false }],
      complete: [],
      running: new Set(),
      candidates: [],
      numSteps: 0,
      facts: null,
      failure: null,
    };
    this.#step(search); // throws where the queue is full
    this.#searches.set(request.id, search);
  }

  abort(id: string): void {
    const search = this.#searches.get(id);
    if (search === undefined) return;
    this.#searches.delete(id);
    for (const running of search.running) this.#engine.abort(running);
    search.events.closed();
  }

  /** All beams end together. */
  finishChoice(): void {}

  #step(search: Search): void {
    search.candidates = search.beams.map(() => null);
    search.numSteps++;
    for (const [i, beam] of search.beams.entries()) this.#askAfter(search, beam, i);
  }

  #askAfter(search: Search, beam: Beam, i: number): void {
    const { request, running } = search;
    const id = `${request.id}/${search.numSteps}.${i}`;
    this.#engine.submit(requestAfter(search, beam, id), {
      prompt: (facts) => {
        search.facts ??= facts;
      },
      tokens: ({ logprobs }) => {
        search.candidates[i] = logprobs?.[0] ?? null;
      },
      end: ({ error }) => {
        search.failure ??= error;
      },
      closed: () => {
        running.delete(id);
        if (running.size === 0 && this.#searches.has(request.id)) this.#advance(search);
      },
    });
    running.add(id);
  }

  #advance(search: Search): void {
    const { request, failure, numSteps } = search;
    if (failure !== null || search.candidates.includes(null)) {
      this.#fail(search, failure ?? stoppedWithin);
      return;
    }
    takeBest(search);
    if (numSteps >= request.stop.maxTokens || search.beams.length === 0) this.#finish(search);
    else this.#next(search);
  }

  #next(search: Search): void {
    try {
      this.#step(search);
    } catch (error) {
      // The queue is full, or the engine has failed meanwhile: the answer is what it would have been at the start.
      this.#fail(search, error instanceof LockstepError ? error : new LockstepError('internal', String(error)));
    }
  }

  #fail(search: Search, error: LockstepError): void {
    this.#tellPrompt(search);
    for (let choice = 0; choice < search.request.sampling.n; choice++) {
      search.events.end({ choice, finishReason: 'error', stopTokenId: null, error });
    }
    this.abort(search.request.id);
  }

  #finish(search: Search): void {
    const { request, events } = search;
    const scored = [...search.complete, ...search.beams].map((beam) => ({
      beam,
      score: scoreOf(beam, request.promptTokens.length, this.#rule),
    }));
    scored.sort((a, b) => b.score - a.score);
    this.#tellPrompt(search);
    for (let choice = 0; choice < request.sampling.n; choice++) {
      const beam = scored[Math.min(choice, scored.length - 1)]!.beam;
      const logprobs =
        request.sampling.numLogprobs === null ? null : beam.tokens.map((token) => firstOf(token, request.sampling.numLogprobs!));
      events.tokens({ choice, ids: beam.tokens.map(({ id }) => id), logprobs });
      events.end({ choice, finishReason: beam.isComplete ? 'stop' : 'length', stopTokenId: null, error: null });
    }
    this.#searches.delete(request.id);
    events.closed();
  }

  #tellPrompt({ facts, events }: Search): void {
    events.prompt(facts ?? { cachedTokens: 0, queueMs: 0, promptLogprobs: null });
  }
}

/** One token after a beam. The first one of all brings what is asked of the prompt. */
function requestAfter({ request, numSteps }: Search, { tokens }: Beam, id: string): GenerationRequest {
  const { promptTokens, sampling, stop } = request;
  const ids = new Int32Array(promptTokens.length + tokens.length);
  ids.set(promptTokens);
  for (let i = 0; i < tokens.length; i++) ids[promptTokens.length + i] = tokens[i]!.id;
  const numLogprobs = Math.max(2 * sampling.n, sampling.numLogprobs ?? 0);
  const numPromptLogprobs = numSteps === 1 ? sampling.numPromptLogprobs : null;
  return {
    ...request,
    id,
    promptTokens: ids,
    sampling: { ...neutralSampling, temperature: 0, numLogprobs, numPromptLogprobs },
    stop: { ...stop, stopTokenIds: [], stopStrings: [], ignoreEos: true, minTokens: 0, maxTokens: 1 },
  };
}

/** The continuations of all beams: ends are put aside, the best of the others are the beams of the next step. */
function takeBest(search: Search): void {
  const { request, beams, candidates, complete } = search;
  const { sampling, stop } = request;
  const next: Beam[] = [];
  beams.forEach(({ tokens, sum }, i) => {
    const { topIds, topLogprobs } = candidates[i]!;
    for (let j = 0; j < Math.min(2 * sampling.n, topIds.length); j++) {
      const id = topIds[j]!;
      if (id < 0) break; // the vocabulary has no more
      const isComplete = !stop.ignoreEos && stop.eosTokenIds.includes(id);
      const token = { id, logprob: topLogprobs[j]!, rank: j + 1, topIds, topLogprobs };
      (isComplete ? complete : next).push({ tokens: [...tokens, token], sum: sum + token.logprob, isComplete });
    }
  });
  next.sort((a, b) => b.sum - a.sum);
  search.beams = next.slice(0, sampling.n);
}

/** An end-of-sequence token does not count among the tokens, but its log-probability does. */
function scoreOf({ tokens, sum, isComplete }: Beam, promptLen: number, { lengthPenalty }: BeamRule): number {
  return sum / (promptLen + tokens.length - (isComplete ? 1 : 0)) ** lengthPenalty;
}

function firstOf(token: TokenLogprobs, count: number): TokenLogprobs {
  return { ...token, topIds: token.topIds.slice(0, count), topLogprobs: token.topLogprobs.slice(0, count) };
}
