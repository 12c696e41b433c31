/**
 * Which part of each kind of matrix a rank holds, told for people: in reduce mode as `shardOf` cuts it, in gather mode as native/cpu/weights.cpp
 * deals whole blocks of rows.
 */
import type { LayerSpec, ModelSpec } from '../model/spec.js';
import { cut, shardOf, type TensorParallelMode } from './sharding.js';

/** Rows of a packed block of weights: kBlockRows in native/cpu/kernels.h. Gate and up share one. */
const blockRows = 32;

/** One kind of matrix, or of heads: which range each rank holds. */
export interface Cut {
  /** "query heads", "down rows". */
  readonly part: string;
  /** First and last of those that are cut like this; null: it belongs to no layer. */
  readonly layers: readonly [number, number] | null;
  readonly total: number;
  /** [ranks] first and count. Ranges overlap where several ranks hold the same KV head. */
  readonly ranges: readonly (readonly [number, number])[];
}

/** Layers that follow each other and are cut alike are one entry. */
export function cutsOf(spec: ModelSpec, mode: TensorParallelMode, worldSize: number): Cut[] {
  const { heads, kvHeads, vocab } = spec.dims;
  const shards = Array.from({ length: worldSize }, (_, rank) => shardOf(spec, mode, rank, worldSize));
  const last = spec.layers.length - 1;
  const ofLayers = (part: string, total: number, ranges: Cut['ranges']): Cut => ({ part, layers: [0, last], total, ranges });
  const whole = { part: 'vocabulary', layers: null, total: vocab };
  if (mode === 'gather') {
    const rows = (total: number, unit: number) => shards.map(({ rank }) => cut(total, unit, rank, worldSize));
    return [
      ...attentionRows(spec, worldSize),
      ofLayers('output rows', spec.dims.hidden, rows(spec.dims.hidden, blockRows)),
      ...runsOf(spec.layers, (layer) => ({
        part: mlpPart(layer),
        total: intermediateOf(layer),
        ranges: rows(intermediateOf(layer), layer.mlp.gated ? blockRows / 2 : blockRows),
      })),
      ofLayers('down rows', spec.dims.hidden, rows(spec.dims.hidden, blockRows)),
      { ...whole, ranges: rows(vocab, blockRows) },
    ];
  }
  return [
    ofLayers(
      'query heads',
      heads,
      shards.map((shard) => shard.heads),
    ),
    ofLayers(
      'key and value heads',
      kvHeads,
      shards.map((shard) => shard.kvHeads),
    ),
    ...runsOf(spec.layers, (layer, i) => ({
      part: mlpPart(layer),
      total: intermediateOf(layer),
      ranges: shards.map((shard) => shard.intermediate[i]!),
    })),
    { ...whole, ranges: shards.map((shard) => shard.vocab) },
  ];
}

const intermediateOf = ({ mlp }: LayerSpec): number => mlp.experts?.intermediate ?? mlp.intermediate;
const mlpPart = ({ mlp }: LayerSpec): string => `${mlp.gated ? 'gate and up' : 'up'} rows${mlp.experts === null ? '' : ' of each expert'}`;

/** q, k and v are one matrix, each padded to whole blocks: a rank may hold the end of one and the beginning of the next. */
function attentionRows(spec: ModelSpec, worldSize: number): Cut[] {
  const { heads, kvHeads, headDim } = spec.dims;
  const parts = [
    { part: 'query rows', rows: heads * headDim },
    { part: 'key rows', rows: kvHeads * headDim },
    { part: 'value rows', rows: kvHeads * headDim },
  ];
  const numBlocks = parts.map(({ rows }) => Math.ceil(rows / blockRows));
  const dealt = Array.from({ length: worldSize }, (_, rank) => cut(numBlocks[0]! + numBlocks[1]! + numBlocks[2]!, 1, rank, worldSize));
  return parts.map(({ part, rows }, i) => {
    const before = numBlocks.slice(0, i).reduce((sum, blocks) => sum + blocks, 0) * blockRows;
    const within = (row: number) => Math.min(Math.max(row * blockRows - before, 0), rows);
    const ranges = dealt.map(([first, count]) => [within(first), within(first + count) - within(first)] as const);
    return { part, layers: [0, spec.layers.length - 1], total: rows, ranges };
  });
}

function runsOf(layers: readonly LayerSpec[], cutOf: (layer: LayerSpec, index: number) => Omit<Cut, 'layers'>): Cut[] {
  const runs: { first: number; last: number; cut: Omit<Cut, 'layers'> }[] = [];
  for (const [i, layer] of layers.entries()) {
    const now = cutOf(layer, i);
    const run = runs.at(-1);
    if (run !== undefined && run.cut.part === now.part && run.cut.total === now.total) run.last = i;
    else runs.push({ first: i, last: i, cut: now });
  }
  return runs.map(({ first, last, cut: { part, total, ranges } }) => ({ part, layers: [first, last], total, ranges }));
}
