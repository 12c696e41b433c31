/** `quantization_config` of config.json: which scheme a safetensors checkpoint is quantised by, and whether `--quantization` agrees. */
import { startError } from '../../errors.js';
import type { Config } from '../config.js';
import type { ComputeType } from '../spec.js';
import { awq } from './awq.js';
import { compressedTensors } from './compressed-tensors.js';
import type { OnLoad } from './formats.js';
import { fp8 } from './fp8.js';
import { gptq } from './gptq.js';
import type { QuantScheme } from './scheme.js';

/** By `quant_method`. */
const schemes: Readonly<Record<string, (config: Config) => QuantScheme>> = {
  gptq,
  awq,
  'compressed-tensors': compressedTensors,
  fp8,
  fbgemm_fp8: fp8,
};

/** The scheme that config.json names, or null: plain weights. Throws a start error for one that cannot be read. */
export function readQuantScheme(config: Config): QuantScheme | null {
  const quantization = config.object('quantization_config') ?? config.object('compression_config');
  if (quantization === null) return null;
  const method = quantization.string('quant_method', config.has('compression_config') ? 'compressed-tensors' : 'unknown');
  const scheme = Object.hasOwn(schemes, method) ? schemes[method] : undefined;
  if (scheme) return scheme(quantization);
  throw startError(
    `${config.where}: weights quantised by ${method} are not supported; supported are ${Object.keys(schemes).join(', ')}, GGUF files, and ` +
      "the model's unquantised safetensors (with --quantization int8 or int4 they are quantised as they are loaded)",
  );
}

/** Names that vLLM has for kernels of a method. */
const aliases: Readonly<Record<string, string>> = { gptq_marlin: 'gptq', awq_marlin: 'awq' };

/**
 * What `--quantization` asks for: int8 or int4, on load, or null where it only names what the checkpoint is. Throws a start error where it
 * names something else. `found` is the checkpoint's own method, 'gguf', or null: float weights.
 */
export function onLoadOf(flag: string | null, found: { method: string; summary: string } | null, computeType: ComputeType): OnLoad | null {
  if (flag === null) return null;
  const refuse = (why: string) => startError(`--quantization ${flag}: ${why}`, { param: 'quantization' });
  if (flag === 'int8' || flag === 'int4') {
    if (found) throw refuse(`the checkpoint is quantised already (${found.summary}), and is served as it is without the flag`);
    if (computeType === 'float32') throw refuse('quantised weights are multiplied in bfloat16 only; leave out --dtype float32');
    return flag;
  }
  const method = aliases[flag] ?? flag;
  if (method === found?.method) return null;
  const names = ['int8', 'int4', ...Object.keys(schemes), 'gguf'];
  if (!names.includes(method))
    throw refuse(`there is no such method; int8 and int4 quantise on load, and ${names.slice(2).join(', ')} name what a checkpoint is`);
  throw refuse(`the checkpoint ${found ? `is not that but ${found.summary}` : 'has float weights; int8 and int4 quantise them on load'}`);
}
