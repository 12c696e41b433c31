/**
 * The forward pass over (ModelSpec, weights) in plain float64: no cache, no tricks, one sequence. It is the truth that specs and weight
 * maps are held against, independent of the native core. Slow: for models of a few hundred thousand parameters.
 */
import type { LayerSpec, ModelSpec, NormSpec, RopeSpec } from '../../src/model/spec.js';
import type { Matrix } from './read-weights.js';

type Weights = ReadonlyMap<string, Matrix>;
type Rows = Float64Array[];

function weight(weights: Weights, name: string): Matrix {
  const found = weights.get(name);
  if (!found) throw new Error(`no tensor ${name}`);
  return found;
}

/** y = W x (+ bias). */
function linear(weights: Weights, name: string, x: Float64Array, biased: boolean): Float64Array {
  const { rows, cols, data } = weight(weights, name);
  if (cols !== x.length) throw new Error(`${name}: ${cols} columns, ${x.length} inputs`);
  const bias = biased ? weight(weights, `${name}Bias`).data : null;
  const y = new Float64Array(rows);
  for (let r = 0; r < rows; r++) {
    let sum = bias ? (bias[r] as number) : 0;
    for (let c = 0, at = r * cols; c < cols; c++, at++) sum += (data[at] as number) * (x[c] as number);
    y[r] = sum;
  }
  return y;
}

function normalise(weights: Weights, name: string, spec: NormSpec, x: Float64Array): Float64Array {
  const w = weight(weights, name).data;
  const bias = spec.bias ? weight(weights, `${name}Bias`).data : null;
  const n = x.length;
  let mean = 0;
  if (spec.kind === 'layer') for (const v of x) mean += v / n;
  let square = 0;
  for (const v of x) square += ((v - mean) * (v - mean)) / n;
  const scale = 1 / Math.sqrt(square + spec.eps);
  return x.map((v, i) => (v - mean) * scale * ((w[i] as number) + spec.weightOffset) + (bias ? (bias[i] as number) : 0));
}

/** Abramowitz and Stegun 7.1.26 would do to 1e-7; the series and continued fraction are exact to float64. */
function erf(x: number): number {
  const a = Math.abs(x);
  if (a > 6) return Math.sign(x);
  if (a < 2.5) {
    let sum = a;
    for (let n = 1, term = a; n < 100; n++) {
      term *= (-a * a) / n;
      sum += term / (2 * n + 1);
    }
    return (Math.sign(x) * 2 * sum) / Math.sqrt(Math.PI);
  }
  let fraction = 0;
  for (let n = 60; n > 0; n--) fraction = n / 2 / (a + fraction);
  return Math.sign(x) * (1 - Math.exp(-a * a) / (Math.sqrt(Math.PI) * (a + fraction)));
}

const activations: Readonly<Record<LayerSpec['mlp']['activation'], (v: number) => number>> = {
  silu: (v) => v / (1 + Math.exp(-v)),
  gelu: (v) => 0.5 * v * (1 + erf(v / Math.SQRT2)),
  'gelu-tanh': (v) => 0.5 * v * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (v + 0.044715 * v ** 3))),
  relu: (v) => Math.max(v, 0),
};

function rotate(rope: RopeSpec, head: Float64Array, position: number): void {
  const half = rope.rotaryDim / 2;
  for (let i = 0; i < half; i++) {
    // The goldens' tables are float32; so is the angle here.
    const angle = Math.fround(position * (rope.inverseFrequencies[i] as number));
    const [cos, sin] = [Math.cos(angle) * rope.attentionFactor, Math.sin(angle) * rope.attentionFactor];
    const [a, b] = [head[i] as number, head[i + half] as number];
    head[i] = a * cos - b * sin;
    head[i + half] = b * cos + a * sin;
  }
}

const softcapped = (v: number, cap: number | null) => (cap === null ? v : cap * Math.tanh(v / cap));

/** In place. */
function softmax(v: Float64Array): Float64Array {
  let max = Number.NEGATIVE_INFINITY;
  for (const x of v) max = Math.max(max, x);
  let sum = 0;
  for (let i = 0; i < v.length; i++) {
    v[i] = Math.exp((v[i] as number) - max);
    sum += v[i] as number;
  }
  for (let i = 0; i < v.length; i++) v[i] = (v[i] as number) / sum;
  return v;
}

/** [heads, headDim] slices of one row, each a view. */
const headsOf = (row: Float64Array, headDim: number) =>
  Array.from({ length: row.length / headDim }, (_, h) => row.subarray(h * headDim, (h + 1) * headDim));

function attention(spec: ModelSpec, weights: Weights, index: number, x: Rows): Rows {
  const layer = spec.layers[index] as LayerSpec;
  const { heads, kvHeads, headDim } = spec.dims;
  const scope = `layers.${index}.`;
  const project = (part: 'q' | 'k' | 'v') =>
    x.map((row, position) => {
      const out = headsOf(linear(weights, scope + part, row, layer.attention.qkvBias), headDim);
      if (part === 'v') return out;
      for (const head of out) {
        if (layer.attention.qkNorm) head.set(normalise(weights, `${scope}${part}Norm`, layer.attention.qkNorm, head));
        if (layer.rope !== null) rotate(spec.ropes[layer.rope] as RopeSpec, head, position);
      }
      return out;
    });
  const [q, k, v] = [project('q'), project('k'), project('v')];
  return q.map((row, position) => {
    const out = new Float64Array(heads * headDim);
    const first = layer.attention.window === null ? 0 : Math.max(0, position - layer.attention.window + 1);
    row.forEach((head, h) => {
      const kv = Math.floor(h / (heads / kvHeads));
      const scores = new Float64Array(position - first + 1);
      for (let t = first; t <= position; t++) {
        const key = k[t]?.[kv] as Float64Array;
        let dot = 0;
        for (let i = 0; i < headDim; i++) dot += (head[i] as number) * (key[i] as number);
        scores[t - first] = softcapped(dot * layer.attention.scale, layer.attention.softcap);
      }
      softmax(scores).forEach((p, t) => {
        const value = v[first + t]?.[kv] as Float64Array;
        for (let i = 0; i < headDim; i++) out[h * headDim + i] = (out[h * headDim + i] as number) + p * (value[i] as number);
      });
    });
    return linear(weights, `${scope}o`, out, layer.attention.outBias);
  });
}

function feedForward(layer: LayerSpec, weights: Weights, scope: string, x: Float64Array): Float64Array {
  const { mlp } = layer;
  const biased = mlp.bias && mlp.experts === null;
  const act = activations[mlp.activation];
  const up = linear(weights, `${scope}up`, x, biased);
  const gate = mlp.gated ? linear(weights, `${scope}gate`, x, biased) : null;
  return linear(
    weights,
    `${scope}down`,
    up.map((v, i) => (gate ? act(gate[i] as number) * v : act(v))),
    biased,
  );
}

function mlp(spec: ModelSpec, weights: Weights, index: number, x: Float64Array): Float64Array {
  const layer = spec.layers[index] as LayerSpec;
  const scope = `layers.${index}.`;
  const experts = layer.mlp.experts;
  if (!experts) return feedForward(layer, weights, scope, x);
  const share = softmax(linear(weights, `${scope}router`, x, false));
  // Ties go to the lowest expert; outputs are added in expert order.
  const chosen = [...share.keys()]
    .sort((a, b) => (share[b] as number) - (share[a] as number) || a - b)
    .slice(0, experts.topK)
    .sort((a, b) => a - b);
  const total = experts.normalizeTopK ? chosen.reduce((sum, e) => sum + (share[e] as number), 0) : 1;
  const out = new Float64Array(x.length);
  for (const e of chosen) {
    const y = feedForward(layer, weights, `${scope}experts.${e}.`, x);
    for (let i = 0; i < y.length; i++) out[i] = (out[i] as number) + ((share[e] as number) / total) * (y[i] as number);
  }
  return out;
}

/** Logits after every token of `ids`: [ids.length][vocab]. With `lastOnly` the head is applied to the last row alone. */
export function referenceForward(spec: ModelSpec, weights: Weights, ids: readonly number[], lastOnly = false): Float64Array[] {
  const { hidden } = spec.dims;
  const embed = weight(weights, 'embed').data;
  const positions = spec.embedding.learnedPositions;
  let x: Rows = ids.map((id, position) => {
    const row = embed.slice(id * hidden, (id + 1) * hidden).map((v) => v * spec.embedding.scale);
    if (!positions) return row;
    const added = weight(weights, 'embedPositions').data.subarray((position + positions.offset) * hidden);
    return row.map((v, i) => v + (added[i] as number));
  });
  const join = (name: string, norm: NormSpec | null, part: Rows) => {
    x = x.map((row, t) => {
      const own = norm ? normalise(weights, name, norm, part[t] as Float64Array) : (part[t] as Float64Array);
      return row.map((v, i) => v + (own[i] as number));
    });
  };
  spec.layers.forEach((layer, i) => {
    const before = (name: string, norm: NormSpec) => x.map((row) => normalise(weights, `layers.${i}.${name}`, norm, row));
    join(
      `layers.${i}.postAttnNorm`,
      layer.norms.afterAttention,
      attention(spec, weights, i, before('attnNorm', layer.norms.beforeAttention)),
    );
    join(
      `layers.${i}.postMlpNorm`,
      layer.norms.afterMlp,
      before('mlpNorm', layer.norms.beforeMlp).map((row) => mlp(spec, weights, i, row)),
    );
  });
  const head = spec.embedding.tied ? 'embed' : 'head';
  return (lastOnly ? x.slice(-1) : x).map((row) =>
    linear(weights, head, normalise(weights, 'finalNorm', spec.finalNorm, row), false).map((v) =>
      softcapped(v * spec.logits.scale, spec.logits.softcap),
    ),
  );
}

export function argmax(v: ArrayLike<number>): number {
  let best = 0;
  for (let i = 1; i < v.length; i++) if ((v[i] as number) > (v[best] as number)) best = i;
  return best;
}
