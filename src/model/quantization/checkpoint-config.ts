/** `quantization_config` of config.json: which scheme a safetensors checkpoint is quantised by, and whether `--quantization` agrees. */
import { startError } from '../../errors.js';
import type { Config } from '../config.js';
import { awq } from './awq.js';
import { compressedTensors } from './compressed-tensors.js';
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
