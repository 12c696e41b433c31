/** A small vocabulary as a tokenizer would have it: every byte, and pieces of text that cross the places where a grammar turns. */
const pieces = [
  '": "',
  '", "',
  '"}',
  '"]',
  '{"',
  '["',
  '": ',
  '":',
  '", ',
  '},',
  '}, {"',
  '{}',
  '[]',
  ']}',
  ', ',
  ': ',
  '\n  ',
  '\n',
  '  ',
  'true',
  'tr',
  'false',
  'null',
  'name',
  '"name"',
  '"name": "',
  'value',
  'kind',
  'red',
  'green',
  '12',
  '3.',
  '-1',
  '0.',
  '00',
  'e+',
  '2024',
  '-02',
  '"a',
  'a"',
  'ab',
  'foo',
  'bar',
  'é',
  'Ж',
  '😀',
  '\\n',
  '\\"',
  '\\u00',
  'head',
  'tail',
  'children',
  '<f',
  '<f=a>',
  '</f>',
  '</th',
  'ink>',
  ' the',
  'hello',
  'x_',
  '@',
  '.com',
  '://',
];

export interface TestVocabulary {
  readonly bytes: Uint8Array;
  readonly ends: Int32Array;
  readonly texts: readonly Uint8Array[];
}

/** Ids 0 … 255 are the bytes. The last id is a special token without text. */
export function testVocabulary(): TestVocabulary {
  const texts = [
    ...Array.from({ length: 256 }, (_, byte) => Uint8Array.of(byte)),
    ...pieces.map((text) => new TextEncoder().encode(text)),
    new Uint8Array(0),
  ];
  let end = 0;
  const ends = Int32Array.from(texts, (text) => (end += text.length));
  return { bytes: Uint8Array.from(texts.flatMap((text) => [...text])), ends, texts };
}

export const isAllowed = (mask: Uint32Array, id: number): boolean => ((mask[id >> 5]! >>> (id & 31)) & 1) === 1;
