import assert from 'node:assert/strict';
import { test } from 'node:test';
import { EventStream, type StreamSink } from './sse.js';

/** Notes what reaches the socket; takes more as long as `takes` says so. */
class NotedSink implements StreamSink {
  readonly log: string[] = [];
  takes = true;

  write(text: string): boolean {
    this.log.push(`write ${text}`);
    return this.takes;
  }

  end(text: string): void {
    this.log.push(`end ${text}`);
  }

  close(): void {
    this.log.push('close');
  }
}

const bufferMax = 10;

function opened() {
  const sink = new NotedSink();
  return { sink, stream: new EventStream(sink, bufferMax) };
}

test('what is sent at a stretch leaves in one write, and the end with it', async () => {
  const { sink, stream } = opened();
  stream.send('a');
  stream.send('b');
  assert.deepEqual(sink.log, []);
  await null;
  assert.deepEqual(sink.log, ['write ab']);
  stream.send('c');
  stream.end('d');
  stream.send('late');
  await null;
  assert.deepEqual(sink.log, ['write ab', 'end cd']);
});

test('of many streams the first are written before the last are told, and each has its text in order, once', async () => {
  const all = Array.from({ length: 100 }, opened);
  for (const { stream } of all) {
    stream.send('a');
    stream.send('b');
  }
  const numWritten = all.filter(({ sink }) => sink.log.length > 0).length;
  assert.ok(numWritten >= 80 && numWritten < 100, String(numWritten));
  for (const { stream } of all) stream.end('c');
  await null;
  for (const { sink } of all) {
    const said = sink.log.map((line) => line.replace(/^(write|end) /, '')).join('');
    assert.equal(said, 'abc');
    assert.ok(sink.log.length <= 2, sink.log.join());
  }
});

test('for a slow reader text is held back up to the bound, and leaves in one write', async () => {
  const { sink, stream } = opened();
  sink.takes = false;
  stream.send('a');
  await null;
  stream.send('b');
  stream.send('c');
  await null;
  assert.deepEqual(sink.log, ['write a']);
  sink.takes = true;
  stream.drained();
  assert.deepEqual(sink.log, ['write a', 'write bc']);
});

test('a reader that lets more than the bound pile up loses its connection', async () => {
  const { sink, stream } = opened();
  sink.takes = false;
  stream.send('a');
  await null;
  stream.send('x'.repeat(bufferMax));
  assert.deepEqual(sink.log, ['write a']);
  stream.send('x');
  stream.send('x');
  stream.drained();
  assert.deepEqual(sink.log, ['write a', 'close']);
});

test('slow readers share the bound, and leave their shares behind', async () => {
  const readers = [opened(), opened()] as const;
  for (const { sink, stream } of readers) {
    sink.takes = false;
    stream.send('a');
  }
  await null;
  const [first, second] = readers;
  first.stream.send('x'.repeat(bufferMax / 2 + 1));
  second.stream.send('x'.repeat(bufferMax / 2));
  assert.deepEqual(first.sink.log, ['write a', 'close']);
  second.stream.send('x'.repeat(bufferMax / 2));
  assert.deepEqual(second.sink.log, ['write a']);
  second.stream.abandon();
});

test('a ping is sent only where nothing else was, and an abandoned stream writes nothing', async () => {
  const { sink, stream } = opened();
  stream.send('a');
  stream.ping();
  await null;
  assert.deepEqual(sink.log, ['write a']);
  stream.ping();
  await null;
  assert.deepEqual(sink.log, ['write a', 'write : ping\n\n']);
  stream.send('b');
  stream.abandon();
  await null;
  assert.equal(sink.log.length, 2);
});
