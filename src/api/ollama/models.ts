/** GET /api/tags, /api/ps and /api/version, POST /api/show: what Ollama's clients ask before they talk. */
import { createHash } from 'node:crypto';
import { type Context, type Serving, servingNow } from '../context.js';
import type { Exchange } from '../exchange.js';
import type { JsonObject } from '../json-object.js';
import { readRequest } from '../request.js';
import type { ServedModel } from '../served-model.js';
import { ollamaShowBody } from './fields.js';
import { checkOllamaName } from './name.js';

const json = (exchange: Exchange, value: unknown) => exchange.reply(200, 'application/json', JSON.stringify(value));

export function handleTags(exchange: Exchange, context: Context): void {
  const serving = servingNow(context);
  json(exchange, { models: serving.model.names.map((name) => entryOf(name, serving)) });
}

/** Those in memory: all of them, for ever. */
export function handleRunning(exchange: Exchange, context: Context): void {
  const serving = servingNow(context);
  const models = serving.model.names.map((name) => ({ ...entryOf(name, serving), expires_at: '9999-12-31T23:59:59Z', size_vram: 0 }));
  json(exchange, { models });
}

export function handleOllamaVersion(exchange: Exchange, context: Context): void {
  json(exchange, { version: context.options.version });
}

export async function handleShow(exchange: Exchange, context: Context): Promise<void> {
  const { serving, body } = await readRequest(exchange, context, ollamaShowBody, checkOllamaName);
  const { model } = serving;
  const { family, numParameters } = model.facts;
  json(exchange, {
    modelfile: `FROM ${model.root}\n`,
    parameters: parametersOf(model),
    template: model.preparation?.chatTemplate ?? '',
    details: detailsOf(model),
    model_info: {
      'general.architecture': family,
      'general.basename': (body['model'] ?? body['name'] ?? model.names[0]) as string,
      'general.parameter_count': numParameters,
      [`${family}.context_length`]: model.maxModelLen,
      [`${family}.embedding_length`]: model.facts.hidden,
      [`${family}.block_count`]: model.facts.numLayers,
      [`${family}.vocab_size`]: model.vocabSize,
    },
    capabilities: capabilitiesOf(model),
    modified_at: modifiedAt(serving),
  });
}

function capabilitiesOf({ pooler, markup }: ServedModel): string[] {
  if (pooler !== null) return ['embedding'];
  return ['completion', ...(markup.toolFormat === null ? [] : ['tools']), ...(markup.reasoningFormat === null ? [] : ['thinking'])];
}

/** The model author's sampling defaults, a line each. */
function parametersOf({ defaults }: ServedModel): string {
  const lines: readonly (readonly [string, number | undefined])[] = [
    ['temperature', defaults.temperature],
    ['top_k', defaults.topK],
    ['top_p', defaults.topP],
    ['min_p', defaults.minP],
    ['repeat_penalty', defaults.repetitionPenalty],
  ];
  return lines.flatMap(([name, value]) => (value === undefined ? [] : [`${name} ${value}`])).join('\n');
}

const modifiedAt = ({ since }: Serving) => new Date(since * 1000).toISOString();

function entryOf(name: string, serving: Serving): JsonObject {
  const { model } = serving;
  const digest = createHash('sha256').update(`${model.root}|${model.facts.numBytes}`).digest('hex');
  return { name, model: name, modified_at: modifiedAt(serving), size: model.facts.numBytes, digest, details: detailsOf(model) };
}

function detailsOf({ facts }: ServedModel): JsonObject {
  const { fileFormat, family, numParameters, weightFormat } = facts;
  return {
    parent_model: '',
    format: fileFormat,
    family,
    families: [family],
    parameter_size: shortCount(numParameters),
    quantization_level: weightFormat.toUpperCase(),
  };
}

/** 134515008 -> 134.52M */
export function shortCount(count: number): string {
  for (const [unit, name] of [
    [1e9, 'B'],
    [1e6, 'M'],
    [1e3, 'K'],
  ] as const) {
    if (count >= unit) return `${Number((count / unit).toPrecision(5))}${name}`;
  }
  return String(count);
}
