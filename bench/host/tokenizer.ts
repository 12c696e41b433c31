/**
 * Host time of text <-> ids for one tokenizer: reading and building it, a short prompt, a long text cold and warm, decoding id by id, and the
 * worst kind of text (one long word, which engines that scan a word for every merge take minutes for).
 *
 *   node dist/bench/host/tokenizer.js FOLDER_OR_GGUF [TEXT_FILE]
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { performance } from 'node:perf_hooks';
import { createDetokenizer } from '../../src/tokenizer/detokenizer.js';
import { loadTokenizer } from '../../src/tokenizer/load.js';
import type { Tokenizer } from '../../src/tokenizer/tokenizer.js';

const repeats = 20;
const longWordLen = 100_000;

/** Words of the text that every reader of this file has at hand. */
const ownText = (): string => readFileSync('README.md', 'utf8').repeat(10);

async function timed<T>(run: () => T | Promise<T>): Promise<[result: T, ms: number]> {
  const start = performance.now();
  const result = await run();
  return [result, performance.now() - start];
}

async function bestOf(run: () => unknown): Promise<number> {
  let best = Number.POSITIVE_INFINITY;
  for (let i = 0; i < repeats; i++) best = Math.min(best, (await timed(run))[1]);
  return best;
}

async function measure(tokenizer: Tokenizer, text: string): Promise<Record<string, string>> {
  const plain = { addSpecialTokens: false };
  const megabytes = Buffer.byteLength(text) / 1e6;
  const [, first] = await timed(() => tokenizer.encode('a', plain));
  const [ids, cold] = await timed(() => tokenizer.encode(text, plain));
  const warm = await bestOf(() => tokenizer.encode(text, plain));
  const decode = await bestOf(() => {
    const detokenizer = createDetokenizer(tokenizer, { skipSpecialTokens: true });
    for (const id of ids) detokenizer.push(id);
  });
  const short = await bestOf(() => tokenizer.encode('What is the capital of France?', plain));
  const longWord = await bestOf(() => tokenizer.encode('a'.repeat(longWordLen), plain));
  return {
    'first word (builds what loading left)': `${first.toFixed(0)} ms`,
    'encode, cold': `${(megabytes / (cold / 1000)).toFixed(1)} MB/s`,
    'encode, warm': `${(megabytes / (warm / 1000)).toFixed(1)} MB/s`,
    'encode, 30 characters': `${(short * 1000).toFixed(1)} us`,
    'decode, id by id': `${((decode * 1000) / ids.length).toFixed(2)} us an id`,
    [`encode, ${longWordLen / 1000} KB of one letter`]: `${longWord.toFixed(0)} ms`,
  };
}

async function main(path: string | undefined, textPath: string | undefined): Promise<void> {
  if (path === undefined) throw new Error('usage: node dist/bench/host/tokenizer.js FOLDER_OR_GGUF [TEXT_FILE]');
  const source = path.endsWith('.gguf')
    ? ({ kind: 'gguf', path } as const)
    : ({ kind: 'huggingface', path: join(path, 'tokenizer.json'), config: {} } as const);
  const [tokenizer, load] = await timed(() => loadTokenizer(source));
  const text = textPath === undefined ? ownText() : readFileSync(textPath, 'utf8');
  console.table({ load: `${load.toFixed(0)} ms`, ...(await measure(tokenizer, text)) });
}

await main(process.argv[2], process.argv[3]);
