/**
 * One model with and without drafts by prompt lookup, in turns (A B B A …), without HTTP: tokens a second of each workload and their ratio.
 * Both must give the same tokens; that is looked at in passing.
 *
 *   node dist/bench/speculation/compare.js [--model M] [--config JSON] [--rounds N] [--only PART] [--null]
 *
 * --null compares the server without drafts with itself: what a ratio is worth on this machine.
 */
import { performance } from 'node:perf_hooks';
import { parseArgs } from 'node:util';
import { createChatTemplate } from '../../src/chat/template.js';
import { loadServeOptions } from '../../src/cli/options.js';
import { type StartedEngine, startEngine } from '../../src/cli/start-engine.js';
import type { GenerationRequest } from '../../src/engine/request.js';
import { createLogger } from '../../src/log.js';
import { neutralSampling } from '../../src/sampling/params.js';
import { loadTokenizer } from '../../src/tokenizer/load.js';
import type { Tokenizer } from '../../src/tokenizer/tokenizer.js';
import { createRandom } from '../random.js';
import { randomTokens, type Workload, workloads } from './workloads.js';

const configDefault = '{"method": "ngram", "num_speculative_tokens": 8}';

interface Contender {
  readonly name: string;
  readonly started: StartedEngine;
}

async function start(name: string, model: string | undefined, flags: readonly string[]): Promise<Contender> {
  const argv = ['--max-num-seqs', '32', '--max-model-len', '2048', ...(model === undefined ? [] : ['--model', model]), ...flags];
  const onFault = (reason: string) => {
    throw new Error(reason);
  };
  const started = await startEngine(loadServeOptions(argv, {}), { logger: createLogger('warning'), environment: process.env, onFault });
  await started.ready;
  return { name, started };
}

/** Ids of a workload's prompts; `round` seeds those that are random. */
async function promptsOf(workload: Workload, { model }: StartedEngine, tokenizer: Tokenizer, round: number): Promise<Int32Array[]> {
  const random = createRandom(1 + round);
  const { bosToken, eosToken } = tokenizer;
  const template = model.chatTemplate === null ? null : createChatTemplate(model.chatTemplate, { bosToken, eosToken });
  const encode = async (prompt: Workload['prompts'][number]): Promise<Int32Array> => {
    if (typeof prompt !== 'string') return Int32Array.from(randomTokens(random, prompt.random, model.spec.dims.vocab));
    const options = { addGenerationPrompt: true, continueFinalMessage: false };
    const text = template === null ? prompt : template.render([{ role: 'user', content: prompt }], options);
    return await tokenizer.encode(text, { addSpecialTokens: template === null });
  };
  return await Promise.all(workload.prompts.map(encode));
}

interface Outcome {
  readonly tokensPerS: number;
  readonly ids: string;
}

let numRequests = 0;

/** Runs all requests of a workload at once. */
async function run({ started }: Contender, workload: Workload, prompts: readonly Int32Array[], round: number): Promise<Outcome> {
  const ids = prompts.map((): number[] => []);
  const { maxTokens, ignoreEos, temperature } = workload;
  const stop = {
    eosTokenIds: started.model.generation.eosTokenIds,
    stopTokenIds: [],
    stopStrings: [],
    includeStopString: false,
    minTokens: 0,
  };
  const begin = performance.now();
  const one = (promptTokens: Int32Array, i: number) =>
    new Promise<void>((resolve) => {
      const request: GenerationRequest = {
        id: `bench-${numRequests++}`,
        promptTokens,
        sampling: { ...neutralSampling, temperature, seed: BigInt(100 * round + i) },
        stop: { ...stop, ignoreEos, maxTokens },
        priority: 0,
        cacheSalt: null,
      };
      const tokens = (news: { readonly ids: readonly number[] }) => ids[i]!.push(...news.ids);
      started.engine.submit(request, { prompt: () => {}, tokens, end: () => {}, closed: resolve });
    });
  await Promise.all(prompts.map(one));
  const seconds = (performance.now() - begin) / 1000;
  return { tokensPerS: ids.reduce((sum, list) => sum + list.length, 0) / seconds, ids: ids.join(';') };
}

const median = (values: readonly number[]) => [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)]!;

interface Row {
  readonly plain: number[];
  readonly drafted: number[];
}

async function measure(workload: Workload, pair: readonly [Contender, Contender], tokenizer: Tokenizer, rounds: number): Promise<Row> {
  const row: Row = { plain: [], drafted: [] };
  // Round 0 fills the prefix cache and is not counted.
  for (let round = 0; round <= rounds; round++) {
    const prompts = await promptsOf(workload, pair[0].started, tokenizer, round);
    const order = round % 2 === 0 ? [0, 1] : [1, 0];
    const outcomes: Outcome[] = [];
    for (const index of order) outcomes[index] = await run(pair[index]!, workload, prompts, round);
    if (outcomes[0]!.ids !== outcomes[1]!.ids) throw new Error(`${workload.name}: the tokens differ`);
    if (round === 0) continue;
    row.plain.push(outcomes[0]!.tokensPerS);
    row.drafted.push(outcomes[1]!.tokensPerS);
  }
  return row;
}

const { values: flags } = parseArgs({
  options: {
    model: { type: 'string' },
    config: { type: 'string', default: configDefault },
    rounds: { type: 'string', default: '15' },
    only: { type: 'string', default: '' },
    null: { type: 'boolean', default: false },
  },
});

const plain = await start('plain', flags.model, []);
const drafted = await start('drafts', flags.model, flags.null ? [] : ['--speculative-config', flags.config]);
const tokenizer = await loadTokenizer(plain.started.model.tokenizer);
const cells = (cols: readonly string[]) => console.log(cols.map((c, i) => (i === 0 ? c.padEnd(40) : c.padStart(12))).join(''));
cells(['tokens/s, median', 'plain', 'drafts', 'ratio', 'least', 'right', 'tried']);
let failed = false;
for (const workload of workloads.filter(({ name }) => name.includes(flags.only))) {
  const before = drafted.started.engine.counters();
  const row = await measure(workload, [plain, drafted], tokenizer, Number(flags.rounds));
  const after = drafted.started.engine.counters();
  const ratio = median(row.drafted) / median(row.plain);
  if (ratio < workload.least) failed = true;
  const counts = [after.specAcceptedTokens - before.specAcceptedTokens, after.specDraftTokens - before.specDraftTokens];
  const speeds = [median(row.plain), median(row.drafted)].map((value) => value.toFixed(0));
  cells([workload.name, ...speeds, `${ratio.toFixed(2)}x`, `${workload.least}x`, ...counts.map(String)]);
}
for (const { started } of [plain, drafted]) await started.stop();
process.exitCode = failed ? 1 : 0;
