import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { fc } from '../../test/property.js';
import { LockstepError } from '../errors.js';
import { readHeader, readSafetensorsFolder } from './safetensors.js';

const folder = mkdtempSync(join(tmpdir(), 'lockstep-safetensors-'));
after(() => rmSync(folder, { recursive: true, force: true }));

function bytesOf(header: unknown, data: Buffer, length?: bigint): Buffer {
  const text = Buffer.from(typeof header === 'string' ? header : JSON.stringify(header));
  const start = Buffer.alloc(8);
  start.writeBigUInt64LE(length ?? BigInt(text.length));
  return Buffer.concat([start, text, data]);
}
function file(bytes: Buffer, name = 'model.safetensors'): string {
  const path = join(folder, name);
  writeFileSync(path, bytes);
  return path;
}
const good = {
  __metadata__: { format: 'pt' },
  b: { dtype: 'BF16', shape: [2, 3], data_offsets: [16, 28] },
  a: { dtype: 'F32', shape: [4], data_offsets: [0, 16] },
};
const data = Buffer.alloc(28);

function refuses(bytes: Buffer, text: string): void {
  const path = file(bytes);
  assert.throws(
    () => readHeader(path),
    (error: LockstepError) => {
      assert.equal(error.code, 'start');
      assert.ok(error.message.startsWith(path) && error.message.includes(text), error.message);
      assert.ok(!error.message.includes('\n'));
      return true;
    },
  );
}

test('tensors come in the order of their bytes, with offsets from the start of the file', () => {
  const bytes = bytesOf(good, data);
  const start = bytes.length - data.length;
  assert.deepEqual(readHeader(file(bytes)), [
    { name: 'a', file: 0, byteOffset: start, type: 'f32', shape: [4] },
    { name: 'b', file: 0, byteOffset: start + 16, type: 'bf16', shape: [2, 3] },
  ]);
  assert.deepEqual(readHeader(file(bytesOf({}, Buffer.alloc(0)))), []);
  const empty = { e: { dtype: 'F16', shape: [0, 5], data_offsets: [0, 0] }, s: { dtype: 'F32', shape: [], data_offsets: [0, 4] } };
  assert.equal(readHeader(file(bytesOf(empty, Buffer.alloc(4)))).length, 2);
});

test('damage is one error that says what is wrong', () => {
  const entry = (change: object) => ({ a: { dtype: 'F32', shape: [4], data_offsets: [0, 16], ...change } });
  const sixteen = Buffer.alloc(16);
  refuses(Buffer.alloc(0), 'is truncated: it ends before its header');
  refuses(Buffer.alloc(5), 'is truncated');
  refuses(bytesOf(good, data).subarray(0, 40), 'is truncated: its header needs');
  refuses(bytesOf(good, data, 1n << 60n), 'its header would have 1152921504606846976 bytes');
  refuses(bytesOf(good, data, 99_999_999n), 'is truncated');
  refuses(bytesOf(good, data.subarray(0, 20)), 'is truncated: its tensors need');
  refuses(bytesOf(good, Buffer.alloc(40)), '12 bytes follow the last tensor');
  refuses(bytesOf('{"a": ', Buffer.alloc(0)), 'not valid JSON');
  refuses(bytesOf('[1]', Buffer.alloc(0)), 'not an object');
  refuses(bytesOf({ a: 3 }, sixteen), 'tensor a has no table entry');
  refuses(bytesOf(entry({ dtype: 'F99' }), sixteen), 'unknown dtype "F99"');
  refuses(bytesOf(entry({ dtype: 'toString' }), sixteen), 'unknown dtype');
  refuses(bytesOf(entry({ shape: [-4] }), sixteen), 'no valid shape');
  refuses(bytesOf(entry({ shape: [2.5] }), sixteen), 'no valid shape');
  refuses(bytesOf(entry({ shape: Array(9).fill(1) }), sixteen), 'no valid shape');
  refuses(bytesOf(entry({ shape: [2 ** 40, 2 ** 40] }), sixteen), 'its shape [1099511627776, 1099511627776] of F32 needs');
  refuses(bytesOf(entry({ data_offsets: [0] }), sixteen), 'no valid data_offsets');
  refuses(bytesOf(entry({ data_offsets: [0, 12] }), sixteen), 'has 12 bytes, but its shape [4] of F32 needs 16');
  refuses(bytesOf(entry({ data_offsets: [16, 0] }), sixteen), 'has -16 bytes');
  refuses(
    bytesOf({ ...entry({}), b: { dtype: 'F32', shape: [4], data_offsets: [8, 24] } }, Buffer.alloc(24)),
    'tensor b overlap those of a',
  );
  refuses(
    bytesOf({ ...entry({}), b: { dtype: 'F32', shape: [1], data_offsets: [20, 24] } }, Buffer.alloc(24)),
    'tensor b leave a gap after those of a',
  );
  const twice = '{"a":{"dtype":"F32","shape":[4],"data_offsets":[0,16]},"a":{"dtype":"F32","shape":[4],"data_offsets":[0,16]}}';
  refuses(bytesOf(twice, sixteen), 'names a tensor twice');
});

test('any change of any bytes gives tensors inside the file, or one start error', () => {
  const whole = bytesOf(good, data);
  const change = fc.record({ at: fc.nat(whole.length - 1), byte: fc.nat(255) });
  fc.assert(
    fc.property(fc.array(change, { minLength: 1, maxLength: 4 }), fc.nat(whole.length), (changes, length) => {
      const bytes = Buffer.from(whole);
      for (const { at, byte } of changes) bytes[at] = byte;
      const path = file(bytes.subarray(0, length % 3 === 0 ? length : whole.length));
      try {
        for (const tensor of readHeader(path)) assert.ok(tensor.byteOffset <= whole.length);
      } catch (error) {
        assert.ok(error instanceof LockstepError && error.code === 'start', String(error));
      }
    }),
    { numRuns: 1000 },
  );
});

test('several files with an index', () => {
  const one = (name: string) => bytesOf({ [name]: { dtype: 'F32', shape: [1], data_offsets: [0, 4] } }, Buffer.alloc(4));
  const sub = mkdtempSync(join(folder, 'sharded-'));
  const write = (name: string, bytes: Buffer | string) => writeFileSync(join(sub, name), bytes);
  const index = (map: unknown) => write('model.safetensors.index.json', JSON.stringify({ weight_map: map }));
  const refused = (text: string) => assert.throws(() => readSafetensorsFolder(sub), { code: 'start', message: new RegExp(text) });
  refused('holds no model.safetensors');
  write('1.safetensors', one('a'));
  write('2.safetensors', one('b'));
  index({ a: '1.safetensors', b: '2.safetensors' });
  const found = readSafetensorsFolder(sub);
  assert.deepEqual(found.files, [join(sub, '1.safetensors'), join(sub, '2.safetensors')]);
  assert.equal(found.tensors.get('b')?.file, 1);
  index({ a: '1.safetensors', b: '3.safetensors' });
  refused('1 of 2 weight files are missing, among them 3.safetensors');
  index({ a: '2.safetensors', b: '2.safetensors' });
  refused('tensor a should stand in 2.safetensors, but it is not there');
  index({ a: '../1.safetensors' });
  refused('expected the name of a .safetensors file in the same folder');
  index({});
  refused('weight_map is missing or empty');
  write('2.safetensors', one('a'));
  index({ a: '1.safetensors', b: '2.safetensors' });
  refused('tensor a stands in .*1.safetensors too');
});
