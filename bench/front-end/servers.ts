/** The servers that the front-end bench compares, each over a fake engine of its own that makes one token a step for every stream. */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { Worker } from 'node:worker_threads';
import { fakeModel } from '../../src/api/fake-engine.js';
import type { ServedModel } from '../../src/api/served-model.js';
import { createServer } from '../../src/api/server.js';
import { createChatTemplate } from '../../src/chat/template.js';
import type { RequestEvents } from '../../src/engine/client.js';
import { EngineThread } from '../../src/engine/engine-thread.js';
import type { ChoiceEnd, ChoiceTokens, PromptFacts } from '../../src/engine/request.js';
import { stepBuffers } from '../../src/step/buffers.js';
import { loadTokenizer } from '../../src/tokenizer/load.js';
import type { Tokenizer } from '../../src/tokenizer/tokenizer.js';
import type { FakeEngineTask } from './engine-worker.js';
import type { Front } from './front.js';
import { listenPlain } from './plain-server.js';
import { listenPrepared } from './prepared-server.js';

export const kinds = ['prepared', 'uws', 'node', 'fastify'] as const;
/** prepared: uWebSockets.js alone. uws, node: Lockstep over either. fastify: `plain-server.ts`. */
export type Kind = (typeof kinds)[number];

/** What is said: the tokens of a text. */
export interface Speech {
  readonly tokenizer: Tokenizer;
  readonly template: string;
  readonly ids: Int32Array;
}

const modelFolder = fileURLToPath(new URL('../../../models/guide', import.meta.url));

export async function loadSpeech(): Promise<Speech> {
  const config = JSON.parse(readFileSync(`${modelFolder}/tokenizer_config.json`, 'utf8')) as { chat_template: string };
  const tokenizer = await loadTokenizer({ kind: 'huggingface', path: `${modelFolder}/tokenizer.json`, config: { ...config } });
  const ids = await tokenizer.encode(readFileSync(`${modelFolder}/README.md`, 'utf8'), { addSpecialTokens: false });
  return { tokenizer, template: config.chat_template, ids };
}

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

/** Tells of a step when its last token has been handed out: what was written has left by then. */
class LastStream implements RequestEvents {
  readonly #events: RequestEvents;
  readonly #onStep: () => void;

  constructor(events: RequestEvents, onStep: () => void) {
    this.#events = events;
    this.#onStep = onStep;
  }

  prompt(facts: PromptFacts): void {
    this.#events.prompt(facts);
  }

  tokens(tokens: ChoiceTokens): void {
    this.#events.tokens(tokens);
    setImmediate(this.#onStep);
  }

  end(end: ChoiceEnd): void {
    this.#events.end(end);
  }

  closed(): void {
    this.#events.closed();
  }
}

/** Steps begin when `together` requests are there. */
export async function startFront(kind: Kind, together: number, speech: Speech): Promise<Front> {
  if (kind === 'prepared') return listenPrepared(together);
  const { tokenizer } = speech;
  const task: FakeEngineTask = {
    ids: speech.ids,
    together,
    pace: new Int32Array(new SharedArrayBuffer(4)),
    cpuTime: new BigInt64Array(new SharedArrayBuffer(8)),
  };
  const worker = new Worker(new URL('engine-worker.js', import.meta.url), { workerData: task });
  const fail = (reason: string) => {
    throw new Error(reason);
  };
  const options = { scheduler, queueLenMax: 1 << 20, numOwners: 1, numPorts: 1, seed: 1, group: 0 };
  const engine = new EngineThread(stepBuffers(dims), options, fail, worker);
  const { client } = engine;
  client.open();
  const onStep = () => {
    front.onStep();
    Atomics.add(task.pace, 0, 1);
    Atomics.notify(task.pace, 0);
  };
  // A step has its tokens in the order in which the streams were submitted.
  const submit = client.submit.bind(client);
  let numSubmitted = 0;
  client.submit = (request, events) => submit(request, ++numSubmitted % together === 0 ? new LastStream(events, onStep) : events);
  const template = createChatTemplate(speech.template, tokenizer);
  const model: ServedModel = fakeModel(client, { maxModelLen: dims.maxSeqLen, vocabSize: tokenizer.vocabSize, tokenizer, template });
  const server = kind === 'fastify' ? await listenPlain(model) : await listen(kind, model);
  const front: Front = {
    port: server.port,
    onStep: () => {},
    engineUs: () => Number(task.cpuTime[0]!) / 1000,
    async close() {
      await server.close();
      await engine.stop();
    },
  };
  return front;
}

async function listen(backend: 'uws' | 'node', model: ServedModel) {
  const server = await createServer({ host: '127.0.0.1', port: 0, backend });
  server.setModel(model);
  return server;
}
