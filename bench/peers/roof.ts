/** What the machine allows at most: probed by `native/bench/roof_main.cpp` in the same minute as the engines, and made into a workload's figure. */
import { spawnSync } from 'node:child_process';
import type { Format, ModelCost } from './models.js';

/** What a server is asked for. */
export interface Load {
  readonly inputLen: number; // tokens
  readonly outputLen: number;
  readonly numPrompts: number;
  readonly concurrency: number;
}

export interface Roof {
  readonly bytesPerS: number;
  /** Operations of the widest dot products; a multiply-add is two. */
  readonly bf16PerS: number;
  readonly int8PerS: number;
}

const program = 'build/native/bench/lockstep_roof';

export function probeRoof(threads: number): Roof {
  const { status, stdout, error } = spawnSync(program, [String(threads)], { encoding: 'utf8' });
  if (status !== 0) throw new Error(`${program}: ${error?.message ?? `status ${status}`}; npm run bench -- peers builds it`);
  return JSON.parse(stdout) as Roof;
}

/** The best of some probes: a neighbour's turn can only lower them. */
export const bestRoof = (roofs: readonly Roof[]): Roof => ({
  bytesPerS: Math.max(...roofs.map((roof) => roof.bytesPerS)),
  bf16PerS: Math.max(...roofs.map((roof) => roof.bf16PerS)),
  int8PerS: Math.max(...roofs.map((roof) => roof.int8PerS)),
});

/**
 * Least seconds of one step: the larger of reading (weights once, K and V of every sequence) and multiplying (weights in the dot products
 * of their format, attention in bf16's).
 * `keys`: positions that its rows attend to, summed; `cached`: those of them that are read from memory.
 */
function stepSeconds(
  cost: ModelCost,
  format: Format,
  roof: Roof,
  { rows, sampled, keys, cached }: { readonly rows: number; readonly sampled: number; readonly keys: number; readonly cached: number },
): number {
  const reading = (cost.weightBytes + cost.kvBytes * cached) / roof.bytesPerS;
  const peak = format === 'bf16' ? roof.bf16PerS : roof.int8PerS;
  const products = (2 * (cost.layerProducts * rows + cost.headProducts * sampled)) / peak;
  return Math.max(reading, products + (2 * cost.attentionProducts * keys) / roof.bf16PerS);
}

/** Seconds of a prompt alone, and of the steps of `streams` sequences until each has its output. */
export function roofSeconds(
  load: Load,
  cost: ModelCost,
  format: Format,
  roof: Roof,
): { readonly prefill: number; readonly decode: number } {
  const { inputLen, outputLen, concurrency: streams } = load;
  const rows = streams * inputLen;
  const prefill = stepSeconds(cost, format, roof, { rows, sampled: streams, keys: (rows * (inputLen + 1)) / 2, cached: 0 });
  let decode = 0;
  for (let context = inputLen + 1; context < inputLen + outputLen; context++) {
    const keys = streams * context;
    decode += stepSeconds(cost, format, roof, { rows: streams, sampled: streams, keys, cached: keys });
  }
  return { prefill, decode };
}
