/** `lockstep bench perplexity`: a table of what each format costs in bits and in perplexity, on one text. */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { measurePerplexity, type PerplexityFigures, ratioOf, windowsOf } from '../../bench/perplexity.js';
import { startError } from '../errors.js';
import { weightBytes } from '../model/quantization/formats.js';
import type { WeightMap } from '../model/spec.js';
import type { BenchPerplexityOptions } from './bench-options.js';
import type { OfflineEngine } from './bench-throughput.js';
import { checkEngineOptions, type EngineOptions } from './options.js';

/** bench/perplexity.txt, from dist/src/cli. */
const ownText = fileURLToPath(new URL('../../../bench/perplexity.txt', import.meta.url));

interface Row extends PerplexityFigures {
  readonly name: string;
  readonly formats: string;
  readonly bitsPerWeight: number;
}

export async function runBenchPerplexity(
  options: BenchPerplexityOptions,
  startEngine: (options: EngineOptions) => Promise<OfflineEngine>,
  output: NodeJS.WritableStream,
): Promise<void> {
  checkEngineOptions(options);
  const text = readText(options.text ?? ownText);
  const rows: Row[] = [];
  for (const variant of [null, ...options.compare]) {
    const onLoad = variant === 'int8' || variant === 'int4';
    const changed = variant === null ? {} : onLoad ? { quantization: variant } : { model: variant, quantization: null };
    rows.push(await measure({ ...options, ...changed }, variant ?? options.model ?? 'the bundled model', text, startEngine));
  }
  output.write(formatTable(rows, options.window));
}

function readText(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (cause) {
    throw startError(`--text ${path} cannot be read: ${(cause as Error).message}`, { param: 'text', cause });
  }
}

async function measure(
  options: BenchPerplexityOptions,
  name: string,
  text: string,
  startEngine: (options: EngineOptions) => Promise<OfflineEngine>,
): Promise<Row> {
  const engine = await startEngine(options);
  try {
    if (options.window >= engine.maxModelLen)
      throw startError(`--window ${options.window} leaves no room in the model's ${engine.maxModelLen} tokens`, { param: 'window' });
    const tokens = await engine.tokenizer.encode(text, { addSpecialTokens: false });
    const framed = await engine.tokenizer.encode('', { addSpecialTokens: true });
    const figures = await measurePerplexity(engine.client, windowsOf(tokens, options.window, framed[0] ?? null));
    return { name, ...weightsOf(engine.weights), ...figures };
  } finally {
    await engine.stop();
  }
}

/** Formats of the matrices, that of most weights first, and their bits with scales. */
function weightsOf(weights: WeightMap): { formats: string; bitsPerWeight: number } {
  const matrices = weights.tensors.filter((tensor) => tensor.rows > 1);
  const counts = new Map<string, number>();
  for (const { format, rows, cols } of matrices) counts.set(format, (counts.get(format) ?? 0) + rows * cols);
  const numWeights = matrices.reduce((sum, { rows, cols }) => sum + rows * cols, 0);
  const formats = [...counts].sort(([, a], [, b]) => b - a).map(([format]) => format);
  const bitsPerWeight = (8 * weightBytes({ files: [], tensors: matrices })) / numWeights;
  return { formats: formats.join(', '), bitsPerWeight };
}

/** A table in Markdown. The ratio is to the first row, with its standard error. */
function formatTable(rows: readonly Row[], window: number): string {
  const [base] = rows as [Row];
  const lines = rows.map((row, i) => {
    const found = i === 0 ? null : ratioOf(row, base);
    const ratio = found ? `${found.ratio.toFixed(4)} ± ${found.error.toFixed(4)}` : '';
    return `| ${row.name} | ${row.formats} | ${row.bitsPerWeight.toFixed(2)} | ${row.perplexity.toFixed(2)} | ${ratio} |`;
  });
  const head = ['| model | formats | bits per weight | perplexity | ratio to the first |', '| --- | --- | --- | --- | --- |'];
  return [`${base.logprobs.length} tokens in windows of ${window}`, '', ...head, ...lines, ''].join('\n');
}
