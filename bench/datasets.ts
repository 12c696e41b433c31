/**
 * What a run asks: prompts and output lengths, from random tokens, a file in ShareGPT's form or lines of JSON.
 * Texts become tokens by the server's own /tokenize, so that lengths are right for any model without a tokenizer here.
 */
import { readFileSync } from 'node:fs';
import type { Random } from './random.js';

export interface Prompt {
  /** Token ids, or text as it is sent. */
  readonly prompt: readonly number[] | string;
  readonly outputLen: number; // tokens
  /** Where it is known before the server has counted. */
  readonly promptLen: number | null;
}

/** The server's tokenizer. */
export interface Codec {
  encode(text: string): Promise<readonly number[]>;
  decode(ids: readonly number[]): Promise<string>;
}

export interface RandomShape {
  readonly inputLen: number;
  readonly outputLen: number;
  /** Lengths are uniform in len * (1 - ratio) … len * (1 + ratio). */
  readonly rangeRatio: number;
  /** Tokens that all prompts begin with, beside inputLen. */
  readonly prefixLen: number;
}

/** Distinct ids that random prompts are drawn from; a large vocabulary has many more, but any few hundred defeat caching alike. */
const poolWords = 4000;
/** In one request: byte by byte they would still be fewer tokens than the shortest contexts take. */
const requestWords = 40;
const syllables = 'ba ce di fo gu ha je ki lo mu na pe qui ro su ta ve wi xo yu za shi tra ble cro dru fle gri plo stu'.split(' ');

async function tokenPool(codec: Codec, random: Random): Promise<readonly number[]> {
  const syllable = () => syllables[random.integer(0, syllables.length - 1)] ?? '';
  const words = Array.from({ length: poolWords }, () => Array.from({ length: random.integer(1, 3) }, syllable).join(''));
  const ids = new Set<number>();
  for (let i = 0; i < poolWords; i += requestWords) {
    const text = words.slice(i, i + requestWords).map((word) => ` ${word}`);
    for (const id of await codec.encode(text.join(''))) ids.add(id);
  }
  if (ids.size === 0) throw new Error('the server tokenized the words of random prompts to nothing');
  return [...ids];
}

const aroundLen = (random: Random, len: number, ratio: number) =>
  random.integer(Math.max(1, Math.floor(len * (1 - ratio))), Math.max(1, Math.ceil(len * (1 + ratio))));

/** Random ids, exact in length. As text when `asText`: then the count may differ by the few tokens that join at their seams. */
export async function randomPrompts(count: number, shape: RandomShape, asText: boolean, codec: Codec, random: Random): Promise<Prompt[]> {
  const pool = await tokenPool(codec, random);
  const draw = (len: number) => Array.from({ length: len }, () => pool[random.integer(0, pool.length - 1)] ?? 0);
  const prefix = draw(shape.prefixLen);
  const prompts: Prompt[] = [];
  for (let i = 0; i < count; i++) {
    const ids = [...prefix, ...draw(aroundLen(random, shape.inputLen, shape.rangeRatio))];
    const outputLen = aroundLen(random, shape.outputLen, shape.rangeRatio);
    prompts.push({ prompt: asText ? await codec.decode(ids) : ids, outputLen, promptLen: asText ? null : ids.length });
  }
  return prompts;
}

interface ShareGptEntry {
  readonly conversations?: readonly { readonly value: string }[];
  readonly conversation?: readonly { readonly value: string }[];
}

/** Lengths outside these are passed over, as `vllm bench serve` does. */
const shareGptBounds = { leastLen: 4, mostPromptLen: 1024, mostTotalLen: 2048 };

/** First turns of conversations in random order; the second turn's length is the output's, unless `outputLen` is given. */
export async function shareGptPrompts(
  path: string,
  count: number,
  outputLen: number | null,
  codec: Codec,
  random: Random,
): Promise<Prompt[]> {
  const entries = JSON.parse(readFileSync(path, 'utf8')) as readonly ShareGptEntry[];
  const turns = entries.map((entry) => entry.conversations ?? entry.conversation ?? []).filter((list) => list.length >= 2);
  shuffle(turns, random);
  const prompts: Prompt[] = [];
  for (const [question, answer] of turns) {
    if (prompts.length === count || !question || !answer) break;
    const promptLen = (await codec.encode(question.value)).length;
    const answerLen = outputLen ?? (await codec.encode(answer.value)).length;
    const { leastLen, mostPromptLen, mostTotalLen } = shareGptBounds;
    if (promptLen < leastLen || (outputLen === null && answerLen < leastLen)) continue;
    if (promptLen > mostPromptLen || promptLen + answerLen > mostTotalLen) continue;
    prompts.push({ prompt: question.value, outputLen: answerLen, promptLen });
  }
  return repeatTo(prompts, count, path);
}

/** A line each: {"prompt": "…"}, and "output_tokens" where a line has its own length. */
export function customPrompts(path: string, count: number, outputLen: number, random: Random): Prompt[] {
  const lines = readFileSync(path, 'utf8').split('\n');
  const prompts = lines.flatMap((line, index): Prompt[] => {
    if (line.trim() === '') return [];
    let row: { prompt?: unknown; output_tokens?: unknown };
    try {
      row = JSON.parse(line) as typeof row;
    } catch {
      throw new Error(`${path}:${index + 1} is not JSON`);
    }
    if (typeof row.prompt !== 'string') throw new Error(`${path}:${index + 1} has no "prompt"`);
    return [{ prompt: row.prompt, outputLen: typeof row.output_tokens === 'number' ? row.output_tokens : outputLen, promptLen: null }];
  });
  shuffle(prompts, random);
  return repeatTo(prompts, count, path);
}

function shuffle<T>(items: T[], random: Random): void {
  for (let i = items.length - 1; i > 0; i--) {
    const j = random.integer(0, i);
    [items[i], items[j]] = [items[j] as T, items[i] as T];
  }
}

/** Exactly `count`: prompts are used again from the first where a file has fewer. */
function repeatTo(prompts: readonly Prompt[], count: number, path: string): Prompt[] {
  if (prompts.length === 0) throw new Error(`${path} has no usable prompt`);
  return Array.from({ length: count }, (_, i) => prompts[i % prompts.length] as Prompt);
}
