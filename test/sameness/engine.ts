/** The engine as `lockstep serve` starts it, without HTTP, for tests of what it promises. */
import { fileURLToPath } from 'node:url';
import type { OfflineEngine } from '../../src/cli/bench-throughput.js';
import { loadServeOptions } from '../../src/cli/options.js';
import { startOffline } from '../../src/cli/start-engine.js';
import type { EngineClient } from '../../src/engine/client.js';
import type { ChoiceEnd, GenerationRequest, PromptFacts, TokenLogprobs } from '../../src/engine/request.js';
import { endsByLength, neutralSampling, type SamplingParams, type StopRule } from '../../src/sampling/params.js';
import type { Pooling } from '../../src/scheduler/sequence.js';

/** From dist/test/sameness to the package's root. */
export const packageRoot = fileURLToPath(new URL('../../../', import.meta.url));

export function start(...argv: string[]): Promise<OfflineEngine> {
  return startOffline(loadServeOptions(argv, {}), {}, { numThreads: 1, numOwners: 4 });
}

export interface Ask {
  readonly prompt: readonly number[];
  readonly maxTokens: number;
  readonly sampling?: Partial<SamplingParams>;
  readonly stop?: Partial<StopRule>;
  readonly pooling?: Pooling;
}

export interface Choice {
  readonly ids: number[];
  /** Bits of each id's log-probability and of those beside it: equal numbers, not near ones. */
  readonly logprobBits: string[];
  end: ChoiceEnd | null;
}

export interface Answer {
  readonly choices: Choice[];
  facts: PromptFacts | null;
}

let numRequests = 0;

export function requestOf({ prompt, maxTokens, sampling, stop, pooling }: Ask): GenerationRequest {
  return {
    id: `request-${numRequests++}`,
    promptTokens: Int32Array.from(prompt),
    sampling: { ...neutralSampling, temperature: 0, seed: 7n, numLogprobs: 3, ...sampling },
    stop: { ...endsByLength(maxTokens), ...stop },
    priority: 0,
    cacheSalt: null,
    ...(pooling && { pooling }),
  };
}

export const bitsOf = ({ id, logprob, rank, topIds, topLogprobs }: TokenLogprobs): string =>
  [id, rank, ...new Uint32Array(Float32Array.of(logprob, ...topLogprobs).buffer), ...topIds].join(' ');

export function ask(client: EngineClient, question: Ask, request = requestOf(question)): Promise<Answer> {
  const answer: Answer = {
    choices: Array.from({ length: request.sampling.n }, () => ({ ids: [], logprobBits: [], end: null })),
    facts: null,
  };
  return new Promise((resolve) => {
    client.submit(request, {
      prompt(facts) {
        answer.facts = facts;
      },
      tokens({ choice, ids, logprobs }) {
        answer.choices[choice]?.ids.push(...ids);
        answer.choices[choice]?.logprobBits.push(...(logprobs ?? []).map(bitsOf));
      },
      end(end) {
        const choice = answer.choices[end.choice];
        if (choice) choice.end = end;
      },
      closed: () => resolve(answer),
    });
  });
}

/** Ids that look random and repeat: the same for the same numbers. */
export function promptOf(length: number, seed: number, vocab: number): number[] {
  let state = (seed * 2654435761 + 1) >>> 0;
  return Array.from({ length }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return 3 + ((state >>> 8) % (vocab - 3));
  });
}
