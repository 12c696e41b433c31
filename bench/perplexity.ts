/**
 * Perplexity of a text: exp of the mean negative log-probability of each token given those before it in its window. The text is cut into
 * windows of equal length that do not overlap; each is the prompt of one request, and the engine's prompt log-probabilities are the scores.
 *
 * perplexity.txt, the text that is scored by default: ten short pieces written for it, then the beginning of Shakespeare's Coriolanus (public
 * domain; the file "tiny Shakespeare" of github.com/karpathy/char-rnn begins with it). The ten alone, 2,500 tokens, left an error of 0.2 %.
 */
import type { EngineClient } from '../src/engine/client.js';
import { endsByLength, neutralSampling } from '../src/sampling/params.js';

export interface PerplexityFigures {
  readonly perplexity: number;
  /** Of the tokens that were scored, all but the first of each window, in the order of the text. */
  readonly logprobs: readonly number[];
}

/**
 * Perplexity over that of `base` on the same tokens, and its standard error: of the mean of the differences token by token, since most of
 * what makes a text hard is common to both. null where the tokens are not the same in number.
 */
export function ratioOf(figures: PerplexityFigures, base: PerplexityFigures): { ratio: number; error: number } | null {
  const n = base.logprobs.length;
  if (figures.logprobs.length !== n) return null;
  const differences = base.logprobs.map((logprob, i) => logprob - (figures.logprobs[i] as number));
  const mean = differences.reduce((sum, d) => sum + d, 0) / n;
  const variance = differences.reduce((sum, d) => sum + (d - mean) ** 2, 0) / (n - 1);
  return { ratio: Math.exp(mean), error: Math.exp(mean) * Math.sqrt(variance / n) };
}

/** Cuts `tokens` into windows of `windowLen`, `first` (a beginning of sequence) in front of each where there is one. The last may be short. */
export function windowsOf(tokens: Int32Array, windowLen: number, first: number | null): Int32Array[] {
  const own = first === null ? windowLen : windowLen - 1;
  const windows: Int32Array[] = [];
  for (let at = 0; at < tokens.length; at += own) {
    const part = tokens.subarray(at, at + own);
    windows.push(first === null ? part.slice() : Int32Array.of(first, ...part));
  }
  return windows.filter((window) => window.length > 1);
}

/** Rejects when the engine refuses a window or a request ends with an error. */
export async function measurePerplexity(engine: EngineClient, windows: readonly Int32Array[]): Promise<PerplexityFigures> {
  const scored = await Promise.all(windows.map((window, index) => scoreWindow(engine, window, index)));
  const logprobs = scored.flat();
  // In order of the text, so that the sum does not depend on which window came back first.
  const mean = logprobs.reduce((sum, logprob) => sum + logprob, 0) / logprobs.length;
  return { perplexity: Math.exp(-mean), logprobs };
}

function scoreWindow(engine: EngineClient, window: Int32Array, index: number): Promise<number[]> {
  return new Promise((resolve, reject) => {
    let logprobs: number[] = [];
    let failure: string | null = null;
    const request = {
      id: `perplexity-${index}`,
      promptTokens: window,
      sampling: { ...neutralSampling, temperature: 0, seed: 0n, numPromptLogprobs: 0 },
      stop: endsByLength(1),
      priority: 0,
      cacheSalt: null,
    };
    engine.submit(request, {
      prompt: ({ promptLogprobs }) => {
        logprobs = (promptLogprobs ?? []).map(({ logprob }) => logprob);
      },
      tokens: () => {},
      end: ({ error }) => {
        if (error !== null) failure = error.message;
      },
      closed: () => {
        if (failure === null && logprobs.length !== window.length - 1) failure = `${logprobs.length} scores for ${window.length} tokens`;
        if (failure === null) resolve(logprobs);
        else reject(new Error(`window ${index}: ${failure}`));
      },
    });
  });
}
