/** What the routes know of the model that is served. Plain values and the engine; made by `cli/serve.ts`, given to `Server.setModel`. */
import type { CachePlace } from '../cache/disk-cache.js';
import type { ChatTemplate } from '../chat/template.js';
import type { EngineClient } from '../engine/client.js';
import type { Placement } from '../engine/placement.js';
import type { Pooler } from '../engine/pooler.js';
import type { loadTokenizer } from '../tokenizer/load.js';
import type { Tokenizer } from '../tokenizer/tokenizer.js';
import type { ModelMarkup } from './model-markup.js';

/** Where generation ends, and the model author's sampling defaults (generation_config.json). */
export interface ModelDefaults {
  readonly eosTokenIds: readonly number[];
  readonly temperature?: number;
  readonly topP?: number;
  readonly topK?: number;
  readonly minP?: number;
  readonly repetitionPenalty?: number;
  readonly maxNewTokens?: number;
}

/** What a request means that leaves these fields out. */
export interface RequestDefaults {
  /** Tokens of an event; a request may ask for more, not for fewer. */
  readonly streamInterval: number;
  /** Log-probabilities name tokens by id. */
  readonly tokensAsIds: boolean;
  /** Variables for the chat template; those of the request win. */
  readonly templateKwargs: Readonly<Record<string, unknown>>;
  /** JSON that is asked for has no space between its tokens. */
  readonly compactJson: boolean;
}

export interface ServedModel {
  /** Names under which clients may ask for it; answers carry the first. */
  readonly names: readonly string[];
  /** Where it was read from: `root` of /v1/models. */
  readonly root: string;
  readonly maxModelLen: number;
  readonly vocabSize: number;
  readonly tokenizer: Tokenizer;
  readonly template: ChatTemplate | null;
  readonly markup: ModelMarkup;
  readonly defaults: ModelDefaults;
  readonly requestDefaults: RequestDefaults;
  /** What makes vectors of pooled hidden states; null: the model generates. */
  readonly pooler: Pooler | null;
  /** How two texts become one prompt: by `template` with the roles query and document, as two segments of an encoder, or one after the other. */
  readonly pairs: 'template' | 'segments' | 'joined';
  readonly engine: EngineClient;
  /** `--max-logprobs` */
  readonly maxLogprobs: number;
  /** Most requests that wait in the engine; a full queue is noticed before a prompt is tokenised. */
  readonly queueLenMax: number;
  readonly priorityScheduling: boolean;
  /** `--trust-request-chat-template` */
  readonly trustRequestTemplate: boolean;
  /** What the thread pool builds its own tokenizer and template of; null: long prompts are prepared on this thread too. */
  readonly preparation: PreparationSource | null;
  /** Tokens of a KV block; only whole blocks are cached. */
  readonly blockSize: number;
  /** Labels of `vllm:cache_config_info`: block_size, num_gpu_blocks, … */
  readonly cacheConfig: Readonly<Record<string, string>>;
  readonly facts: ModelFacts;
  readonly placement: Placement;
}

/** What the model is, for those who ask. */
export interface ModelFacts {
  /** "llama", "qwen2". */
  readonly family: string;
  readonly fileFormat: 'safetensors' | 'gguf';
  /** Of most weights, in memory: "bf16", "q8_0". */
  readonly weightFormat: string;
  readonly numParameters: number;
  /** Of the weights, in memory. */
  readonly numBytes: number;
  readonly numLayers: number;
  readonly hidden: number;
}

export interface PreparationSource {
  readonly tokenizer: Parameters<typeof loadTokenizer>[0];
  readonly chatTemplate: string | null;
  /** Where the compiled tokenizer may be kept. */
  readonly cache: CachePlace | null;
}
