/** What a family's file gives: how its configuration becomes a spec, and what its tensors are called. */
import type { Config } from '../config.js';
import type { ComputeType, ModelSpec } from '../spec.js';
import type { NameAliases, TensorRules } from '../tensors.js';

export interface SpecOptions {
  readonly computeType: ComputeType;
  /** `--max-model-len`; null: as long as the model allows. */
  readonly maxModelLen: number | null;
}

export interface Architecture {
  /** `architectures` of config.json. */
  readonly names: readonly string[];
  /** Throws a start error for what cannot be honoured. */
  spec(config: Config, options: SpecOptions): ModelSpec;
  readonly tensors: TensorRules;
  readonly aliases?: NameAliases;
  readonly gguf?: GgufFamily;
}

/** The same family in GGUF files. */
export interface GgufFamily {
  /** `general.architecture`. */
  readonly name: string;
  /** Whether it has experts: the Llama kind covers Llama and Mixtral. */
  readonly experts: boolean;
  /** Fields of config.json that the header implies and no key names, from its keys without the architecture's prefix. */
  readonly implied?: (header: Config) => Readonly<Record<string, unknown>>;
  readonly tensors: TensorRules;
}
