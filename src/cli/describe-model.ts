/** What the routes need to know of a model, from its files and the options. */
import { readFileSync } from 'node:fs';
import { ModelMarkup } from '../api/model-markup.js';
import type { ModelFacts, ServedModel } from '../api/served-model.js';
import { type ChatMessage, type ChatTemplate, createChatTemplate } from '../chat/template.js';
import { createPooler } from '../engine/pooler.js';
import { startError } from '../errors.js';
import { weightBytes } from '../model/quantization/formats.js';
import type { LoadedModel } from '../model/spec.js';
import { toolFormatOf } from '../parsing/from-template.js';
import { type ReasoningFormat, reasoningFormatOf, reasoningFormats } from '../parsing/reasoning-format.js';
import type { ToolFormat } from '../parsing/tool-format.js';
import { commonFormat, toolFormats } from '../parsing/tool-formats.js';
import { loadTokenizer } from '../tokenizer/load.js';
import { samplingDefaults } from './generation-config.js';
import type { ServeOptions } from './options.js';
import { forcedReasoningEnd } from './reasoning-config.js';
import type { StartedEngine } from './start-engine.js';
import { isJsonCompact } from './structured-outputs-config.js';

export type DescribedEngine = Pick<StartedEngine, 'name' | 'model' | 'dims' | 'placement' | 'engine' | 'cache'>;

/** The tokenizer is built while the ranks read the weights. */
export async function describe(
  { name, model, dims, placement, engine, cache }: DescribedEngine,
  options: ServeOptions,
): Promise<ServedModel> {
  const needsPairs = model.pooling?.task === 'classify' && !model.spec.causal;
  const tokenizer = await loadTokenizer(model.tokenizer, cache, { pairs: needsPairs });
  const chatTemplate = options.chatTemplate === null ? model.chatTemplate : readTemplate(options.chatTemplate);
  const { bosToken, eosToken } = tokenizer;
  const template = chatTemplate === null ? null : createChatTemplate(chatTemplate, { bosToken, eosToken });
  const reasoning = reasoningFormat(options.reasoningParser, chatTemplate);
  const names = options.servedModelName.length > 0 ? options.servedModelName : [name];
  return {
    names,
    root: model.path,
    maxModelLen: dims.maxSeqLen,
    vocabSize: model.spec.dims.vocab,
    tokenizer,
    template,
    markup: new ModelMarkup(tokenizer, {
      toolFormat: toolFormat(options.toolCallParser, chatTemplate, template),
      autoToolChoice: options.enableAutoToolChoice,
      strictTools: options.toolStrictLevel === 'parameter',
      excludeToolsWhenNone: options.excludeToolsWhenToolChoiceNone,
      reasoningFormat: reasoning,
      forcedReasoningEnd: forcedReasoningEnd(options.reasoningConfig, options.reasoningParser, reasoning),
    }),
    defaults: samplingDefaults(model.generation, options.generationConfig, options.overrideGenerationConfig),
    requestDefaults: {
      streamInterval: options.streamInterval,
      tokensAsIds: options.returnTokensAsTokenIds,
      templateKwargs: options.defaultChatTemplateKwargs,
      compactJson: isJsonCompact(options.structuredOutputsConfig),
    },
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
    facts: factsOf(model),
    placement,
  };
}

/** LlamaForCausalLM -> llama, as GGUF files have it */
const familyOf = (architecture: string) => architecture.replace(/(For[A-Z]\w*|LMHeadModel|Model)$/, '').toLowerCase();

function factsOf({ spec, weights, tokenizer }: LoadedModel): ModelFacts {
  const valuesByFormat = new Map<string, number>();
  for (const { format, rows, cols } of weights.tensors) valuesByFormat.set(format, (valuesByFormat.get(format) ?? 0) + rows * cols);
  const [most] = [...valuesByFormat].sort((a, b) => b[1] - a[1]);
  return {
    family: familyOf(spec.architecture),
    fileFormat: tokenizer.kind === 'gguf' ? 'gguf' : 'safetensors',
    weightFormat: most?.[0] ?? '',
    numParameters: [...valuesByFormat.values()].reduce((sum, values) => sum + values, 0),
    numBytes: weightBytes(weights),
    numLayers: spec.layers.length,
    hidden: spec.dims.hidden,
  };
}

/** By name, or as the chat template shows. Throws where that prints calls in a way that cannot be read. */
function toolFormat(name: string | null, source: string | null, template: ChatTemplate | null): ToolFormat | null {
  if (name === null) return null;
  if (name !== 'auto') return toolFormats.find((format) => format.name === name)!;
  if (source === null || template === null) return commonFormat;
  const found = toolFormatOf(source, (messages, shown) =>
    template.render(messages as readonly ChatMessage[], { ...shown, continueFinalMessage: false }),
  );
  if (found !== null) return found;
  const names = toolFormats.map((format) => format.name).join(', ');
  throw startError(`--tool-call-parser auto cannot read the calls that the chat template prints; name the parser: ${names}`, {
    param: 'tool-call-parser',
  });
}

/** None where the chat template knows of no reasoning. */
function reasoningFormat(name: string | null, source: string | null): ReasoningFormat | null {
  if (name === 'auto') return reasoningFormatOf(source ?? '');
  return reasoningFormats.find((format) => format.name === name) ?? null;
}

function readTemplate(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (cause) {
    throw startError(`--chat-template ${path} cannot be read: ${(cause as Error).message}`, { param: 'chat-template', cause });
  }
}
