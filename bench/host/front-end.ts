/**
 * What streaming costs the front end: chat requests from parse to socket, over the engine's real port with a fake engine behind it that makes one
 * token a step for every stream (`bench/front-end/`), read by clients in a process of their own. CPU is this process's, all threads but the engine's.
 * Detokenising, JSON, metrics and connections are in it.
 *
 * A token's cost is taken while all streams run, in windows of so many tokens at every number of streams; what a request costs before its first token
 * is a row of its own. The servers take turns, so that what disturbs the machine disturbs all of them, and each row is the median of its windows.
 *
 *   node dist/bench/host/front-end.js [rounds] [prepared|uws|node|fastify …]
 */
import { type ChildProcess, fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { Front } from '../front-end/front.js';
import type { ReadResult, ReadTask } from '../front-end/reader.js';
import { type Kind, kinds, loadSpeech, type Speech, startFront } from '../front-end/servers.js';

const streamCounts = [16, 256, 1024, 4096];
const promptLen = 2048;
const numRequestsAlone = 400;
/** Before anything is measured: the compiler of the runtime has seen what is hot. */
const numRequestsBefore = 1000;
const windowTokens = 50_000;
/** Of a turn; as many tokens as one of them run before the first. */
const numWindows = 3;

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

interface Cost {
  readonly userUs: number;
  readonly systemUs: number;
  readonly wallUs: number;
}

/** Gives what was spent since the last call: by this process without the engine's thread. */
function meter(front: Front): () => Cost {
  let [cpu, engineUs, nowMs] = [process.cpuUsage(), front.engineUs(), performance.now()];
  return () => {
    const { user, system } = process.cpuUsage(cpu);
    const cost = { userUs: user - (front.engineUs() - engineUs), systemUs: system, wallUs: (performance.now() - nowMs) * 1000 };
    [cpu, engineUs, nowMs] = [process.cpuUsage(), front.engineUs(), performance.now()];
    return cost;
  };
}

const sorted = (values: readonly number[]) => [...values].sort((a, b) => a - b);
const at = (share: number, values: readonly number[]) => sorted(values)[Math.floor(share * (values.length - 1))]!;
const median = (values: readonly number[]) => at(0.5, values);
/** Median, and the lowest and the highest. */
const spread = (values: readonly number[], digits: number) =>
  `${median(values).toFixed(digits)} (${at(0, values).toFixed(digits)}–${at(1, values).toFixed(digits)})`;

/** What a token costs in each window of one turn. */
async function measureTokens(kind: Kind, numStreams: number, speech: Speech, reader: Reader): Promise<Cost[]> {
  const front = await startFront(kind, numStreams, speech);
  const stepsOfWindow = Math.ceil(windowTokens / numStreams);
  const windows: Cost[] = [];
  let numSteps = 0;
  let spent = meter(front);
  front.onStep = () => {
    if (++numSteps % stepsOfWindow !== 0) return;
    if (numSteps === stepsOfWindow) spent = meter(front);
    else if (windows.length < numWindows) windows.push(spent());
  };
  const maxTokens = stepsOfWindow * (numWindows + 1) + 1;
  await reader.read({ port: front.port, numStreams, maxTokens, promptLen: 64, numUnread: 0, order: 'together' });
  await front.close();
  const count = stepsOfWindow * numStreams;
  return windows.map(({ userUs, systemUs, wallUs }) => ({ userUs: userUs / count, systemUs: systemUs / count, wallUs: wallUs / count }));
}

function reportTokens(kind: Kind, numStreams: number, windows: readonly Cost[]): void {
  const of = (read: (cost: Cost) => number, digits = 2) => spread(windows.map(read), digits);
  console.log(
    `${kind.padEnd(9)}${String(numStreams).padStart(5)} streams: ${of(({ userUs, systemUs }) => userUs + systemUs)} us of CPU a token, ` +
      `user ${of(({ userUs }) => userUs)}, system ${of(({ systemUs }) => systemUs)}; ${of(({ wallUs }) => 1000 / wallUs, 0)} k tokens/s`,
  );
}

/** One request at a time with a prompt of 2 KB, over an engine that answers at once: what the client waits for is the front end. */
async function measureRequests(kind: Kind, speech: Speech, reader: Reader): Promise<void> {
  const front = await startFront(kind, 1, speech);
  const task = { port: front.port, maxTokens: 2, promptLen, numUnread: 0, order: 'in turn' } as const;
  await reader.read({ ...task, numStreams: numRequestsBefore });
  const spent = meter(front);
  const { ttftMs } = await reader.read({ ...task, numStreams: numRequestsAlone });
  const { userUs, systemUs } = spent();
  console.log(
    `${kind.padEnd(9)}first token of a 2 KB chat, alone: median ${median(ttftMs).toFixed(2)} ms, 99 % ${at(0.99, ttftMs).toFixed(2)} ms; ` +
      `${Math.round((userUs + systemUs) / numRequestsAlone)} us of CPU a request of 2 tokens`,
  );
  await front.close();
}

/** 64 streams, with and without 8 clients beside them that never read. */
async function measureSlowReaders(kind: Kind, speech: Speech, reader: Reader): Promise<void> {
  for (const numUnread of [0, 8]) {
    const numStreams = 64;
    const front = await startFront(kind, numStreams + numUnread, speech);
    const maxTokens = Math.ceil((4 * windowTokens) / numStreams);
    const before = process.memoryUsage.rss();
    const task = { port: front.port, numStreams, maxTokens, promptLen: 64, numUnread, order: 'together' } as const;
    const { streamMs, gapMaxMs } = await reader.read(task);
    const grown = (process.memoryUsage.rss() - before) / 2 ** 20;
    console.log(
      `${kind.padEnd(9)}${numStreams} streams beside ${numUnread} that nobody reads: ${Math.round((maxTokens * numStreams) / streamMs)} k tokens/s, ` +
        `longest gap ${gapMaxMs.toFixed(0)} ms, memory +${grown.toFixed(0)} MiB`,
    );
    await front.close();
  }
}

const numRounds = Number(process.argv[2] ?? 3);
const wanted = kinds.filter((kind) => process.argv.length < 4 || process.argv.includes(kind));
const speech = await loadSpeech();
const reader = new Reader();
const turns = streamCounts.flatMap((numStreams) => wanted.map((kind) => ({ kind, numStreams, windows: [] as Cost[] })));
for (let round = 0; round < numRounds; round++) {
  for (const { kind, numStreams, windows } of turns) windows.push(...(await measureTokens(kind, numStreams, speech, reader)));
}
for (const { kind, numStreams, windows } of turns) reportTokens(kind, numStreams, windows);
for (const kind of wanted) {
  if (kind === 'prepared') continue; // what it says is no answer to the prompt
  await measureRequests(kind, speech, reader);
  await measureSlowReaders(kind, speech, reader);
}
reader.close();
