/**
 * The merger beside tiktoken, which shares no code with it: OpenAI's own vocabularies, of 50,000 and 100,000 ranks, over any text. A tokenizer.json
 * lists merges where tiktoken ranks texts; the merge that makes a token is found by merging its bytes with the ranks below its own.
 */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { test } from 'node:test';
import { Tiktoken } from 'tiktoken';
import { fc } from '../../test/property.js';
import { BpeTokenizer } from './bpe-tokenizer.js';
import { byteAlphabet } from './byte-alphabet.js';
import { compileBpe } from './compiled.js';

interface Ranks {
  readonly pat_str: string;
  readonly special_tokens: Readonly<Record<string, number>>;
  /** Lines of `! first-rank base64 base64 …`. */
  readonly bpe_ranks: string;
}

const require = createRequire(import.meta.url);
const readRanks = (name: string) => JSON.parse(readFileSync(require.resolve(`tiktoken/encoders/${name}.json`), 'utf8')) as Ranks;

/** Every byte as one character, so that texts of bytes are strings. */
function tokensOf(ranks: Ranks): string[] {
  const tokens: string[] = [];
  for (const line of ranks.bpe_ranks.split('\n').filter((text) => text !== '')) {
    const [, first, ...texts] = line.split(' ');
    texts.forEach((text, i) => {
      tokens[Number(first) + i] = Buffer.from(text, 'base64').toString('latin1');
    });
  }
  return tokens;
}

/** The two tokens whose merge makes `token`: what is left of its bytes when every lower rank has been merged. */
function mergeOf(token: string, rank: number, rankOf: ReadonlyMap<string, number>): [string, string] {
  const parts = [...token];
  while (parts.length > 2) {
    let best = -1;
    let lowest = rank;
    for (let i = 0; i + 1 < parts.length; i++) {
      const joined = rankOf.get(parts[i]! + parts[i + 1]!);
      if (joined !== undefined && joined < lowest) [best, lowest] = [i, joined];
    }
    assert.ok(best >= 0, `no merge makes ${JSON.stringify(token)}`);
    parts.splice(best, 2, parts[best]! + parts[best + 1]!);
  }
  return [parts[0]!, parts[1]!];
}

function build(ranks: Ranks): BpeTokenizer {
  const raw = tokensOf(ranks);
  const rankOf = new Map(raw.map((token, rank) => [token, rank]));
  const merges = raw.flatMap((token, rank) => (token.length > 1 ? [mergeOf(token, rank, rankOf)] : []));
  const spelt = (token: string) => Array.from(token, (char) => byteAlphabet[char.charCodeAt(0)]!).join('');
  const tokens = raw.map(spelt);
  const split = { type: 'Split', pattern: { Regex: ranks.pat_str }, behavior: 'Isolated', invert: false };
  return new BpeTokenizer(
    compileBpe({
      vocab: new Map(tokens.map((token, id) => [token, id])),
      tokens,
      addedTokens: [],
      normalizer: null,
      preTokenizer: {
        type: 'Sequence',
        pretokenizers: [split, { type: 'ByteLevel', add_prefix_space: false, use_regex: false }],
      },
      postProcessor: null,
      decoder: { type: 'ByteLevel' },
      model: { type: 'BPE', merges: merges.map(([left, right]): [string, string] => [spelt(left), spelt(right)]) },
      bosToken: null,
      eosToken: null,
    }),
  );
}

const words = [
  'the',
  ' Lockstep',
  ' serves',
  "'ll",
  ' 2026',
  '   ',
  '\n\n',
  '\t',
  'é',
  ' naïve',
  '中文',
  ' Ω',
  '👩‍💻',
  '());\n',
  'ﬁ',
  'aaaaaaaa',
];
const texts = fc.oneof(
  fc.string({ unit: 'binary', maxLength: 80 }),
  fc.string({ unit: 'grapheme', maxLength: 80 }),
  fc.array(fc.constantFrom(...words), { maxLength: 60 }).map((parts) => parts.join('')),
);

for (const name of ['gpt2', 'cl100k_base']) {
  test(`${name}: the ids of tiktoken for any text`, () => {
    const ranks = readRanks(name);
    const ours = build(ranks);
    const theirs = new Tiktoken(ranks.bpe_ranks, { ...ranks.special_tokens }, ranks.pat_str);
    try {
      fc.assert(
        fc.property(texts, (text) => {
          assert.deepEqual([...ours.encode(text, { addSpecialTokens: false })], [...theirs.encode_ordinary(text)]);
        }),
        { numRuns: 400 },
      );
    } finally {
      theirs.free();
    }
  });
}
