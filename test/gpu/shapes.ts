/**
 * Models that are shapes alone: config.json and a sparse model.safetensors that takes no room, in which only the norms are written. Matrices are
 * made on the GPU (`WeightMap.generated`), so that eight billion weights are there in a second, and the same in scripts/gpu-check-torch.py.
 */
import { closeSync, ftruncateSync, mkdirSync, openSync, writeFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { loadModel } from '../../src/model/load.js';
import type { LoadedModel } from '../../src/model/spec.js';

export interface Shape {
  readonly architecture: 'LlamaForCausalLM' | 'Qwen2ForCausalLM';
  readonly hidden: number;
  readonly layers: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly intermediate: number;
  readonly vocab: number;
  readonly tied: boolean;
  readonly ropeTheta: number;
}

// biome-ignore format: a table
export const shapes: Readonly<Record<string, Shape>> = {
  '8B': { architecture: 'LlamaForCausalLM', hidden: 4096, layers: 32, heads: 32, kvHeads: 8, intermediate: 14336, vocab: 128256, tied: false, ropeTheta: 5e5 },
  '7B': { architecture: 'Qwen2ForCausalLM', hidden: 3584, layers: 28, heads: 28, kvHeads: 4, intermediate: 18944, vocab: 152064, tied: false, ropeTheta: 1e6 },
  '0.5B': { architecture: 'Qwen2ForCausalLM', hidden: 896, layers: 24, heads: 14, kvHeads: 2, intermediate: 4864, vocab: 151936, tied: true, ropeTheta: 1e6 },
  '135M': { architecture: 'LlamaForCausalLM', hidden: 576, layers: 30, heads: 9, kvHeads: 3, intermediate: 1536, vocab: 49152, tied: true, ropeTheta: 1e5 },
  tiny: { architecture: 'LlamaForCausalLM', hidden: 64, layers: 2, heads: 4, kvHeads: 2, intermediate: 96, vocab: 128, tied: true, ropeTheta: 1e4 },
};

const one = 0x3f80; // of bfloat16
const maxPositions = 4096;

/** Names and shapes as Hugging Face's Llama and Qwen2 have them. */
function* tensorsOf(shape: Shape): Generator<readonly [name: string, shape: readonly number[]]> {
  const { hidden, intermediate, vocab } = shape;
  const headDim = hidden / shape.heads;
  const kv = shape.kvHeads * headDim;
  yield ['model.embed_tokens.weight', [vocab, hidden]];
  if (!shape.tied) yield ['lm_head.weight', [vocab, hidden]];
  yield ['model.norm.weight', [hidden]];
  for (let i = 0; i < shape.layers; i++) {
    const layer = `model.layers.${i}.`;
    for (const [name, rows] of [
      ['q', hidden],
      ['k', kv],
      ['v', kv],
    ] as const) {
      yield [`${layer}self_attn.${name}_proj.weight`, [rows, hidden]];
      if (shape.architecture === 'Qwen2ForCausalLM') yield [`${layer}self_attn.${name}_proj.bias`, [rows]];
    }
    yield [`${layer}self_attn.o_proj.weight`, [hidden, hidden]];
    for (const name of ['gate', 'up']) yield [`${layer}mlp.${name}_proj.weight`, [intermediate, hidden]];
    yield [`${layer}mlp.down_proj.weight`, [hidden, intermediate]];
    for (const name of ['input', 'post_attention']) yield [`${layer}${name}_layernorm.weight`, [hidden]];
  }
}

/** A model of that shape in bfloat16, in a new folder below `folder`. */
export async function modelOfShape(name: string, folder: string): Promise<LoadedModel> {
  const shape = shapes[name];
  if (shape === undefined) throw new Error(`there is no shape '${name}'`);
  const path = join(folder, name);
  mkdirSync(path, { recursive: true });
  const config = {
    architectures: [shape.architecture],
    model_type: shape.architecture === 'Qwen2ForCausalLM' ? 'qwen2' : 'llama',
    hidden_size: shape.hidden,
    num_hidden_layers: shape.layers,
    num_attention_heads: shape.heads,
    num_key_value_heads: shape.kvHeads,
    intermediate_size: shape.intermediate,
    vocab_size: shape.vocab,
    tie_word_embeddings: shape.tied,
    rope_theta: shape.ropeTheta,
    rms_norm_eps: 1e-5,
    max_position_embeddings: maxPositions,
    hidden_act: 'silu',
    torch_dtype: 'bfloat16',
  };
  writeFileSync(join(path, 'config.json'), JSON.stringify(config));
  writeFileSync(join(path, 'tokenizer.json'), '{}'); // ids go in and come out
  writeSparse(join(path, 'model.safetensors'), [...tensorsOf(shape)]);
  const model = await loadModel(path, { dtype: 'bfloat16' });
  return { ...model, weights: { ...model.weights, generated: true } };
}

function writeSparse(path: string, tensors: readonly (readonly [string, readonly number[]])[]): void {
  const header: Record<string, unknown> = {};
  const norms: (readonly [at: number, length: number])[] = [];
  let end = 0;
  for (const [name, shape] of tensors) {
    const count = shape.reduce((a, b) => a * b, 1);
    header[name] = { dtype: 'BF16', shape, data_offsets: [end, end + 2 * count] };
    if (name.endsWith('norm.weight')) norms.push([end, count]);
    end += 2 * count;
  }
  const text = Buffer.from(JSON.stringify(header));
  const start = 8 + text.length;
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(text.length));
  const file = openSync(path, 'w');
  writeSync(file, Buffer.concat([length, text]), 0, start, 0);
  ftruncateSync(file, start + end);
  for (const [at, count] of norms) writeSync(file, new Uint8Array(new Uint16Array(count).fill(one).buffer), 0, 2 * count, start + at);
  closeSync(file);
}
