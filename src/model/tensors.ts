/**
 * From a spec, a checkpoint and a family's name table to the weight map: every tensor that the forward pass wants, with its shape
 * checked against what lies in the file, and the format it is kept in. Leaves reading the bytes to the native side.
 */
import { startError } from '../errors.js';
import type { Checkpoint, StoredTensor } from './checkpoint.js';
import { elementLayouts, isQuantised, isValueType, matrixFormat, type OnLoad, onLoadFormat, valueTypes } from './quantization/formats.js';
import { LayerTensors, type QuantisedLinear, type QuantScheme } from './quantization/scheme.js';
import type { ComputeType, ElementType, ModelSpec, NormSpec, WeightFormat, WeightMap, WeightTensor } from './spec.js';

/**
 * Where one of our tensors lies in a checkpoint. In names, `*` stands for the layer, `*-1` for the one before it (of what is in no layer: the
 * last one) and `#` for the expert.
 */
export interface TensorRule {
  readonly name: string;
  /** The source holds these parts one after another along its rows, ours among them. */
  readonly fused?: readonly string[];
  /** Stored [in, out]. */
  readonly transposed?: boolean;
  /** The source holds the matrices of all experts: [experts, rows, cols]. */
  readonly stacked?: boolean;
  /** Each head's rotary pairs lie interleaved (GGUF files of the Llama kind). */
  readonly interleaved?: boolean;
  /** Added to every value. */
  readonly bias?: number;
}

type Source = string | TensorRule;

/** By our name, with `*` and `#` for layer and expert unless one is meant. Of several sources the first that the checkpoint has is taken. */
export type TensorRules = Readonly<Record<string, Source | readonly Source[]>>;

/** [prefix in the checkpoint, what the rules call it]: checkpoints of one family differ in how their names begin. */
export type NameAliases = readonly (readonly [prefix: string, replacement: string])[];

/** One tensor of the forward pass. A vector has one row. */
interface WantedTensor {
  readonly scope: '' | `layers.${number}.` | `layers.${number}.experts.${number}.`;
  readonly part: string;
  readonly layer: number;
  readonly expert: number;
  readonly rows: number;
  readonly cols: number;
  readonly vector: boolean;
}

/** Every tensor of `spec`, in the order in which the forward pass meets them. */
export function wantedTensors(spec: ModelSpec): WantedTensor[] {
  const { hidden, vocab, heads, kvHeads, headDim } = spec.dims;
  const wanted: WantedTensor[] = [];
  const adder = (scope: WantedTensor['scope'], layer: number, expert: number) => ({
    matrix: (part: string, rows: number, cols: number) => wanted.push({ scope, part, layer, expert, rows, cols, vector: false }),
    vector: (part: string, cols: number) => wanted.push({ scope, part, layer, expert, rows: 1, cols, vector: true }),
  });
  const norm = (add: ReturnType<typeof adder>, part: string, size: number, kind: NormSpec | null) => {
    if (kind) add.vector(part, size);
    if (kind?.bias) add.vector(`${part}Bias`, size);
  };
  const top = adder('', spec.layers.length, 0);
  top.matrix('embed', vocab, hidden);
  if (spec.embedding.tokenTypes !== null) top.matrix('embedTypes', spec.embedding.tokenTypes, hidden);
  if (spec.embedding.learnedPositions) top.matrix('embedPositions', spec.embedding.learnedPositions.count, hidden);
  spec.layers.forEach(({ attention, mlp, norms }, layer) => {
    const add = adder(`layers.${layer}.`, layer, 0);
    norm(add, 'attnNorm', hidden, norms.beforeAttention);
    for (const [part, n] of [
      ['q', heads],
      ['k', kvHeads],
      ['v', kvHeads],
    ] as const) {
      add.matrix(part, n * headDim, hidden);
      if (attention.qkvBias) add.vector(`${part}Bias`, n * headDim);
    }
    norm(add, 'qNorm', headDim, attention.qkNorm);
    norm(add, 'kNorm', headDim, attention.qkNorm);
    add.matrix('o', hidden, heads * headDim);
    if (attention.outBias) add.vector('oBias', hidden);
    norm(add, 'postAttnNorm', hidden, norms.afterAttention);
    norm(add, 'mlpNorm', hidden, norms.beforeMlp);
    if (mlp.experts) {
      add.matrix('router', mlp.experts.count, hidden);
      for (let e = 0; e < mlp.experts.count; e++)
        feedForward(adder(`layers.${layer}.experts.${e}.`, layer, e), mlp.experts.intermediate, mlp.gated, false);
    } else {
      feedForward(add, mlp.intermediate, mlp.gated, mlp.bias);
    }
    norm(add, 'postMlpNorm', hidden, norms.afterMlp);
  });
  function feedForward(add: ReturnType<typeof adder>, intermediate: number, gated: boolean, bias: boolean) {
    for (const part of gated ? ['gate', 'up'] : ['up']) {
      add.matrix(part, intermediate, hidden);
      if (bias) add.vector(`${part}Bias`, intermediate);
    }
    add.matrix('down', hidden, intermediate);
    if (bias) add.vector('downBias', hidden);
  }
  norm(top, 'finalNorm', hidden, spec.finalNorm);
  if (!spec.embedding.tied) top.matrix('head', vocab, hidden);
  return wanted;
}

export interface MapInput {
  readonly spec: ModelSpec;
  readonly checkpoint: Checkpoint;
  readonly rules: TensorRules;
  readonly aliases: NameAliases;
  readonly computeType: ComputeType;
  /** How a quantised safetensors checkpoint stores its linear layers; null: plainly. */
  readonly scheme: QuantScheme | null;
  /** To quantise float matrices as they are loaded. */
  readonly onLoad: OnLoad | null;
}

/** The weight map, and notes on what was converted or left out. */
export function mapWeights(input: MapInput): { weights: WeightMap; notes: string[] } {
  const stored = byRuleName(input.checkpoint, input.aliases);
  const wanted = wantedTensors(input.spec);
  const rowsOf = new Map(wanted.map((w) => [w.scope + w.part, w.vector ? w.cols : w.rows]));
  const used = new Set<string>();
  const reasons = new Set<string>();
  const tensors = wanted.map((w) => {
    const [rule, source] = findSource(w, stored, input);
    if (!('codes' in source)) {
      used.add(source.name);
      return weightTensor(w, rule, source, rowsOf, input);
    }
    for (const name of source.names) used.add(name);
    if (source.kept.why !== null) reasons.add(source.kept.why);
    return quantisedTensor(w, rule, source, rowsOf, input);
  });
  const sameFormat = withPairsAlike(tensors);
  return {
    weights: { files: input.checkpoint.files, tensors: sameFormat },
    notes: [...conversionNotes(sameFormat, input, reasons), ...leftOver(input.checkpoint, used)],
  };
}

function byRuleName(checkpoint: Checkpoint, aliases: NameAliases): Map<string, StoredTensor> {
  const stored = new Map<string, StoredTensor>();
  for (const tensor of checkpoint.tensors.values()) {
    const alias = aliases.find(([prefix]) => tensor.name.startsWith(prefix));
    const name = alias ? alias[1] + tensor.name.slice(alias[0].length) : tensor.name;
    const other = stored.get(name);
    if (other) throw startError(`${checkpoint.files[tensor.file]}: ${tensor.name} and ${other.name} are the same tensor of the model`);
    stored.set(name, tensor);
  }
  return stored;
}

/** A linear layer that is stored quantised, with the names of all its tensors. */
type QuantisedSource = QuantisedLinear & { readonly names: readonly string[] };

function findSource(
  w: WantedTensor,
  stored: ReadonlyMap<string, StoredTensor>,
  { rules, checkpoint, scheme }: MapInput,
): [TensorRule, StoredTensor | QuantisedSource] {
  const key = w.scope.replace(/\d+/, '*').replace(/\d+/, '#') + w.part;
  const entry = rules[w.scope + w.part] ?? rules[key];
  const sources = entry === undefined ? [] : ([] as Source[]).concat(entry);
  const names: string[] = [];
  for (const source of sources) {
    const rule = typeof source === 'string' ? { name: source } : source;
    const name = rule.name
      .replace('*-1', String(w.layer - 1))
      .replace('*', String(w.layer))
      .replace('#', String(w.expert));
    if (scheme && !w.vector && name.endsWith('.weight')) {
      const layer = new LayerTensors(name.slice(0, -'.weight'.length), stored, checkpoint);
      const linear = scheme.linear(layer);
      if (linear) return [rule, { ...linear, names: layer.names() }];
    }
    const found = stored.get(name);
    if (found) return [rule, found];
    names.push(name);
  }
  const files = checkpoint.files.length === 1 ? checkpoint.files[0] : `${checkpoint.files[0]} and ${checkpoint.files.length - 1} more`;
  throw startError(`${files}: tensor ${names.join(' or ') || w.scope + w.part} is missing`);
}

function quantisedTensor(
  w: WantedTensor,
  rule: TensorRule,
  { codes, type, rows, cols, scaling, kept }: QuantisedLinear,
  rowsOf: ReadonlyMap<string, number>,
  input: MapInput,
): WeightTensor {
  const file = input.checkpoint.files[codes.file];
  const [first, total] = partOf(w, rule, rowsOf, input.spec);
  if (rule.stacked) throw startError(`${file}: tensor ${codes.name}: stacked experts are not read from quantised checkpoints`);
  if (rows !== total || cols !== w.cols) {
    throw startError(
      `${file}: tensor ${codes.name} holds a layer of [${rows}, ${cols}], but the model's configuration asks for [${total}, ${w.cols}]`,
    );
  }
  const place = { file: codes.file, byteOffset: codes.byteOffset, type, rows, cols };
  return {
    name: w.scope + w.part,
    rows: w.rows,
    cols: w.cols,
    format: w.part === 'router' || input.computeType === 'float32' ? 'f32' : kept.format,
    source: { ...place, transposed: false, firstRow: first, interleavedHeadDim: 0 },
    scaling,
    bias: 0,
  };
}

function weightTensor(
  w: WantedTensor,
  rule: TensorRule,
  source: StoredTensor,
  rowsOf: ReadonlyMap<string, number>,
  input: MapInput,
): WeightTensor {
  const file = input.checkpoint.files[source.file];
  const { type } = source;
  if (!isValueType(type)) {
    throw startError(
      `${file}: tensor ${source.name} is of type ${type}, which is not supported here; supported are ${valueTypes.join(', ')}`,
    );
  }
  const [first, total] = partOf(w, rule, rowsOf, input.spec);
  const shape = expectedShape(w, rule, total, input.spec);
  const found = w.vector ? source.shape.filter((n) => n !== 1) : source.shape;
  const matches = w.vector ? found.reduce((a, b) => a * b, 1) === total && found.length <= 1 : found.join() === shape.join();
  if (!matches) {
    throw startError(
      `${file}: tensor ${source.name} has shape [${source.shape.join(', ')}], but the model's configuration asks for [${shape.join(', ')}]`,
    );
  }
  const { blockValues, blockBytes } = elementLayouts[type];
  const cols = w.vector ? total : (source.shape.at(-1) as number);
  if (cols % blockValues !== 0)
    throw startError(`${file}: tensor ${source.name} has rows of ${cols} values, but blocks of ${type} hold ${blockValues}`);
  if (isQuantised(type) && (w.vector || rule.transposed))
    throw startError(`${file}: tensor ${source.name} of type ${type} is only supported as a matrix`);
  if (w.vector && rule.interleaved) throw startError(`${file}: tensor ${source.name}: biases of interleaved heads are not supported`);
  const place = w.vector
    ? // A slice of a vector is a source of its own: vectors have no rows to count.
      { byteOffset: source.byteOffset + first * blockBytes, rows: 1, cols: w.cols, firstRow: 0 }
    : { byteOffset: source.byteOffset, rows: source.shape.slice(0, -1).reduce((a, b) => a * b, 1), cols, firstRow: first };
  return {
    name: w.scope + w.part,
    rows: w.rows,
    cols: w.cols,
    format: w.vector || w.part === 'router' ? 'f32' : plainFormat(w, type, input),
    source: {
      file: source.file,
      type,
      ...place,
      transposed: rule.transposed === true && !w.vector,
      interleavedHeadDim: rule.interleaved ? input.spec.dims.headDim : 0,
    },
    scaling: null,
    bias: rule.bias ?? 0,
  };
}

function plainFormat(w: WantedTensor, type: ElementType, { onLoad, computeType }: MapInput): WeightFormat {
  return onLoad ? onLoadFormat(w.part, w.cols, onLoad) : matrixFormat(type, w.cols, computeType);
}

/** [first, total]: our first row among the rows of the source, and how many rows the source should have. */
function partOf(w: WantedTensor, rule: TensorRule, rowsOf: ReadonlyMap<string, number>, spec: ModelSpec): readonly [number, number] {
  const own = w.vector ? w.cols : w.rows;
  if (rule.stacked) return [w.expert * own, (spec.layers[w.layer]?.mlp.experts?.count ?? 1) * own];
  if (!rule.fused) return [0, own];
  const rows = rule.fused.map((part) => rowsOf.get(w.scope + part) ?? 0);
  const before = rows.slice(0, rule.fused.indexOf(w.part));
  return [before.reduce((a, b) => a + b, 0), rows.reduce((a, b) => a + b, 0)];
}

function expectedShape(w: WantedTensor, rule: TensorRule, total: number, spec: ModelSpec): readonly number[] {
  if (w.vector) return [total];
  if (rule.stacked) return [spec.layers[w.layer]?.mlp.experts?.count ?? 1, w.rows, w.cols];
  return rule.transposed ? [w.cols, total] : [total, w.cols];
}

/** gate and up are multiplied as one matrix, and so are kept in one format: bf16 where a file's types differ. */
function withPairsAlike(tensors: readonly WeightTensor[]): WeightTensor[] {
  const formats = new Map(tensors.map((t) => [t.name, t.format]));
  return tensors.map((t) => {
    const pair = t.name.endsWith('.gate') ? t.name.replace(/gate$/, 'up') : t.name.endsWith('.up') ? t.name.replace(/up$/, 'gate') : t.name;
    const other = formats.get(pair) ?? t.format;
    return other === t.format ? t : { ...t, format: 'bf16' };
  });
}

function conversionNotes(
  tensors: readonly WeightTensor[],
  { computeType, scheme, onLoad }: MapInput,
  reasons: ReadonlySet<string>,
): string[] {
  const notes: string[] = [];
  const count = (chosen: readonly WeightTensor[], key: (t: WeightTensor) => string) => {
    const counts = new Map<string, number>();
    for (const t of chosen) counts.set(key(t), (counts.get(key(t)) ?? 0) + 1);
    return [...counts];
  };
  const matrices = tensors.filter((t) => t.rows > 1 && !t.name.endsWith('router'));
  const scaled = matrices.filter((t) => t.scaling !== null);
  if (scheme && scaled.length > 0) {
    const list = count(scaled, (t) => t.format).map(([format, n]) => `${n} matrices as ${format}`);
    const why = computeType === 'float32' ? ['--dtype float32 asks for it'] : [...reasons];
    notes.push(`${scheme.summary}: ${list.join(', ')}${why.length > 0 ? ` (${why.join('; ')})` : ''}`);
  }
  if (onLoad) {
    const list = count(matrices, (t) => t.format).map(([format, n]) => `${n} matrices as ${format}`);
    notes.push(`--quantization ${onLoad}: ${list.join(', ')}`);
  }
  const converted = tensors.filter((t) => t.scaling === null && isQuantised(t.source.type) && t.format !== t.source.type);
  if (converted.length > 0) {
    const list = count(converted, (t) => t.source.type).map(([type, n]) => `${n} of ${type}`);
    const why = computeType === 'float32' ? '--dtype float32 asks for it' : 'no kernel multiplies these in their bits';
    notes.push(`quantised tensors dequantised to ${computeType === 'float32' ? 'float32' : 'bf16'} (${why}): ${list.join(', ')}`);
  }
  return notes;
}

/** Tensors that checkpoints carry and nobody needs: attention masks, tables that are computed, heads that are tied, scales of fp8 KV caches. */
const needless =
  /(^|\.)(rotary_emb\.inv_freq|attn\.bias|attn\.masked_bias|lm_head\.weight|attn\.[qkv]_scale)$|^(rope_freqs|rope_factors_(long|short))\.weight$/;
/** Towers of models that also take images or sound; only their text part is served. */
const towers = /^(vision_tower|vision_model|multi_modal_projector|audio_tower|model\.vision_tower|model\.multi_modal_projector|v\.|mm\.)/;

/** Notes on tensors that were not used. One that stands in a layer changes the result when it is left out: refused. */
function leftOver(checkpoint: Checkpoint, used: ReadonlySet<string>): string[] {
  const rest = [...checkpoint.tensors.values()].filter((t) => !used.has(t.name) && !needless.test(t.name));
  const inLayer = rest.find((t) => /(^|\.)(layers?|h|blk)\.\d+\./.test(t.name) && !towers.test(t.name));
  if (inLayer) {
    throw startError(
      `${checkpoint.files[inLayer.file]}: tensor ${inLayer.name} belongs to no part of this architecture as its configuration describes it; leaving it out would change the results`,
    );
  }
  if (rest.length === 0) return [];
  const names = rest.slice(0, 3).map((t) => t.name);
  return [`${rest.length} tensors are not used: ${names.join(', ')}${rest.length > 3 ? ', …' : ''}`];
}
