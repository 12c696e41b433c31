/** What the routes need to know of a model, from its files and the options. */
import { readFileSync } from 'node:fs';
import type { ServedModel } from '../api/served-model.js';
import { createChatTemplate } from '../chat/template.js';
import { createPooler } from '../engine/pooler.js';
import { startError } from '../errors.js';
import { loadTokenizer } from '../tokenizer/tokenizer.js';
import { samplingDefaults } from './generation-config.js';
import type { ServeOptions } from './options.js';
import type { StartedEngine } from './start-engine.js';

/** The tokenizer is built while the ranks read the weights. */
export async function describe({ name, model, dims, engine, cache }: StartedEngine, options: ServeOptions): Promise<ServedModel> {
  const needsPairs = model.pooling?.task === 'classify' && !model.spec.causal;
  const tokenizer = await loadTokenizer(model.tokenizer, cache, { pairs: needsPairs });
  const chatTemplate = options.chatTemplate === null ? model.chatTemplate : readTemplate(options.chatTemplate);
  const { bosToken, eosToken } = tokenizer;
  const names = options.servedModelName.length > 0 ? options.servedModelName : [name];
  return {
    names,
    root: model.path,
    maxModelLen: dims.maxSeqLen,
    vocabSize: model.spec.dims.vocab,
    tokenizer,
    template: chatTemplate === null ? null : createChatTemplate(chatTemplate, { bosToken, eosToken }),
    defaults: samplingDefaults(model.generation, options.generationConfig, options.overrideGenerationConfig),
    pooler: model.pooling && (await createPooler(model.pooling, tokenizer)),
    pairs: options.chatTemplate !== null ? 'template' : needsPairs ? 'segments' : 'joined',
    engine,
    maxLogprobs: options.maxLogprobs,
    queueLenMax: options.maxNumQueuedReqs,
    trustRequestTemplate: options.trustRequestChatTemplate,
    priorityScheduling: options.schedulingPolicy === 'priority',
    preparation: { tokenizer: model.tokenizer, chatTemplate, cache: cache?.place ?? null },
    blockSize: dims.blockSize,
    cacheConfig: {
      block_size: String(dims.blockSize),
      cache_dtype: options.kvCacheDtype === 'auto' ? model.computeType : options.kvCacheDtype,
      enable_prefix_caching: options.enablePrefixCaching && model.spec.causal ? 'True' : 'False',
      num_cpu_blocks: String(dims.numBlocks),
      num_gpu_blocks: String(dims.numBlocks),
    },
  };
}

function readTemplate(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (cause) {
    throw startError(`--chat-template ${path} cannot be read: ${(cause as Error).message}`, { param: 'chat-template', cause });
  }
}
