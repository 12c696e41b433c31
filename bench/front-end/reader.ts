/**
 * The clients of the front-end bench, in a process of their own: opens streams over raw sockets and reads each to its end. Answers its parent with
 * times on its own clock. Reads go into one buffer a socket: a fresh one for every event would make the client the slower side.
 */
import { connect, type Socket } from 'node:net';

export interface ReadTask {
  readonly port: number;
  readonly numStreams: number;
  readonly maxTokens: number;
  /** Characters of the user's message. */
  readonly promptLen: number;
  /** Streams after these are opened and never read. */
  readonly numUnread: number;
  /** 'together': all at once. 'in turn': one after the other, each on a connection of its own. */
  readonly order: 'together' | 'in turn';
}

export interface ReadResult {
  /** From the request's last byte to the first bytes of its answer, for each stream. */
  readonly ttftMs: number[];
  /** From the first byte of any stream to the last byte of the last. */
  readonly streamMs: number;
  /** The longest time that a stream waited between two reads. */
  readonly gapMaxMs: number;
}

const carriageReturn = 13;

function requestOf({ maxTokens, promptLen }: ReadTask): string {
  const content = 'The quick brown fox jumps over the lazy dog. '.repeat(Math.ceil(promptLen / 45)).slice(0, promptLen);
  const body = JSON.stringify({ messages: [{ role: 'user', content }], max_tokens: maxTokens, stream: true, ignore_eos: true });
  return `POST /v1/chat/completions HTTP/1.1\r\nhost: bench\r\ncontent-type: application/json\r\ncontent-length: ${body.length}\r\n\r\n${body}`;
}

interface Times {
  ttftMs: number;
  firstMs: number;
  lastMs: number;
  gapMaxMs: number;
}

function readOne(port: number, request: string): Promise<Times> {
  return new Promise((resolve, reject) => {
    const buffer = Buffer.allocUnsafe(1 << 14);
    const times = { ttftMs: 0, firstMs: 0, lastMs: 0, gapMaxMs: 0 };
    let sentMs = 0;
    const callback = (length: number) => {
      const now = performance.now();
      if (times.firstMs === 0) {
        times.firstMs = now;
        times.ttftMs = now - sentMs;
        const head = buffer.toString('latin1', 0, 12);
        if (head !== 'HTTP/1.1 200') reject(new Error(buffer.toString('latin1', 0, length)));
      } else if (now - times.lastMs > times.gapMaxMs) {
        times.gapMaxMs = now - times.lastMs;
      }
      times.lastMs = now;
      // A chunk of events ends in "\n\n\r\n", the last one of a body in "0\r\n\r\n".
      if (buffer[length - 4] === carriageReturn) {
        socket.destroy();
        resolve(times);
      }
      return true;
    };
    const socket: Socket = connect({ port, host: '127.0.0.1', onread: { buffer, callback } }, () => {
      socket.setNoDelay(true);
      sentMs = performance.now();
      socket.write(request);
    });
    socket.on('error', reject);
    socket.on('close', () => reject(new Error('closed before its end')));
  });
}

/** A client that asks and then never reads. */
function neverRead(port: number, request: string): Socket {
  const socket = connect({ port, host: '127.0.0.1' }, () => socket.write(request));
  socket.on('error', () => undefined);
  socket.pause();
  return socket;
}

async function readAll(task: ReadTask): Promise<ReadResult> {
  const request = requestOf(task);
  const unread = Array.from({ length: task.numUnread }, () => neverRead(task.port, request));
  const all: Times[] = [];
  if (task.order === 'together') {
    all.push(...(await Promise.all(Array.from({ length: task.numStreams }, () => readOne(task.port, request)))));
  } else {
    for (let i = 0; i < task.numStreams; i++) all.push(await readOne(task.port, request));
  }
  for (const socket of unread) socket.destroy();
  return {
    ttftMs: all.map(({ ttftMs }) => ttftMs),
    streamMs: Math.max(...all.map(({ lastMs }) => lastMs)) - Math.min(...all.map(({ firstMs }) => firstMs)),
    gapMaxMs: Math.max(...all.map(({ gapMaxMs }) => gapMaxMs)),
  };
}

process.on('message', (task: ReadTask) => {
  readAll(task).then(
    (result) => process.send!(result),
    (error: Error) => {
      process.stderr.write(`${error.stack}\n`);
      process.exit(1);
    },
  );
});
