/** `quantization_config` of config.json: which method a safetensors checkpoint was quantised with. None can be read so far. */
import { startError } from '../../errors.js';
import type { Config } from '../config.js';

/** Refuses a quantised safetensors checkpoint by its method's name. */
export function refuseQuantised(config: Config): void {
  const quantization = config.object('quantization_config') ?? config.object('compression_config');
  if (quantization === null) return;
  const method = quantization.string('quant_method', 'unknown');
  const detail = quantization.has('format') ? ` (${quantization.string('format')})` : '';
  throw startError(
    `${config.where}: weights quantised by ${method}${detail} are not supported yet; use the model's unquantised safetensors, or a GGUF file ` +
      'of it (Q8_0, Q4_0 and Q4_1 are kept in their bits)',
  );
}
