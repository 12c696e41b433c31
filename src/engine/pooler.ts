/**
 * Pooled hidden states -> an embedding or scores, on the API's thread: the mean's division, layers behind pooling, normalisation. Sums are in
 * float64 in the order of their inputs, so that a result's bits depend on the pooled states alone.
 */
import { LockstepError, startError } from '../errors.js';
import type { DenseLayer, PoolingSpec } from '../model/spec.js';
import { readRows } from '../model/stored-values.js';
import type { Pooling } from '../scheduler/sequence.js';
import type { Tokenizer } from '../tokenizer/tokenizer.js';

export interface PoolerOptions {
  /** Leading values of an embedding that are wanted; null: all. */
  readonly dimensions: number | null;
  /** Whether the activation is applied; null: as the model is configured. */
  readonly activation: boolean | null;
}

export class Pooler {
  /** `layers`: those of the spec, with the one that is made of tokens. */
  constructor(
    readonly spec: PoolingSpec,
    readonly layers: readonly DenseLayer[] = spec.layers,
  ) {}

  /** Multiplications of a `finish`. */
  get work(): number {
    return this.layers.reduce((sum, { weight }) => sum + weight.length, this.spec.width);
  }

  /** What the engine is asked for. */
  request(secondSegment: number | null): Pooling {
    const { of } = this.spec;
    return { of: of === 'mean' ? 'sum' : of, secondSegment };
  }

  /** `pooled`: what the engine brought of a prompt of `promptLen` tokens. Throws where it is not all numbers, as of broken weights. */
  finish(pooled: Float32Array, promptLen: number, { dimensions, activation }: PoolerOptions): Float32Array {
    let values: Float64Array = Float64Array.from(pooled);
    if (this.spec.of === 'mean') values = values.map((value) => value / promptLen);
    for (const layer of this.layers) values = apply(layer, values);
    if (dimensions !== null) values = values.slice(0, dimensions);
    const result = Float32Array.from(activate(values, this.#activation(activation)));
    if (!result.every(Number.isFinite)) throw notNumbers;
    return result;
  }

  #activation(wanted: boolean | null): PoolingSpec['activation'] {
    const { activation, task, labels } = this.spec;
    if (wanted === false) return 'none';
    if (wanted === null || activation !== 'none') return activation;
    return task === 'embed' ? 'normalize' : labels.length === 1 ? 'sigmoid' : 'softmax';
  }
}

/** Throws a start error where a token that is to be a label is not one token. */
export async function createPooler(spec: PoolingSpec, tokenizer: Tokenizer): Promise<Pooler> {
  if (spec.fromTokens === null) return new Pooler(spec);
  const { tokens, difference, head } = spec.fromTokens;
  const rows: Float32Array[] = [];
  for (const token of tokens) {
    const ids = await tokenizer.encode(token, { addSpecialTokens: false });
    if (ids.length !== 1 || ids[0]! >= head.rows)
      throw startError(`classifier_from_token: ${JSON.stringify(token)} is not one token of this model`);
    rows.push(readRows(head, ids[0]!, 1));
  }
  const [no, yes] = rows;
  const weights = difference ? [yes!.map((value, i) => value - no![i]!)] : rows;
  const weight = new Float32Array(weights.length * head.cols);
  for (const [i, row] of weights.entries()) weight.set(row, i * head.cols);
  return new Pooler(spec, [...spec.layers, { outputs: weights.length, weight, bias: null, activation: 'none' }]);
}

const notNumbers = new LockstepError('internal', 'The hidden states are not numbers: broken weights or an overflow.');

function apply({ outputs, weight, bias, activation }: DenseLayer, inputs: Float64Array): Float64Array {
  return Float64Array.from({ length: outputs }, (_, row) => {
    let sum = bias?.[row] ?? 0;
    for (let i = 0; i < inputs.length; i++) sum += weight[row * inputs.length + i]! * inputs[i]!;
    return activation === 'tanh' ? Math.tanh(sum) : sum;
  });
}

function activate(values: Float64Array, activation: PoolingSpec['activation']): Float64Array {
  switch (activation) {
    case 'none':
      return values;
    case 'normalize': {
      const norm = Math.sqrt(values.reduce((sum, value) => sum + value * value, 0));
      return norm === 0 ? values : values.map((value) => value / norm);
    }
    case 'sigmoid':
      return values.map((value) => 1 / (1 + Math.exp(-value)));
    case 'softmax': {
      const largest = values.reduce((a, b) => Math.max(a, b), Number.NEGATIVE_INFINITY);
      const powers = values.map((value) => Math.exp(value - largest));
      const total = powers.reduce((a, b) => a + b, 0);
      return powers.map((power) => power / total);
    }
  }
}

/** Of two vectors of one length; 0 where one of them is. */
export function cosineSimilarity(a: Float32Array, b: Float32Array): number {
  let [product, squaresA, squaresB] = [0, 0, 0];
  for (let i = 0; i < a.length; i++) {
    product += a[i]! * b[i]!;
    squaresA += a[i]! * a[i]!;
    squaresB += b[i]! * b[i]!;
  }
  return squaresA === 0 || squaresB === 0 ? 0 : product / Math.sqrt(squaresA * squaresB);
}
