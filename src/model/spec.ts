/**
 * A model as data: what the forward pass must know (`ModelSpec`) and where each tensor lies (`WeightMap`).
 * A family is a file in `architectures/` that makes a value of this type; nothing below branches on a family's name.
 * Both values are plain data: they cross threads and are read by the native side (`native/common/model_spec.h`).
 */

export interface NormSpec {
  readonly kind: 'rms' | 'layer';
  readonly eps: number;
  /** Added to the weight: 1 where a checkpoint stores w - 1 (Gemma). */
  readonly weightOffset: 0 | 1;
  /** Whether a bias tensor stands beside the weight. */
  readonly bias: boolean;
}

/** Rotary embedding with all scaling rules already applied: pair (i, i + rotaryDim/2) turns by position * inverseFrequencies[i]. */
export interface RopeSpec {
  readonly rotaryDim: number;
  readonly inverseFrequencies: readonly number[]; // [rotaryDim / 2]
  /** Multiplies cos and sin (YaRN, longrope); 1 otherwise. */
  readonly attentionFactor: number;
}

export interface ExpertSpec {
  readonly count: number;
  readonly topK: number;
  /** Rows of each expert's gate and up. */
  readonly intermediate: number;
  /** Whether the chosen experts' softmax weights are scaled to sum to 1. */
  readonly normalizeTopK: boolean;
}

export interface LayerSpec {
  readonly attention: {
    readonly qkvBias: boolean;
    readonly outBias: boolean;
    /** RMS norm over head_dim of each q and k head, before RoPE. */
    readonly qkNorm: NormSpec | null;
    /** A token sees itself and the window-1 tokens before it (and as many behind it where the model is not causal); null: all. */
    readonly window: number | null;
    /** cap * tanh(score / cap), after scaling. */
    readonly softcap: number | null;
    /** Multiplies q·k. */
    readonly scale: number;
  };
  /** Index into `ModelSpec.ropes`; null: no rotary embedding in this layer. */
  readonly rope: number | null;
  readonly mlp: {
    /** Of the dense MLP; 0 in a layer of experts. */
    readonly intermediate: number;
    readonly gated: boolean;
    readonly activation: 'silu' | 'gelu-tanh' | 'gelu' | 'relu';
    readonly bias: boolean;
    readonly experts: ExpertSpec | null;
  };
  readonly norms: {
    readonly beforeAttention: NormSpec;
    /** Applied to attention's output before it joins the residual stream (Gemma 2 and 3). */
    readonly afterAttention: NormSpec | null;
    readonly beforeMlp: NormSpec;
    readonly afterMlp: NormSpec | null;
  };
}

/** What the forward pass must know. A new family is a new value of this type, not a subclass. */
export interface ModelSpec {
  /** As the checkpoint names it, for logs and errors only. */
  readonly architecture: string;
  readonly dims: {
    readonly hidden: number;
    readonly vocab: number;
    readonly heads: number;
    readonly kvHeads: number;
    readonly headDim: number;
  };
  /** Longest sequence the model was made for; the default and the upper bound of `--max-model-len`. */
  readonly maxPositions: number;
  readonly embedding: {
    /** Multiplies the embedding (Gemma: sqrt(hidden), rounded to the compute type); 1 otherwise. */
    readonly scale: number;
    /** Learned positions are added: row position + offset of `embedPositions`. */
    readonly learnedPositions: { readonly offset: number; readonly count: number } | null;
    /** A learned row for each type of token (segment) is added, row 0 or 1 of `embedTypes`; null: there are none. */
    readonly tokenTypes: number | null;
    /** The head uses the embedding's weights. */
    readonly tied: boolean;
  };
  readonly ropes: readonly RopeSpec[];
  readonly layers: readonly LayerSpec[];
  readonly finalNorm: NormSpec;
  /**
   * What a norm makes of the residual stream takes its place (BERT), so that its norms, which stand behind embedding, attention and MLP, are
   * those before what follows them. false: only what reads it sees it normalised.
   */
  readonly postNorm: boolean;
  /** A token sees itself and those before it. false: all tokens of its sequence, which is then computed in one step. */
  readonly causal: boolean;
  readonly logits: { readonly softcap: number | null; readonly scale: number };
}

/**
 * How values lie in a file. Lower-case names of GGUF's types, whose blocks run along a row, and of the codes of quantised safetensors:
 * u4 is two to a byte, the first in the low bits.
 */
export type ElementType =
  | 'f32'
  | 'f16'
  | 'bf16'
  | 'q8_0'
  | 'q4_0'
  | 'q4_1'
  | 'q5_0'
  | 'q5_1'
  | 'q2_k'
  | 'q3_k'
  | 'q4_k'
  | 'q5_k'
  | 'q6_k'
  | 'iq4_nl'
  | 'u4'
  | 'u8'
  | 'i8'
  | 'f8_e4m3';

/** How a matrix is kept in memory and multiplied: those that have a kernel. Vectors (norms, biases) are always f32. */
export type WeightFormat = 'f32' | 'bf16' | 'q8_0' | 'q4_0' | 'q4_1' | 'q5_0' | 'q5_1' | 'iq4_nl' | 'q4_k' | 'q5_k' | 'q6_k';

/** `--dtype` after `auto` was resolved: the activations' and the KV cache's type. */
export type ComputeType = 'float32' | 'bfloat16';

/** The rows of one of our tensors as they lie in a checkpoint file. */
export interface TensorSource {
  /** Index into `WeightMap.files`. */
  readonly file: number;
  /** Of the whole source tensor, from the start of the file. */
  readonly byteOffset: number;
  readonly type: ElementType;
  /** Shape of the whole source tensor as it is stored, row-major: [rows, cols]. A vector is [1, n]. */
  readonly rows: number;
  readonly cols: number;
  /** The source is stored [in, out] (GPT-2's Conv1D): our row r is its column firstRow + r. */
  readonly transposed: boolean;
  /** Our row 0 is this source row (column when transposed): fused qkv and gate_up are slices of one source. */
  readonly firstRow: number;
  /** GGUF files of the Llama kind store q and k with each head's rotary pairs interleaved: source row 2i+h of a head is our row
   *  h*headDim/2 + i. 0: rows are in our order. Otherwise head_dim. */
  readonly interleavedHeadDim: number;
}

/** Where the values of a small tensor beside the codes begin; how many there are follows from the codes' shape. */
export interface Place {
  /** Index into `WeightMap.files`. */
  readonly file: number;
  readonly byteOffset: number;
  readonly type: 'f32' | 'f16' | 'bf16' | 'i32' | 'i64';
}

/**
 * How the codes of a quantised linear layer become weights: w[r][c] = scale * (code - zero), with the scale and the zero point of the group
 * that r and c are in. `TensorSource.rows` and `cols` are then those of the layer, [out, in], however its codes lie:
 *   rows   code after code along a row. Scales [out / groupRows, in / groupCols]; zero points as u4 (u8), packed along out: [out/8, groups]
 *   gptq   int32 words [in/8, out] of eight codes (of u8: [in/4, out] of four) along `in`. Scales [groups, out]; zero points [groups, out/8]
 *   awq    int32 words [in, out/8] of eight codes of rows 0, 2, 4, 6, 1, 3, 5, 7 of the eight. Scales [groups, out]; zero points [groups, out/8]
 */
export interface Scaling {
  readonly layout: 'rows' | 'gptq' | 'awq';
  /** Rows and columns that share a scale; more than the layer has: all of them. gptq and awq: one row. */
  readonly groupRows: number;
  readonly groupCols: number;
  readonly scales: Place;
  /** int32 words of codes, laid out as the codes are; null: `zeroPoint` for all groups. */
  readonly zeros: Place | null;
  /** The zero point, or what is added to a stored one (GPTQ's first form stores zero - 1). */
  readonly zeroPoint: number;
  /** [in] the group of each column (GPTQ's g_idx); null: column / groupCols. */
  readonly groupOfColumn: Place | null;
}

export interface WeightTensor {
  /** Our name; see the list below. */
  readonly name: string;
  readonly rows: number;
  readonly cols: number;
  readonly format: WeightFormat;
  readonly source: TensorSource;
  /** Of a quantised safetensors layer: what the codes in `source` stand for. null: the values are the weights. */
  readonly scaling: Scaling | null;
  /** Added to every value read, as checkpoints of Gemma in GGUF already hold w + 1: then -1 with weightOffset 1. 0 otherwise. */
  readonly bias: number;
}

/**
 * Where every tensor lies. Names, with i = layer and e = expert:
 *   embed [vocab, hidden], embedPositions [count, hidden], embedTypes [tokenTypes, hidden], head [vocab, hidden] (absent when tied), finalNorm, finalNormBias [1, hidden]
 *   layers.i.attnNorm, attnNormBias, postAttnNorm, mlpNorm, mlpNormBias, postMlpNorm [1, hidden]
 *   layers.i.q [heads*headDim, hidden], k and v [kvHeads*headDim, hidden], qBias, kBias, vBias [1, rows], qNorm, kNorm [1, headDim]
 *   layers.i.o [hidden, heads*headDim], oBias [1, hidden]
 *   layers.i.gate, up [intermediate, hidden], gateBias, upBias [1, intermediate] (not gated: up alone), down [hidden, intermediate], downBias
 *   layers.i.router [experts, hidden], layers.i.experts.e.gate, up, down
 */
export interface WeightMap {
  /** Absolute paths. */
  readonly files: readonly string[];
  readonly tensors: readonly WeightTensor[];
  /** Matrices are made on the GPU, by counting (native/cuda/generated.h), and only vectors are read: for measurements of shapes. */
  readonly generated?: boolean;
}

/** What `loadModel` finds in a folder or file: everything that does not depend on how it is served. */
export interface LoadedModel {
  /** Folder or file that was read. */
  readonly path: string;
  readonly spec: ModelSpec;
  readonly weights: WeightMap;
  readonly computeType: ComputeType;
  readonly tokenizer: TokenizerSource;
  readonly chatTemplate: string | null;
  /** From generation_config.json (GGUF: the tokenizer's own): where generation ends, and the author's sampling defaults. */
  readonly generation: GenerationDefaults;
  /** What is made of hidden states in place of tokens; null: the model generates. */
  readonly pooling: PoolingSpec | null;
  /** Lines worth one log record each, e.g. formats that were dequantised. */
  readonly notes: readonly string[];
}

/** A linear layer behind pooling, computed in float32 on the API's thread. */
export interface DenseLayer {
  readonly outputs: number;
  readonly weight: Float32Array; // [outputs, inputs]
  readonly bias: Float32Array | null; // [outputs]
  readonly activation: 'none' | 'tanh';
}

/** A model that gives one vector for each prompt: an embedding, or scores of labels. */
export interface PoolingSpec {
  /** Which hidden states, after the final norm: of the first or the last token, or the mean over all. */
  readonly of: 'first' | 'last' | 'mean';
  readonly task: 'embed' | 'classify';
  readonly layers: readonly DenseLayer[];
  /** Values of the result. */
  readonly width: number;
  /** Behind the last layer: to length 1, or to probabilities. */
  readonly activation: 'none' | 'normalize' | 'sigmoid' | 'softmax';
  /** Leading parts of an embedding that may be asked for (Matryoshka): any, those listed, or none. */
  readonly dimensions: 'any' | readonly number[] | null;
  /** A last layer made of the head's rows of these tokens, as a language model judges: their difference (second less first), or each. */
  readonly fromTokens: { readonly tokens: readonly string[]; readonly difference: boolean; readonly head: StoredMatrix } | null;
  /** Of scores, by index. */
  readonly labels: readonly string[];
  /** Texts are put into lower case before they are tokenised. */
  readonly lowercase: boolean;
}

/** Where a matrix of plain floats lies. */
export interface StoredMatrix {
  readonly path: string;
  readonly byteOffset: number;
  readonly type: 'f32' | 'f16' | 'bf16';
  readonly rows: number;
  readonly cols: number;
}

export interface GenerationDefaults {
  readonly eosTokenIds: readonly number[];
  readonly bosTokenId: number | null;
  readonly padTokenId: number | null;
  readonly temperature?: number;
  readonly topP?: number;
  readonly topK?: number;
  readonly minP?: number;
  readonly repetitionPenalty?: number;
  readonly maxNewTokens?: number;
}

/** Plain data, so that threads other than the loader's can build the tokenizer. */
export type TokenizerSource =
  | {
      readonly kind: 'huggingface';
      /** Path of tokenizer.json. */
      readonly path: string;
      /** tokenizer_config.json, parsed; {} when absent. */
      readonly config: Readonly<Record<string, unknown>>;
    }
  | { readonly kind: 'gguf'; readonly path: string };

/** How K and V are kept: as they are computed, or as bytes with one bf16 scale for each token and KV head. */
export type KvCacheType = ComputeType | 'int8';

/** Bytes of K and V that one token of a sequence takes over all layers; native/cpu/kernels.h has the layout. */
export function kvBytesPerToken(spec: ModelSpec, type: KvCacheType): number {
  const { kvHeads, headDim } = spec.dims;
  const headBytes = type === 'int8' ? Math.ceil(headDim / 4) * 4 + 2 : headDim * (type === 'float32' ? 4 : 2);
  return 2 * spec.layers.length * kvHeads * headBytes;
}
