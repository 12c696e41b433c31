/**
 * For tests: a scheduler, a simulated rank and a client in one, driven by operations, with everything that must hold checked after
 * each. What each sequence must say is known beforehand (`expect`), so equal outputs with and without async scheduling, caching
 * and chunking follow from each being right.
 */
import assert from 'node:assert/strict';
import { LockstepError } from '../errors.js';
import type { StepBuffers } from '../step/buffers.js';
import { stepBuffers } from '../step/buffers.js';
import { entryFlag, type StepDims } from '../step/layout.js';
import type { SchedulerOptions } from './options.js';
import { finishCode, type SchedulerOutput } from './output.js';
import { maxOvertakes, Scheduler } from './scheduler.js';
import { comesBefore, type Sequence, type SequenceInput } from './sequence.js';
import { type Expectation, expect, logprobOf, SimulatedRank } from './simulator-rank.js';

export interface SimulatedServer {
  readonly dims: Omit<StepDims, 'maxLogprobs' | 'worldSize' | 'pooledLen'>;
  readonly options: SchedulerOptions;
}

/** What a client has seen of a sequence. */
interface Life {
  readonly expectation: Expectation;
  readonly seq: Sequence;
  readonly ids: number[];
  numPromptScored: number;
  numSamplings: number; // steps that sample it
  numAnswers: number; // of those, steps that brought ids
  numOvertaken: number;
  admitted: boolean;
  end: 'none' | 'stop' | 'length' | 'abort';
}

export class Simulation {
  readonly lives: Life[] = [];
  /** What happened: a simulation in which nothing does shows nothing. */
  readonly seen = {
    refused: 0,
    preempted: 0,
    preemptedAll: 0,
    overtaken: 0,
    cachedTokens: 0,
    wastedSamples: 0,
    waitedForFence: 0,
    aborted: 0,
    resumedFromCache: 0,
    rightDrafts: 0,
    wrongDrafts: 0,
    pastTheEnd: 0,
  };
  private readonly buffers: StepBuffers;
  private readonly scheduler: Scheduler;
  private readonly rank: SimulatedRank;

  constructor(private readonly server: SimulatedServer) {
    this.buffers = stepBuffers({ ...server.dims, maxLogprobs: 0, worldSize: 1, pooledLen: 0 });
    this.scheduler = new Scheduler(this.buffers, server.options);
    this.rank = new SimulatedRank(this.buffers, (key) => this.lives[key]!.expectation);
  }

  get nextKey(): number {
    return this.lives.length;
  }

  /** `input.key` must be `nextKey`, and the low word of its seed too. */
  add(input: SequenceInput): void {
    const { maxSeqLen, blockSize, numBlocks } = this.server.dims;
    const longest = Math.min(input.promptTokens.length + input.stop.maxTokens, maxSeqLen);
    const promptLen = input.promptTokens.length;
    const fits =
      promptLen + Math.min(1, input.stop.maxTokens) <= maxSeqLen && Math.ceil(Math.max(promptLen, longest - 1) / blockSize) <= numBlocks;
    try {
      this.scheduler.add(input);
    } catch (error) {
      if (!(error instanceof LockstepError)) throw error;
      assert.ok(!fits, `refused, although it fits: ${error.message}`);
      this.seen.refused++;
      return;
    }
    assert.ok(fits, 'taken, although it can never fit');
    const seq = this.scheduler['sequences'].get(input.key)!;
    const expectation = expect(input, maxSeqLen);
    this.lives.push({
      expectation,
      seq,
      ids: [],
      numPromptScored: 0,
      numSamplings: 0,
      numAnswers: 0,
      numOvertaken: 0,
      admitted: false,
      end: 'none',
    });
    this.check();
  }

  abort(key: number): void {
    const life = this.lives[key];
    this.scheduler.abort(key);
    if (life?.end === 'none') {
      life.end = 'abort';
      this.seen.aborted++;
    }
    this.check();
  }

  /** What the engine as a whole is asked. */
  control(what: 'hold' | 'let in' | 'preempt' | 'forget'): void {
    const { running } = this.scheduler.counters();
    if (what === 'hold' || what === 'let in') this.scheduler.hold(what === 'hold');
    else if (what === 'preempt') this.scheduler.preemptAll();
    else this.scheduler.forgetPrefixes();
    if (what === 'preempt') this.seen.preemptedAll += running;
    this.check();
  }

  /** Plans and dispatches a step. false: there was nothing to plan. */
  schedule(): boolean {
    const numBefore = this.rank.numInFlight;
    const plan = this.scheduler.schedule();
    this.seen.preempted = this.scheduler.counters().preemptions;
    if (this.scheduler['reserved'] > 0) this.seen.waitedForFence++;
    if (plan === null) return false;
    assert.ok(numBefore < this.server.options.maxInFlight, 'more steps in flight than allowed');
    const entries = this.rank.dispatch(plan);
    assert.ok(entries.length <= this.server.options.maxNumSeqs);
    for (const entry of entries) {
      const life = this.lives[entry.expectation.input.key]!;
      assert.equal(life.end, 'none', 'an ended sequence is in the plan');
      if (entry.flags & entryFlag.sample) life.numSamplings++;
      if (entry.flags & entryFlag.reset) this.noteAdmission(life, entry.start);
      if (entry.maxDrafts === null) this.checkChunk(life, entry.end - entry.start, entry.flags);
    }
    this.check();
    return true;
  }

  /** Runs the oldest step in flight and hands its result back. false: there is none. */
  collect(): boolean {
    if (this.rank.numInFlight === 0) return false;
    this.take(this.scheduler.update(this.rank.collect()));
    const { right, wrong, past } = this.rank.drafts;
    Object.assign(this.seen, { rightDrafts: right, wrongDrafts: wrong, pastTheEnd: past });
    this.check();
    return true;
  }

  /** Runs until all is done, as the engine does, with results one step behind where that is allowed. */
  drain(): void {
    const total = this.lives.reduce((sum, life) => sum + life.expectation.tokens.length, 0);
    let numSteps = 0;
    this.scheduler.hold(false);
    while (this.scheduler.hasWork()) {
      const planned = this.schedule();
      const collected = this.rank.numInFlight >= this.server.options.maxInFlight || !planned ? this.collect() : false;
      assert.ok(planned || collected, 'there is work, but nothing to schedule and nothing in flight');
      assert.ok(numSteps++ < 100 + 40 * total, 'no end in sight');
    }
    for (const life of this.lives) this.checkEnd(life);
    const { numFree, numComing } = this.scheduler['kv'].pool;
    assert.deepEqual([numFree, numComing], [this.server.dims.numBlocks, 0], 'blocks are left over');
    assert.equal(this.scheduler['numFreeRows'], this.server.dims.maxRows, 'rows are left over');
  }

  private take(output: SchedulerOutput): void {
    for (let i = 0; i < output.numEntries; i++) {
      const life = this.lives[output.keys[i]!]!;
      assert.equal(life.end, 'none', 'output of a sequence that has ended');
      this.takePromptScores(life, output, i);
      if (output.numIds[i]! > 0) life.numAnswers++;
      for (let j = 0; j < output.numIds[i]!; j++) {
        const id = output.ids[i * output.maxIds + j]!;
        const { tokens, hashes } = life.expectation;
        const position = life.expectation.input.promptTokens.length + life.ids.length;
        assert.equal(id, tokens[position], `sequence ${output.keys[i]} has a wrong id at position ${position}`);
        assert.equal(output.result.outputIds[output.outputStart[i]! + j], id);
        assert.equal(output.result.outputLogprobs[output.outputStart[i]! + j], logprobOf(hashes[position - 1]!, id));
        life.ids.push(id);
      }
      if (output.finish[i] === finishCode.none) continue;
      life.end = output.finish[i] === finishCode.stop ? 'stop' : 'length';
      assert.equal(output.stopId[i], life.expectation.stopId ?? -1);
    }
  }

  private takePromptScores(life: Life, output: SchedulerOutput, i: number): void {
    const { tokens, hashes, input } = life.expectation;
    for (let j = 0; j < output.numPrompt[i]!; j++) {
      const position = output.promptPosition[i]! + j;
      assert.equal(position, ++life.numPromptScored, 'a prompt position was left out or came twice');
      const at = output.promptOutputStart[i]! + j;
      assert.equal(output.result.outputIds[at], tokens[position]);
      assert.equal(output.result.outputLogprobs[at], logprobOf(hashes[position - 1]!, tokens[position]!));
    }
    const all = input.sampling.numPromptLogprobs === null ? 0 : input.promptTokens.length - 1;
    if (output.numIds[i]! > 0) assert.equal(life.numPromptScored, all, 'the first id came before all prompt tokens were scored');
  }

  /** Whoever waits and comes before the admitted one was overtaken. */
  private noteAdmission(life: Life, cachedTokens: number): void {
    if (life.admitted) this.seen.resumedFromCache += cachedTokens;
    else this.seen.cachedTokens += cachedTokens;
    life.admitted = true;
    for (const other of this.lives) {
      if (other.end !== 'none' || !comesBefore(other.seq, life.seq)) continue;
      assert.notEqual(other.seq.state, 'preempted', 'a preempted sequence was overtaken');
      if (other.seq.state !== 'waiting' || other.admitted) continue;
      this.seen.overtaken++;
      assert.ok(++other.numOvertaken <= maxOvertakes, `sequence ${other.seq.key} was overtaken too often`);
    }
  }

  private checkChunk(life: Life, count: number, flags: number): void {
    const { chunkedPrefill, longPrefillThreshold } = this.server.options;
    if (chunkedPrefill && longPrefillThreshold > 0) assert.ok(count <= longPrefillThreshold || count === 1);
    if (!chunkedPrefill)
      assert.ok(flags & entryFlag.sample || life.expectation.input.stop.maxTokens === 0, 'a chunk, although chunks are off');
  }

  private checkEnd({ end, ids, expectation, numSamplings, numAnswers }: Life): void {
    const { input, tokens, finish } = expectation;
    const outputs = tokens.slice(input.promptTokens.length);
    if (end === 'abort') {
      assert.deepEqual(ids, outputs.slice(0, ids.length));
      return;
    }
    assert.equal(end, finish);
    assert.deepEqual(ids, outputs);
    const wasted = numSamplings - numAnswers;
    this.seen.wastedSamples += wasted;
    const mayWaste = finish === 'stop' || this.server.options.speculation !== undefined;
    assert.ok(wasted <= (mayWaste ? this.server.options.maxInFlight - 1 : 0), `${wasted} samples were wasted`);
  }

  /** Every block and every row has exactly the owners that it should have. */
  private check(): void {
    const { pool, prefixes } = { pool: this.scheduler['kv'].pool, prefixes: this.scheduler['kv']['prefixes'] };
    const { numBlocks, maxRows } = this.server.dims;
    const refs = new Int32Array(numBlocks);
    const retired = new Int32Array(numBlocks);
    const rows: number[] = Array.from(this.scheduler['freeRows'].subarray(0, this.scheduler['numFreeRows']));
    for (const { seq } of this.lives) {
      assert.ok(seq.numProcessed <= seq.numScheduled || seq.row < 0);
      if (seq.row < 0) continue;
      rows.push(seq.row);
      const base = seq.row * this.buffers.layout.maxBlocksPerRow;
      for (const block of this.buffers.rows.blockTables.subarray(base, base + seq.numBlocks)) {
        refs[block]!++;
        if (seq.state !== 'running') retired[block]!++;
      }
    }
    assert.deepEqual(Array.from(pool['refs']), Array.from(refs), 'reference counts are wrong');
    assert.deepEqual(Array.from(pool['retired']), Array.from(retired), 'counts of retired references are wrong');
    const coming = refs.filter((count, block) => count > 0 && count === retired[block]).length;
    assert.equal(pool.numComing, coming);
    const free = pool.freeBlocks();
    assert.equal(pool.numFree, free.length);
    assert.deepEqual(
      free.sort((a, b) => a - b),
      Array.from(refs.keys()).filter((block) => refs[block] === 0),
      'the free list is not what nobody refers to',
    );
    assert.deepEqual(
      rows.sort((a, b) => a - b),
      Array.from({ length: maxRows }, (_, i) => i),
      'a row is lost or has two owners',
    );
    for (const block of this.rank.inUse().blocks) assert.ok(refs[block]! > 0, `block ${block} was freed before its fence`);
    for (const block of free) if (!prefixes?.holds(block)) this.rank.poison(block);
    this.checkQueues();
  }

  private checkQueues(): void {
    const living = this.lives.filter((life) => life.end === 'none');
    const count = (...states: string[]) => living.filter((life) => states.includes(life.seq.state)).length;
    const { running, waiting } = this.scheduler.counters();
    assert.deepEqual([running, waiting], [count('running'), count('waiting', 'preempted')], 'a sequence is lost');
    assert.equal(running + waiting, living.length);
    assert.ok(running <= this.server.options.maxNumSeqs);
  }
}
