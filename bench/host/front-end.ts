/**
 * What streaming costs the front end: chat requests from parse to socket, over the engine's real port with a fake engine behind it that makes one
 * token a step for every stream (`bench/front-end/`), read by clients in a process of their own. CPU is this process's, all threads but the engine's.
 * Detokenising, JSON, metrics and connections are in it.
 *
 *   node dist/bench/host/front-end.js [tokens of a row] [uws|node|fastify …]
 */
import { type ChildProcess, fork } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { Worker } from 'node:worker_threads';
import { fakeModel } from '../../src/api/fake-engine.js';
import type { ServedModel } from '../../src/api/served-model.js';
import { createServer } from '../../src/api/server.js';
import { createChatTemplate } from '../../src/chat/template.js';
import { EngineThread } from '../../src/engine/engine-thread.js';
import { stepBuffers } from '../../src/step/buffers.js';
import { loadTokenizer } from '../../src/tokenizer/load.js';
import type { Tokenizer } from '../../src/tokenizer/tokenizer.js';
import type { FakeEngineTask } from '../front-end/engine-worker.js';
import { listenPlain } from '../front-end/plain-server.js';
import type { ReadResult, ReadTask } from '../front-end/reader.js';

const streamCounts = [16, 256, 1024, 4096];
const promptLen = 2048;
const warmupTokens = 100_000;
/** A shorter answer would measure how requests begin, not what a token costs. */
const streamLenMin = 500;
const numAlone = 400;
const modelFolder = fileURLToPath(new URL('../../../models/guide', import.meta.url));
const kinds = ['uws', 'node', 'fastify'] as const;
type Kind = (typeof kinds)[number];

const dims = {
  maxRows: 8,
  maxTokens: 64,
  maxSeqLen: 1 << 20,
  blockSize: 16,
  numBlocks: 8,
  maxDrafts: 0,
  maxLogprobs: 0,
  worldSize: 1,
  pooledLen: 0,
};
// biome-ignore format: a list of values, which nobody reads behind the fake engine
const scheduler = {
  maxNumSeqs: 8, enablePrefixCaching: false, chunkedPrefill: true, longPrefillThreshold: 0, policy: 'fcfs', watermark: 0, maxInFlight: 1,
} as const;

interface Front {
  readonly port: number;
  /** Microseconds of CPU since the last call: this process without the engine's thread. */
  cpuUs(): { user: number; system: number };
  close(): Promise<void>;
}

/** A server of `kind` over a fresh fake engine whose steps begin when `together` requests are there. */
async function start(kind: Kind, together: number, tokenizer: Tokenizer, ids: Int32Array): Promise<Front> {
  const task: FakeEngineTask = {
    ids,
    together,
    pace: new Int32Array(new SharedArrayBuffer(4)),
    cpuTime: new BigInt64Array(new SharedArrayBuffer(8)),
  };
  const worker = new Worker(new URL('../front-end/engine-worker.js', import.meta.url), { workerData: task });
  worker.on('message', () => {
    Atomics.add(task.pace, 0, 1);
    Atomics.notify(task.pace, 0);
  });
  const fail = (reason: string) => {
    throw new Error(reason);
  };
  const options = { scheduler, queueLenMax: 1 << 20, numOwners: 1, numPorts: 1, seed: 1, group: 0 };
  const engine = new EngineThread(stepBuffers(dims), options, fail, worker);
  engine.client.open();
  const config = JSON.parse(readFileSync(`${modelFolder}/tokenizer_config.json`, 'utf8')) as { chat_template: string };
  const template = createChatTemplate(config.chat_template, tokenizer);
  const model: ServedModel = fakeModel(engine.client, { maxModelLen: dims.maxSeqLen, vocabSize: tokenizer.vocabSize, tokenizer, template });
  const server = kind === 'fastify' ? await listenPlain(model) : await listen(kind, model);
  let [last, lastEngine] = [process.cpuUsage(), 0n];
  return {
    port: server.port,
    cpuUs() {
      const { user, system } = process.cpuUsage(last);
      const engineUs = Number(task.cpuTime[0]! - lastEngine) / 1000;
      [last, lastEngine] = [process.cpuUsage(), task.cpuTime[0]!];
      return { user: user - engineUs, system };
    },
    async close() {
      await server.close();
      await engine.stop();
    },
  };
}

async function listen(backend: 'uws' | 'node', model: ServedModel) {
  const server = await createServer({ host: '127.0.0.1', port: 0, backend });
  server.setModel(model);
  return server;
}

class Reader {
  readonly #child: ChildProcess = fork(fileURLToPath(new URL('../front-end/reader.js', import.meta.url)));

  read(task: ReadTask): Promise<ReadResult> {
    return new Promise((resolve, reject) => {
      const gone = (code: number | null) => reject(new Error(`the clients ended with ${code}`));
      this.#child.once('exit', gone);
      this.#child.once('message', (result: ReadResult) => {
        this.#child.off('exit', gone);
        resolve(result);
      });
      this.#child.send(task);
    });
  }

  close(): void {
    this.#child.kill();
  }
}

/** Others on the machine only make a round dearer, so the cheapest counts. */
const numRounds = 3;
const costOf = ({ user, system }: { readonly user: number; readonly system: number }) => user + system;

const sorted = (values: readonly number[]) => [...values].sort((a, b) => a - b);
const median = (values: readonly number[]) => sorted(values)[values.length >> 1]!;

async function measureStreams(kind: Kind, numStreams: number, numTokens: number, tokenizer: Tokenizer, ids: Int32Array): Promise<void> {
  const front = await start(kind, numStreams, tokenizer, ids);
  const reader = new Reader();
  const task = { port: front.port, numStreams, promptLen: 64, numUnread: 0, order: 'together' } as const;
  await reader.read({ ...task, maxTokens: Math.ceil(warmupTokens / numStreams) });
  const maxTokens = Math.max(streamLenMin, Math.ceil(numTokens / numStreams));
  const rounds = [];
  for (let round = 0; round < numRounds; round++) {
    front.cpuUs();
    const { streamMs } = await reader.read({ ...task, maxTokens });
    rounds.push({ streamMs, ...front.cpuUs() });
  }
  const { streamMs, user, system } = rounds.reduce((best, round) => (costOf(round) < costOf(best) ? round : best));
  const count = maxTokens * numStreams;
  const perToken = (us: number) => (us / count).toFixed(2);
  console.log(
    `${kind.padEnd(8)}${String(numStreams).padStart(5)} streams: ${perToken(user + system)} us of CPU a token ` +
      `(${perToken(user)} user, ${perToken(system)} system), ${Math.round(count / streamMs)} k tokens/s`,
  );
  reader.close();
  await front.close();
}

/** One request at a time with a prompt of 2 KB, over an engine that answers at once: what the client waits for is the front end. */
async function measureFirstToken(kind: Kind, tokenizer: Tokenizer, ids: Int32Array): Promise<void> {
  const front = await start(kind, 1, tokenizer, ids);
  const reader = new Reader();
  const task = { port: front.port, maxTokens: 2, promptLen, numUnread: 0, order: 'in turn' } as const;
  await reader.read({ ...task, numStreams: 100 });
  const { ttftMs } = await reader.read({ ...task, numStreams: numAlone });
  const at = (share: number) => sorted(ttftMs)[Math.floor(share * ttftMs.length)]!.toFixed(2);
  console.log(`${kind.padEnd(8)}first token of a 2 KB chat, alone: median ${median(ttftMs).toFixed(2)} ms, 99 % ${at(0.99)} ms`);
  reader.close();
  await front.close();
}

/** 64 streams, with and without 8 clients beside them that never read. */
async function measureSlowReaders(kind: Kind, numTokens: number, tokenizer: Tokenizer, ids: Int32Array): Promise<void> {
  for (const numUnread of [0, 8]) {
    const numStreams = 64;
    const front = await start(kind, numStreams + numUnread, tokenizer, ids);
    const reader = new Reader();
    const maxTokens = Math.ceil(numTokens / numStreams);
    const before = process.memoryUsage.rss();
    const { streamMs, gapMaxMs } = await reader.read({
      port: front.port,
      numStreams,
      maxTokens,
      promptLen: 64,
      numUnread,
      order: 'together',
    });
    const grown = (process.memoryUsage.rss() - before) / 2 ** 20;
    console.log(
      `${kind.padEnd(8)}${numStreams} streams beside ${numUnread} that nobody reads: ${Math.round((maxTokens * numStreams) / streamMs)} k tokens/s, ` +
        `longest gap ${gapMaxMs.toFixed(0)} ms, memory +${grown.toFixed(0)} MiB`,
    );
    reader.close();
    await front.close();
  }
}

const numTokens = Number(process.argv[2] ?? 500_000);
const wanted = kinds.filter((kind) => process.argv.length < 4 || process.argv.includes(kind));
const tokenizer = await loadTokenizer({
  kind: 'huggingface',
  path: `${modelFolder}/tokenizer.json`,
  config: JSON.parse(readFileSync(`${modelFolder}/tokenizer_config.json`, 'utf8')) as Record<string, unknown>,
});
const ids = await tokenizer.encode(readFileSync(`${modelFolder}/README.md`, 'utf8'), { addSpecialTokens: false });
for (const kind of wanted) {
  for (const numStreams of streamCounts) await measureStreams(kind, numStreams, numTokens, tokenizer, ids);
  await measureFirstToken(kind, tokenizer, ids);
  await measureSlowReaders(kind, numTokens, tokenizer, ids);
}
