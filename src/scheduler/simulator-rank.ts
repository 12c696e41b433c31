/**
 * For tests: a rank without arithmetic. Its KV cache holds, for every slot, the token and a hash of the whole prefix up to it, so
 * that a context that is not exactly the right one is seen at once; its samples are a function of that hash. It runs a step only
 * when the result is asked for, and complains of anything that changed since the step was dispatched. Drafts it guesses by chance.
 */
import assert from 'node:assert/strict';
import type { StepBuffers, StepPlan, StepResult } from '../step/buffers.js';
import { entryFlag, maxBiasLen, maxLogprobIds, maxStopIds, type StepDims } from '../step/layout.js';
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

/** As dispatched: a row that tries drafts begins somewhere from `start` on, and computes at most up to `end`. */
interface Entry {
  readonly row: number;
  readonly start: number;
  readonly end: number;
  /** null: a chunk, and start and end are exact. */
  readonly maxDrafts: number | null;
  readonly flags: number;
  readonly outputStart: number;
  readonly blocks: readonly number[]; // as they were when the step was dispatched
  readonly expectation: Expectation;
}
interface Step {
  readonly epoch: number;
  readonly entries: readonly Entry[];
}

/** A sequence, and how it would go on if nothing ended it: a step may be in flight past the end, and its drafts further. */
class Course {
  readonly tokens: number[];
  readonly hashes: number[];
  private readonly ending: ReadonlySet<number>;

  constructor(
    readonly input: SequenceInput,
    { tokens, hashes }: Expectation,
  ) {
    this.tokens = [...tokens];
    this.hashes = [...hashes];
    const { stop } = input;
    this.ending = new Set([...(stop.ignoreEos ? [] : stop.eosTokenIds), ...stop.stopTokenIds]);
  }

  upTo(position: number): this {
    while (this.tokens.length <= position) {
      const numOutputs = this.tokens.length - this.input.promptTokens.length;
      const id = sampled(this.hashes.at(-1)!, this.input.choice, numOutputs, this.input.stop.minTokens, this.ending);
      this.tokens.push(id);
      this.hashes.push(mix(this.hashes.at(-1)!, id));
    }
    return this;
  }
}

/** An entry as it runs: exact, and with what the rank guesses will follow its first token. */
interface Run extends Entry {
  readonly course: Course;
  readonly guesses: readonly number[];
  /** Guesses that are what is sampled, from the first on; as many as are compared. */
  readonly numRight: number;
}

/** Of its guesses so many are right. */
const rightGuesses = 0.85;

export class SimulatedRank {
  private readonly dims: StepDims;
  private readonly kvTokens: Int32Array; // [numBlocks, blockSize]
  private readonly kvHashes: Int32Array; // [numBlocks, blockSize]
  private readonly lengths = new Map<number, number>(); // tokens of the row with K and V here
  private readonly courses = new Map<Expectation, Course>();
  private readonly steps: Step[] = [];
  private chance = 1;
  /** What became of drafts; `past`: entries whose row had come to its end. */
  readonly drafts = { right: 0, wrong: 0, past: 0 };

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
    }
    const runs = step.entries.map((entry) => this.begin(entry));
    for (const run of runs) this.append(run);
    runs.forEach((run, i) => {
      this.attend(run);
      this.answer(result, run, i);
    });
    result.resultHeader[0] = step.epoch;
    result.resultHeader[2] = runs.reduce((sum, run) => sum + run.end - run.start, 0);
    // Rows are cheap here, so that drafts pay.
    result.timesUs[0] = 1000 + 20 * result.resultHeader[2]!;
    return result;
  }

  private entry(plan: StepPlan, i: number): Entry {
    const row = plan.rows[i]!;
    const flags = plan.entryFlags[i]!;
    const count = plan.queryStart[i + 1]! - plan.queryStart[i]!;
    const end = plan.contextMax[i]!;
    const looksUp = plan.startPosition[i] === -1;
    const before = this.steps.flatMap((step) => step.entries).filter((e) => e.row === row);
    const least = before.reduce((at, e) => (e.maxDrafts === null ? e.end : at + 1), this.lengths.get(row) ?? 0);
    const most = before.reduce(
      (at, e) => (e.maxDrafts === null ? e.end : Math.min(e.end, at + 1 + e.maxDrafts)),
      this.lengths.get(row) ?? 0,
    );
    const start = looksUp ? least : plan.startPosition[i]!;
    assert.ok(row >= 0 && row < this.dims.maxRows);
    assert.ok(end > start && end <= this.dims.maxSeqLen);
    if (looksUp) assert.ok(count <= this.dims.maxDrafts + 1 && flags === entryFlag.sample);
    else assert.equal(count, end - start);
    const expectation = this.expectationOf(this.buffers.rows.seedLow[row]!);
    const { input } = expectation;
    if (looksUp) {
      const bound = Math.min(input.promptTokens.length + input.stop.maxTokens, this.dims.maxSeqLen) - 1;
      assert.equal(end, Math.min(most + count, bound), 'blocks for another length than the row may come to');
    }
    if (flags & entryFlag.reset) assert.ok(!this.inUse().rows.has(row), 'a row was given away before its fence');
    else assert.deepEqual([start, looksUp || most], [least, looksUp || start], 'an entry does not begin where the row ends');
    this.checkRow(row, expectation);
    const maxDrafts = looksUp ? count - 1 : null;
    return { row, start, end, maxDrafts, flags, outputStart: plan.outputStart[i]!, blocks: this.blocksOf(row, end), expectation };
  }

  /** Where the entry begins and what it guesses, now that the steps before it are done. */
  private begin(entry: Entry): Run {
    const { row, expectation, maxDrafts } = entry;
    let course = this.courses.get(expectation);
    if (course === undefined) this.courses.set(expectation, (course = new Course(expectation.input, expectation)));
    if (maxDrafts === null) {
      this.lengths.set(row, entry.end);
      return { ...entry, course: course.upTo(entry.end), guesses: [], numRight: 0 };
    }
    const start = this.lengths.get(row)!;
    const room = Math.min(entry.end - start, maxDrafts + 1);
    if (room < 1) this.drafts.past++;
    course.upTo(start + maxDrafts + 2);
    const guesses: number[] = [];
    for (let j = 0; j < room && this.draw() < 0.9; j++) {
      const id = course.tokens[start + 1 + j]!;
      guesses.push(this.draw() < rightGuesses ? id : (id + 1) % simulatedVocab);
    }
    const slots = room < 1 ? 0 : Math.min(room, 1 + guesses.length);
    const wrong = guesses.findIndex((id, j) => id !== course.tokens[start + 1 + j]);
    const numRight = Math.min(wrong < 0 ? guesses.length : wrong, slots);
    const accepted = Math.max(0, Math.min(numRight, slots - 1));
    this.drafts.right += accepted;
    this.drafts.wrong += Math.max(0, slots - 1 - accepted);
    this.lengths.set(row, start + (slots === 0 ? 0 : 1 + accepted));
    return { ...entry, start, end: start + slots, course, guesses, numRight };
  }

  private draw(): number {
    this.chance = mix(this.chance, 77);
    return (this.chance >>> 0) / 2 ** 32;
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
    const logprobIds = rows.logprobIds.subarray(row * maxLogprobIds, row * maxLogprobIds + rows.numLogprobIds[row]!);
    assert.deepEqual(Array.from(logprobIds), sampling.logprobIds);
    assert.deepEqual(Array.from(rows.stopIds.subarray(row * maxStopIds, row * maxStopIds + rows.numStopIds[row]!)), ending);
    const biasIds = rows.biasIds.subarray(row * maxBiasLen, row * maxBiasLen + rows.numBias[row]!);
    assert.deepEqual(
      Array.from(biasIds),
      sampling.logitBias.map(([id]) => id),
    );
  }

  private append({ row, start, end, maxDrafts, blocks, course, guesses }: Run): void {
    let hash = course.hashes[start - 1] ?? saltHash(course.input.cacheSalt);
    for (let p = start; p < end; p++) {
      const isDraft = maxDrafts !== null && p > start;
      const id = isDraft ? guesses[p - start - 1]! : this.buffers.rows.tokens[row * this.dims.maxSeqLen + p]!;
      if (!isDraft) assert.equal(id, course.tokens[p], `row ${row} has a wrong token at position ${p}`);
      hash = mix(hash, id);
      const slot = this.slot(blocks, p);
      this.kvTokens[slot] = id;
      this.kvHashes[slot] = hash;
    }
  }

  private attend({ row, start, end, maxDrafts, blocks, course, numRight }: Run): void {
    // Behind a wrong draft the context is wrong, and what is sampled there is not used.
    const right = maxDrafts === null ? end : Math.min(end, start + 1 + numRight);
    for (let p = 0; p < right; p++) {
      const slot = this.slot(blocks, p);
      const isRight = this.kvTokens[slot] === course.tokens[p] && this.kvHashes[slot] === course.hashes[p];
      assert.ok(isRight, `row ${row} reads a wrong context at position ${p} (block ${blocks[Math.floor(p / this.dims.blockSize)]})`);
    }
  }

  private slot(blocks: readonly number[], p: number): number {
    const { blockSize } = this.dims;
    return blocks[Math.floor(p / blockSize)]! * blockSize + (p % blockSize);
  }

  private answer(result: StepResult, run: Run, i: number): void {
    const { row, start, end, maxDrafts, flags, outputStart, course, guesses, numRight } = run;
    const { tokens, hashes } = course;
    const say = (output: number, position: number, id: number) => {
      result.outputIds[output] = id;
      result.outputLogprobs[output] = logprobOf(hashes[position]!, id);
    };
    if (flags & entryFlag.promptLogprobs) {
      for (let p = start; p < end; p++) say(outputStart + p - start, p, tokens[p + 1] ?? -1);
    }
    result.numSampled[i] = 0;
    result.numDrafts[i] = maxDrafts === null ? 0 : Math.max(0, end - start - 1);
    result.numGuessed[i] = guesses.length;
    result.numRight[i] = numRight;
    if (!(flags & entryFlag.sample) || end === start) return;
    const first = maxDrafts === null ? end - 1 : start; // whose logits are sampled first
    const numDraws = maxDrafts === null ? 1 : end - start;
    result.numSampled[i] = Math.min(numDraws, 1 + numRight);
    for (let j = 0; j < numDraws; j++) {
      // Behind a wrong draft: anything.
      const id = j <= numRight ? this.sample(run, first + j) : (i + j) % simulatedVocab;
      if (first + j + 1 < this.dims.maxSeqLen) this.buffers.rows.tokens[row * this.dims.maxSeqLen + first + j + 1] = id;
      result.sampledIds[i * (this.dims.maxDrafts + 1) + j] = id;
      say(flags & entryFlag.promptLogprobs ? outputStart + first - start : outputStart + j, first + j, id);
    }
  }

  /** From the row as it stands in shared memory, not from what is expected. */
  private sample({ row, course }: Run, position: number): number {
    const { rows } = this.buffers;
    const ending = new Set(rows.stopIds.subarray(row * maxStopIds, row * maxStopIds + rows.numStopIds[row]!));
    const numOutputs = position + 1 - rows.promptLen[row]!;
    const id = sampled(course.hashes[position]!, rows.choice[row]!, numOutputs, rows.minTokens[row]!, ending);
    assert.equal(id, course.upTo(position + 1).tokens[position + 1], `choice ${course.input.choice} sampled another id`);
    return id;
  }
}
