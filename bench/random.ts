/** Seeded random numbers, so that a run can be repeated: uniform, normal, gamma. */
export interface Random {
  /** In [0, 1). */
  uniform(): number;
  /** Whole, from lowest to highest, both included. */
  integer(lowest: number, highest: number): number;
  /** Mean shape * scale. */
  gamma(shape: number, scale: number): number;
}

export function createRandom(seed: number): Random {
  let state = seed >>> 0;
  // Mulberry32 (Tommy Ettinger): 32 bits of state are plenty for prompts and arrival times.
  const uniform = () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
  const normal = () => Math.sqrt(-2 * Math.log(1 - uniform())) * Math.cos(2 * Math.PI * uniform());
  // Marsaglia and Tsang, A Simple Method for Generating Gamma Variables (2000); below shape 1 by their boosting rule.
  const gamma = (shape: number, scale: number): number => {
    if (shape < 1) return gamma(shape + 1, scale) * uniform() ** (1 / shape);
    const d = shape - 1 / 3;
    const c = 1 / Math.sqrt(9 * d);
    for (;;) {
      const x = normal();
      const v = (1 + c * x) ** 3;
      if (v > 0 && Math.log(1 - uniform()) < 0.5 * x * x + d * (1 - v + Math.log(v))) return d * v * scale;
    }
  };
  return { uniform, gamma, integer: (lowest, highest) => lowest + Math.floor(uniform() * (highest - lowest + 1)) };
}
