/**
 * For tests: a rank without arithmetic. Its KV cache holds, for every slot, the token and a hash of the whole prefix up to it, so
 * that a context that is not exactly the right one is seen at once; its samples are a function of that hash. It runs a step only
 * when the result is asked for, and complains of anything that changed since the step was dispatched.
 */
import assert from 'node:assert/strict';
import type { StepBuffers, StepPlan, StepResult } from '../step/buffers.js';
import { entryFlag, maxBiasLen, maxStopIds, type StepDims } from '../step/layout.js';
import type { SequenceInput } from './sequence.js';

export const simulatedVocab = 16;

/** All that a sequence will ever be, computed from its input alone. */
export interface Expectation {
  readonly input: SequenceInput;
  readonly tokens: readonly number[]; // prompt, then every id
  readonly hashes: readonly number[]; // [tokens] of the prefix that ends with that token
  readonly finish: 'stop' | 'length';
  readonly stopId: number | null;
}

function mix(h: number, word: number): number {
  let x = Math.imul(h ^ Math.imul(word + 0x7f4a7c15, 0x9e3779b1), 0x85ebca6b);
  x = Math.imul(x ^ (x >>> 15), 0xc2b2ae35);
  return x ^ (x >>> 13);
}

const saltHash = (salt: string | null) => (salt === null ? 1 : [...salt].reduce((h, c) => mix(h, c.charCodeAt(0)), 2));

/** The id that follows a prefix. Ids that would end the sequence are masked while it has fewer than `minTokens`. */
function sampled(hash: number, choice: number, numOutputs: number, minTokens: number, ending: ReadonlySet<number>): number {
  let id = (mix(hash, 1000 + choice) >>> 0) % simulatedVocab;
  for (let i = 0; i < simulatedVocab && numOutputs < minTokens && ending.has(id); i++) id = (id + 1) % simulatedVocab;
  return id;
}

/** The log-probability of an id after a prefix: any number, the same wherever it is computed. */
export const logprobOf = (hash: number, id: number) => Math.fround(-(mix(hash, 5000 + id) >>> 8) / 2 ** 20);

export function expect(input: SequenceInput, maxSeqLen: number): Expectation {
  const { stop, promptTokens } = input;
  const eos = new Set(stop.ignoreEos ? [] : stop.eosTokenIds);
  const ending = new Set([...eos, ...stop.stopTokenIds]);
  const tokens = [...promptTokens];
  const hashes: number[] = [];
  for (const id of tokens) hashes.push(mix(hashes.at(-1) ?? saltHash(input.cacheSalt), id));
  const endLen = Math.min(maxSeqLen, promptTokens.length + stop.maxTokens);
  while (tokens.length < endLen) {
    const numOutputs = tokens.length - promptTokens.length;
    const id = sampled(hashes.at(-1)!, input.choice, numOutputs, stop.minTokens, ending);
    tokens.push(id);
    hashes.push(mix(hashes.at(-1)!, id));
    if (numOutputs + 1 <= stop.minTokens) continue;
    if (eos.has(id)) return { input, tokens, hashes, finish: 'stop', stopId: null };
    if (ending.has(id)) return { input, tokens, hashes, finish: 'stop', stopId: id };
  }
  return { input, tokens, hashes, finish: 'length', stopId: null };
}

interface Entry {
  readonly row: number;
  readonly start: number;
  readonly end: number;
  readonly flags: number;
  readonly outputStart: number;
  readonly blocks: readonly number[]; // as they were when the step was dispatched
  readonly expectation: Expectation;
}
interface Step {
  readonly epoch: number;
  readonly entries: readonly Entry[];
}

export class SimulatedRank {
  private readonly dims: StepDims;
  private readonly kvTokens: Int32Array; // [numBlocks, blockSize]
  private readonly kvHashes: Int32Array; // [numBlocks, blockSize]
  private readonly rowLengths = new Map<number, number>(); // tokens of the row with K and V here or on their way
  private readonly steps: Step[] = [];

  /** `expectationOf` names the sequence of a row by the low word of its seed. */
  constructor(
    private readonly buffers: StepBuffers,
    private readonly expectationOf: (seedLow: number) => Expectation,
  ) {
    this.dims = buffers.layout.dims;
    this.kvTokens = new Int32Array(this.dims.numBlocks * this.dims.blockSize).fill(-1);
    this.kvHashes = new Int32Array(this.dims.numBlocks * this.dims.blockSize);
  }

  get numInFlight(): number {
    return this.steps.length;
  }

  /** Rows and blocks that dispatched steps read or write. */
  inUse(): { rows: Set<number>; blocks: Set<number> } {
    const entries = this.steps.flatMap((step) => step.entries);
    return { rows: new Set(entries.map((e) => e.row)), blocks: new Set(entries.flatMap((e) => e.blocks)) };
  }

  /** What is read of such a block from now on is found out. */
  poison(block: number): void {
    const { blockSize } = this.dims;
    this.kvTokens.fill(-2, block * blockSize, (block + 1) * blockSize);
  }

  dispatch(plan: StepPlan): readonly Entry[] {
    const [epoch, numEntries, numTokens, numOutputs] = plan.planHeader as unknown as [number, number, number, number];
    assert.ok(numEntries > 0 && numEntries <= this.dims.maxRows && numTokens <= this.dims.maxTokens);
    const entries = Array.from({ length: numEntries }, (_, i) => this.entry(plan, i));
    assert.equal(plan.queryStart[numEntries], numTokens);
    assert.equal(plan.outputStart[numEntries], numOutputs);
    assert.equal(new Set(entries.map((e) => e.row)).size, numEntries, 'a row is twice in the plan');
    this.checkWrites(entries);
    this.steps.push({ epoch, entries });
    return entries;
  }

  /** Runs the oldest step. */
  collect(): StepResult {
    const step = this.steps.shift()!;
    const result = this.buffers.results[step.epoch & 1]!;
    for (const entry of step.entries) {
      this.checkRow(entry.row, entry.expectation);
      assert.deepEqual(this.blocksOf(entry.row, entry.end), entry.blocks, 'the block table changed under a dispatched step');
      this.append(entry);
    }
    step.entries.forEach((entry, i) => {
      this.attend(entry);
      this.answer(result, entry, i);
    });
    result.resultHeader[0] = step.epoch;
    return result;
  }

  private entry(plan: StepPlan, i: number): Entry {
    const row = plan.rows[i]!;
    const flags = plan.entryFlags[i]!;
    const start = plan.startPosition[i]!;
    const end = plan.contextMax[i]!;
    assert.ok(row >= 0 && row < this.dims.maxRows);
    assert.ok(end > start && end <= this.dims.maxSeqLen);
    assert.equal(plan.queryStart[i + 1]! - plan.queryStart[i]!, end - start);
    if (flags & entryFlag.reset) assert.ok(!this.inUse().rows.has(row), 'a row was given away before its fence');
    else assert.equal(start, this.rowLengths.get(row), 'an entry does not begin where the row ends');
    this.rowLengths.set(row, end);
    const expectation = this.expectationOf(this.buffers.rows.seedLow[row]!);
    this.checkRow(row, expectation);
    return { row, start, end, flags, outputStart: plan.outputStart[i]!, blocks: this.blocksOf(row, end), expectation };
  }

  private blocksOf(row: number, end: number): number[] {
    const base = row * this.buffers.layout.maxBlocksPerRow;
    return Array.from(this.buffers.rows.blockTables.subarray(base, base + Math.ceil(end / this.dims.blockSize)));
  }

  /** Nobody else may hold a block that an entry writes: not in this step's writes, not in a step before it that still runs. */
  private checkWrites(entries: readonly Entry[]): void {
    const written = new Map<number, number>();
    for (const { row, start, blocks } of entries) {
      for (const block of blocks.slice(Math.floor(start / this.dims.blockSize))) {
        assert.ok(!written.has(block), `block ${block} is written by rows ${row} and ${written.get(block)}`);
        written.set(block, row);
      }
    }
    for (const step of this.steps) {
      for (const { row, blocks } of step.entries) {
        for (const block of blocks) assert.ok((written.get(block) ?? row) === row, `block ${block} was given away before its fence`);
      }
    }
  }

  private checkRow(row: number, { input }: Expectation): void {
    const { rows } = this.buffers;
    const { sampling, stop } = input;
    const ending = [...(stop.ignoreEos ? [] : stop.eosTokenIds), ...stop.stopTokenIds];
    assert.equal(rows.seedHigh[row], Number(BigInt.asIntN(32, input.seed >> 32n)));
    assert.equal(rows.temperature[row], Math.fround(sampling.temperature));
    assert.equal(rows.choice[row], input.choice);
    assert.equal(rows.promptLen[row], input.promptTokens.length);
    assert.equal(rows.minTokens[row], stop.minTokens);
    assert.equal(rows.numPromptLogprobs[row], sampling.numPromptLogprobs ?? -1);
    assert.deepEqual(Array.from(rows.stopIds.subarray(row * maxStopIds, row * maxStopIds + rows.numStopIds[row]!)), ending);
    const biasIds = rows.biasIds.subarray(row * maxBiasLen, row * maxBiasLen + rows.numBias[row]!);
    assert.deepEqual(
      Array.from(biasIds),
      sampling.logitBias.map(([id]) => id),
    );
  }

  private append({ row, start, end, blocks, expectation }: Entry): void {
    for (let p = start; p < end; p++) {
      const id = this.buffers.rows.tokens[row * this.dims.maxSeqLen + p]!;
      assert.equal(id, expectation.tokens[p], `row ${row} has a wrong token at position ${p}`);
      const slot = this.slot(blocks, p);
      this.kvTokens[slot] = id;
      this.kvHashes[slot] = expectation.hashes[p]!;
    }
  }

  private attend({ row, end, blocks, expectation }: Entry): void {
    for (let p = 0; p < end; p++) {
      const slot = this.slot(blocks, p);
      const right = this.kvTokens[slot] === expectation.tokens[p] && this.kvHashes[slot] === expectation.hashes[p];
      assert.ok(right, `row ${row} reads a wrong context at position ${p} (block ${blocks[Math.floor(p / this.dims.blockSize)]})`);
    }
  }

  private slot(blocks: readonly number[], p: number): number {
    const { blockSize } = this.dims;
    return blocks[Math.floor(p / blockSize)]! * blockSize + (p % blockSize);
  }

  private answer(result: StepResult, { row, start, end, flags, outputStart, expectation }: Entry, i: number): void {
    const { tokens, hashes, input } = expectation;
    const { rows } = this.buffers;
    const say = (output: number, position: number, id: number) => {
      result.outputIds[output] = id;
      result.outputLogprobs[output] = logprobOf(hashes[position]!, id);
    };
    if (flags & entryFlag.promptLogprobs) {
      for (let p = start; p < end; p++) say(outputStart + p - start, p, tokens[p + 1] ?? -1);
    }
    result.numSampled[i] = 0;
    if (!(flags & entryFlag.sample)) return;
    // From the row as it stands in shared memory, not from the expectation.
    const ending = new Set(rows.stopIds.subarray(row * maxStopIds, row * maxStopIds + rows.numStopIds[row]!));
    const numOutputs = end - rows.promptLen[row]!;
    const id = sampled(hashes[end - 1]!, rows.choice[row]!, numOutputs, rows.minTokens[row]!, ending);
    // A step that was dispatched before its sequence was known to have ended samples past the end.
    if (end < tokens.length) assert.equal(id, tokens[end], `choice ${input.choice} sampled another id`);
    if (end < this.dims.maxSeqLen) rows.tokens[row * this.dims.maxSeqLen + end] = id;
    result.numSampled[i] = 1;
    result.sampledIds[i * (this.dims.maxDrafts + 1)] = id;
    say(flags & entryFlag.promptLogprobs ? outputStart + end - start - 1 : outputStart, end - 1, id);
  }
}
