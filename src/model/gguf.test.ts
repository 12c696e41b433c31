import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { fc } from '../../test/property.js';
import { LockstepError } from '../errors.js';
import { readGguf, readGgufCheckpoint } from './gguf.js';

const folder = mkdtempSync(join(tmpdir(), 'lockstep-gguf-'));
after(() => rmSync(folder, { recursive: true, force: true }));

/** Writes the format piece by piece, so that every piece can be wrong. */
class Pieces {
  private readonly parts: Buffer[] = [];
  u32(n: number): this {
    const b = Buffer.alloc(4);
    b.writeUInt32LE(n);
    this.parts.push(b);
    return this;
  }
  u64(n: number | bigint): this {
    const b = Buffer.alloc(8);
    b.writeBigUInt64LE(BigInt(n));
    this.parts.push(b);
    return this;
  }
  text(s: string): this {
    const b = Buffer.from(s);
    this.u64(b.length).parts.push(b);
    return this;
  }
  raw(bytes: Buffer): this {
    this.parts.push(bytes);
    return this;
  }
  header(tensors: number | bigint, keys: number | bigint, version = 3): this {
    return this.u32(0x46554747).u32(version).u64(tensors).u64(keys);
  }
  tensor(name: string, dims: readonly (number | bigint)[], type: number, offset: number | bigint): this {
    this.text(name).u32(dims.length);
    for (const n of dims) this.u64(n);
    return this.u32(type).u64(offset);
  }
  /** Pads to the alignment and adds the bytes of the tensors. */
  data(bytes: number, alignment = 32): Buffer {
    const header = Buffer.concat(this.parts);
    return Buffer.concat([header, Buffer.alloc((alignment - (header.length % alignment)) % alignment), Buffer.alloc(bytes)]);
  }
  bytes(): Buffer {
    return Buffer.concat(this.parts);
  }
}

function file(bytes: Buffer, name = 'model.gguf'): string {
  const path = join(folder, name);
  writeFileSync(path, bytes);
  return path;
}
function refuses(bytes: Buffer, text: string): void {
  const path = file(bytes);
  assert.throws(
    () => readGguf(path),
    (error: LockstepError) => {
      assert.equal(error.code, 'start');
      assert.ok(error.message.startsWith(path) && error.message.includes(text), error.message);
      return true;
    },
  );
}
const small = () => new Pieces().header(2, 2).text('general.architecture').u32(8).text('llama').text('n').u32(4).u32(7);

test('metadata of every kind, and tensors with the contiguous dimension last', () => {
  const bytes = new Pieces()
    .header(2, 7)
    .text('text')
    .u32(8)
    .text('Größe')
    .text('yes')
    .u32(7)
    .raw(Buffer.from([1]))
    .text('half')
    .u32(6)
    .raw(Buffer.from([0, 0, 0, 0x3f]))
    .text('large')
    .u32(10)
    .u64(2 ** 40)
    .text('minus')
    .u32(5)
    .u32(0xffffffff)
    .text('words')
    .u32(9)
    .u32(8)
    .u64(2)
    .text('a')
    .text('b')
    .text('flags')
    .u32(9)
    .u32(7)
    .u64(2)
    .raw(Buffer.from([1, 0]))
    .tensor('m', [64, 3], 8, 0)
    .tensor('v', [5], 0, 224)
    .data(224 + 20);
  const { metadata, tensors } = readGguf(file(bytes));
  const expected = { text: 'Größe', yes: true, half: 0.5, large: 2 ** 40, minus: -1, words: ['a', 'b'], flags: [true, false] };
  assert.deepEqual(Object.fromEntries(metadata), expected);
  const start = bytes.length - 244;
  assert.deepEqual(tensors, [
    { name: 'm', file: 0, byteOffset: start, type: 'q8_0', shape: [3, 64] },
    { name: 'v', file: 0, byteOffset: start + 224, type: 'f32', shape: [5] },
  ]);
});

test('long lists can be left out', () => {
  const words = new Pieces()
    .header(0, 2)
    .text('w')
    .u32(9)
    .u32(8)
    .u64(3)
    .text('a')
    .text('bc')
    .text('')
    .text('n')
    .u32(9)
    .u32(5)
    .u64(2)
    .u32(1)
    .u32(2);
  const path = file(words.bytes());
  assert.deepEqual([...readGguf(path).metadata.keys()], ['w', 'n']);
  assert.deepEqual(Object.fromEntries(readGguf(path, 0, 2).metadata), { n: [1, 2] });
});

test('damage is one error that says what is wrong', () => {
  refuses(Buffer.alloc(0), 'is not a GGUF file');
  refuses(Buffer.from('PK\x03\x04 and so on'), 'is not a GGUF file');
  refuses(new Pieces().u32(0x46554747).bytes(), 'is truncated');
  refuses(new Pieces().header(0, 0, 1).bytes(), 'version 1 is not supported');
  refuses(new Pieces().header(0, 0, 0x03000000).bytes(), 'big-endian');
  refuses(new Pieces().header(1n << 50n, 0).bytes(), 'promises 1125899906842624 tensors');
  refuses(new Pieces().header(1n << 60n, 0).bytes(), 'a size or offset in its header is 1152921504606846976');
  refuses(new Pieces().header(0, 1n << 50n).bytes(), 'metadata entries');
  refuses(
    new Pieces()
      .header(0, 1)
      .text('k')
      .u32(9)
      .u32(8)
      .u64(1n << 52n)
      .bytes(),
    'texts in k',
  );
  refuses(new Pieces().header(0, 1).text('k').u32(9).u32(6).u64(1_000_000).bytes(), 'values in k');
  refuses(new Pieces().header(0, 1).text('k').u32(8).u64(1_000_000).bytes(), 'bytes of text');
  refuses(new Pieces().header(0, 1).text('k').u32(77).u32(0).bytes(), 'unknown value type 77');
  refuses(new Pieces().header(0, 1).text('k').u32(9).u32(9).u64(0).bytes(), 'list of the unknown value type 9');
  refuses(new Pieces().header(0, 2).text('k').u32(4).u32(1).text('k').u32(4).u32(1).bytes(), 'the key k twice');
  refuses(small().bytes(), 'is truncated');
  refuses(small().tensor('a', [4], 0, 0).tensor('a', [4], 0, 32).data(48), 'names tensor a twice');
  refuses(small().tensor('a', [4], 0, 0).tensor('b', [4], 0, 0).data(48), 'tensor b overlap those of a');
  refuses(small().tensor('a', [4], 0, 0).tensor('b', [4], 0, 20).data(48), 'begins at 20, which is no multiple of the alignment 32');
  refuses(small().tensor('a', [4], 0, 0).tensor('b', [4], 0, 32).data(40), 'is truncated: its tensors need');
  refuses(small().tensor('a', [4], 0, 0).tensor('b', [4], 99, 32).data(48), 'unknown type number 99');
  refuses(small().tensor('a', [4], 0, 0).tensor('b', [40], 8, 32).data(96), 'rows of 40 values, but blocks of q8_0 hold 32');
  refuses(small().tensor('a', [4], 0, 0).tensor('b', [0], 0, 32).data(96), 'the impossible shape [0]');
  refuses(
    small()
      .tensor('a', [4], 0, 0)
      .tensor('b', [2 ** 30, 2 ** 30], 0, 32)
      .data(96),
    'impossible shape',
  );
  refuses(small().tensor('a', [4], 0, 0).tensor('b', [1, 1, 1, 1, 1], 0, 32).data(96), 'has 5 dimensions');
  const aligned = (n: number) => new Pieces().header(1, 1).text('general.alignment').u32(4).u32(n).tensor('a', [4], 0, 0).data(64);
  for (const n of [0, 7, 24, 1 << 30]) refuses(aligned(n), `general.alignment is ${n}`);
});

test('an alignment of its own moves the data', () => {
  const bytes = new Pieces().header(1, 1).text('general.alignment').u32(4).u32(256).tensor('a', [4], 0, 0).data(16, 256);
  assert.equal(readGguf(file(bytes)).tensors[0]?.byteOffset, bytes.length - 16);
});

test('any change of any bytes gives tensors inside the file, or one start error', () => {
  const whole = small().tensor('a', [32, 2], 8, 0).tensor('b', [4], 0, 96).data(112);
  const change = fc.record({ at: fc.nat(whole.length - 1), byte: fc.nat(255) });
  fc.assert(
    fc.property(fc.array(change, { minLength: 1, maxLength: 4 }), fc.nat(whole.length), (changes, length) => {
      const bytes = Buffer.from(whole);
      for (const { at, byte } of changes) bytes[at] = byte;
      const path = file(bytes.subarray(0, length % 3 === 0 ? length : whole.length));
      try {
        for (const tensor of readGguf(path).tensors) assert.ok(tensor.byteOffset <= whole.length + 32);
      } catch (error) {
        assert.ok(error instanceof LockstepError && error.code === 'start', String(error));
      }
    }),
    { numRuns: 1000 },
  );
});

test('a model in several files', () => {
  const part = (index: number, tensor: string, total = 2) =>
    new Pieces()
      .header(1, 3)
      .text('split.count')
      .u32(2)
      .raw(Buffer.from([2, 0]))
      .text('split.no')
      .u32(2)
      .raw(Buffer.from([index, 0]))
      .text('split.tensors.count')
      .u32(5)
      .u32(total)
      .tensor(tensor, [4], 0, 0)
      .data(16);
  const first = file(part(0, 'a'), 'm-00001-of-00002.gguf');
  const second = file(part(1, 'b'), 'm-00002-of-00002.gguf');
  const { checkpoint } = readGgufCheckpoint(first);
  assert.deepEqual(checkpoint.files, [first, second]);
  assert.equal(checkpoint.tensors.get('b')?.file, 1);
  const refused = (path: string, text: string) =>
    assert.throws(() => readGgufCheckpoint(path), { code: 'start', message: new RegExp(text) });
  refused(second, 'name the first, m-00001-of-00002.gguf');
  refused(file(part(0, 'a'), 'other.gguf'), 'is not named like');
  file(part(1, 'a'), 'm-00002-of-00002.gguf');
  refused(first, 'stands in another file');
  file(part(0, 'a', 3), 'm-00001-of-00002.gguf');
  file(part(1, 'b', 3), 'm-00002-of-00002.gguf');
  refused(first, 'hold 2 tensors, its header says 3');
  rmSync(second);
  refused(first, 'cannot be opened');
});
