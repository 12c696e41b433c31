import assert from 'node:assert/strict';
import { test } from 'node:test';
import { AnswerReader } from './answer-reader.js';

const chunked = 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\ndata:\r\nb;x=y\r\n 0\r\n\r\n 1\n\n2\r\n0\r\n\r\n';
const answers: readonly [name: string, text: string, status: number, body: string, keepsAlive: boolean][] = [
  ['chunks, with what looks like their end inside', chunked, 200, 'data: 0\r\n\r\n 1\n\n2', true],
  ['a length', 'HTTP/1.1 404 Not Found\r\ncontent-length: 4\r\nconnection: close\r\n\r\nnone', 404, 'none', false],
  ['no body', 'HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n', 200, '', true],
  ['until the connection ends', 'HTTP/1.0 200 OK\r\n\r\na\r\nb', 200, 'a\r\nb', false],
];

for (const [name, text, status, body, keepsAlive] of answers) {
  test(`an answer with ${name}, however its bytes are cut`, () => {
    const bytes = Buffer.from(text);
    for (let size = 1; size <= bytes.length; size++) {
      const reader = new AnswerReader();
      for (let at = 0; at < bytes.length; at += size) reader.push(bytes.subarray(at, at + size), at);
      assert.ok(reader.end(), `cut every ${size} bytes`);
      const read = reader.body();
      assert.deepEqual([read.status, read.bytes.toString(), reader.keepsAlive], [status, body, keepsAlive], `cut every ${size} bytes`);
      assert.equal(read.readEnds.at(-1) ?? 0, Buffer.byteLength(body));
      assert.equal(read.readMs.length, read.readEnds.length);
    }
  });
}

test('an answer that is cut off, and what is not HTTP', () => {
  const reader = new AnswerReader();
  reader.push(Buffer.from(chunked.slice(0, -5)), 0);
  assert.equal(reader.end(), false);
  assert.throws(() => new AnswerReader().push(Buffer.from('SSH-2.0-x\r\n'), 0), /not HTTP/);
  const noSize = Buffer.from('HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n');
  assert.throws(() => new AnswerReader().push(noSize, 0), /chunk size/);
});
