/**
 * Who runs in a step and with how many tokens (`schedule`), and what came back (`update`). Pure: no I/O, no clock, no threads;
 * the same calls give the same plans. Who waits for a result, and when, is the engine's business.
 *
 * There are no phases. A sequence has tokens, and tokens that are scheduled; a step schedules some of the difference. Prefill,
 * chunks of it, decode, what a prefix hit leaves over and the recomputation after a preemption are all this one rule.
 *
 * A step is planned while the one before it runs. So a sequence's `numScheduled` runs ahead of `numProcessed`, its newest id may
 * be pending, and row and blocks are given back only at the fence: when the last step that reads them has come back.
 */
import type { StepBuffers, StepPlan, StepResult } from '../step/buffers.js';
import { entryFlag, rowOutcome, type StepDims } from '../step/layout.js';
import { TokenBudget } from './budget.js';
import { FairShare, soleOwner } from './fair-share.js';
import { KvCache } from './kv-cache.js';
import type { SchedulerOptions } from './options.js';
import { finishCode, type MutableOutput, makeOutput, type SchedulerOutput } from './output.js';
import { PlanWriter } from './plan-writer.js';
import { SequenceQueue } from './queue.js';
import { checkInput, checkOptions } from './refusals.js';
import { writeRow } from './row-columns.js';
import { Sequence, type SequenceInput } from './sequence.js';
import { Speculation, type SpeculationCounters } from './speculation.js';

export interface SchedulerCounters {
  readonly running: number;
  /** The preempted among them. */
  readonly waiting: number;
  /** 0 … 1, share of blocks that are referenced. */
  readonly kvCacheUsage: number;
  readonly preemptions: number;
  /** Tokens looked up in the prefix cache, and found there; first admissions only. */
  readonly prefixCacheQueries: number;
  readonly prefixCacheHits: number;
  readonly speculation: SpeculationCounters | null;
}

/** How often a sequence that does not fit can be overtaken; then admission stops until enough of the running have ended. */
export const maxOvertakes = 16;
/** How many sequences that do not fit are passed over in the search for one that does. */
export const maxLookahead = 8;

/**
 * 128 sequences in a pool for 19 of them computed 51 % more tokens than they had, after preemptions, without such room; 16 % more
 * with 2 blocks, in 1 % more steps; 10 % more with 4 blocks, in 7 % more steps.
 */
const growthBlocksDefault = 2;

/** Most ids of a step that are known beforehand, because a sequence's grammar leaves no other. */
export const forcedIdsMax = 8;

export class Scheduler {
  private readonly dims: StepDims;
  private readonly watermarkBlocks: number;
  private readonly growthBlocks: number;
  private readonly sequences = new Map<number, Sequence>();
  private readonly waiting = new SequenceQueue();
  private readonly running = new SequenceQueue();
  private readonly shares = new FairShare();
  private readonly budget: TokenBudget;
  private readonly kv: KvCache;
  private readonly plans: PlanWriter;
  private readonly speculation: Speculation | null;
  private readonly output: MutableOutput;
  private readonly freeRows: Int32Array; // [maxRows] a stack
  private numFreeRows: number;
  /** Epochs of the newest step that was scheduled and of the newest that came back. The first step is 1. */
  private scheduled = 0;
  private processed = 0;
  /** Coming blocks that sequences of this step wait for. */
  private reserved = 0;
  /** Blocks that an admission in this step leaves free. */
  private spare = 0;
  private held = false;
  private numArrivals = 0;
  private numPreemptions = 0;
  private prefixQueries = 0;
  private prefixHits = 0;

  constructor(
    private readonly buffers: StepBuffers,
    private readonly options: SchedulerOptions,
  ) {
    const dims = buffers.layout.dims;
    checkOptions(options, dims);
    this.dims = dims;
    this.growthBlocks = options.growthBlocks ?? growthBlocksDefault;
    this.watermarkBlocks = Math.floor(options.watermark * dims.numBlocks);
    this.budget = new TokenBudget({ maxTokens: dims.maxTokens, ...options });
    this.kv = new KvCache(buffers.rows.blockTables, dims, options.enablePrefixCaching);
    const { speculation } = options;
    this.speculation = speculation === undefined ? null : new Speculation(speculation);
    this.plans = new PlanWriter(buffers, speculation ?? null);
    this.output = makeOutput(dims, buffers.results[0]!);
    this.freeRows = Int32Array.from({ length: dims.maxRows }, (_, i) => dims.maxRows - 1 - i);
    this.numFreeRows = dims.maxRows;
  }

  /** Puts a sequence in the queue. Throws `LockstepError` for one that could never run; nothing is changed then. */
  add(input: SequenceInput): void {
    if (this.sequences.has(input.key)) throw new Error(`sequence key ${input.key} is in use`);
    checkInput(input, this.dims);
    const priority = this.options.policy === 'priority' ? input.priority : 0;
    const turn = this.shares.turnOf(input.share ?? soleOwner);
    const seq = new Sequence(input, this.numArrivals++, priority, this.dims.maxSeqLen, turn);
    this.sequences.set(seq.key, seq);
    this.waiting.insert(seq);
  }

  /** The sequence is wanted no more: it is in no later plan, and no later output speaks of it. Unknown keys are ignored. */
  abort(key: number): void {
    const seq = this.sequences.get(key);
    if (seq !== undefined) this.finish(seq);
  }

  /** While held, nobody comes in: the running go on, the waiting wait. */
  hold(held: boolean): void {
    this.held = held;
  }

  /** The running lose their blocks and wait, the first to come first; what they have is computed anew, and their tokens are the same. */
  preemptAll(): void {
    while (this.running.length > 0) this.preempt(this.running.at(this.running.length - 1));
  }

  /** Nothing runs, and every step is back. */
  isStill(): boolean {
    return this.running.length === 0 && this.processed === this.scheduled;
  }

  /** The prefix cache is empty afterwards. Blocks in use stay with their sequences, and are found by nobody else. */
  forgetPrefixes(): void {
    this.kv.forgetPrefixes();
  }

  /** Whether there is something to schedule or to wait for. */
  hasWork(): boolean {
    return this.running.length + this.waiting.length > 0 || this.processed < this.scheduled;
  }

  counters(): SchedulerCounters {
    return {
      running: this.running.length,
      waiting: this.waiting.length,
      kvCacheUsage: 1 - this.kv.pool.numFree / this.dims.numBlocks,
      preemptions: this.numPreemptions,
      prefixCacheQueries: this.prefixQueries,
      prefixCacheHits: this.prefixHits,
      speculation: this.speculation?.counters() ?? null,
    };
  }

  /**
   * Plans the next step, which must then be dispatched. null: as many as allowed are in flight, or there is nothing to do before
   * the next result or arrival.
   */
  schedule(): StepPlan | null {
    if (this.scheduled - this.processed >= this.options.maxInFlight) return null;
    this.plans.begin(this.scheduled + 1);
    this.budget.begin();
    this.reserved = 0;
    this.speculation?.plan(this.running, this.scheduled + 1);
    this.scheduleRunning();
    // Whoever came in while one of the running waits for a fence would take what it waits for.
    if (this.reserved === 0) this.admitWaiting();
    if (this.plans.numEntries === 0) return null;
    this.scheduled++;
    return this.plans.finish();
  }

  /** Takes the result of the oldest step in flight. The output is valid until the next call. */
  update(result: StepResult): SchedulerOutput {
    const epoch = this.processed + 1;
    if (epoch > this.scheduled || result.resultHeader[0] !== (epoch | 0)) {
      throw new Error(`result of step ${result.resultHeader[0]} came, ${epoch <= this.scheduled ? epoch : 'none'} was due`);
    }
    this.processed = epoch;
    this.output.numEntries = 0;
    this.output.result = result;
    const plan = this.plans.plan(epoch);
    this.speculation?.book(plan, result);
    const numEntries = plan.planHeader[1]!;
    for (let i = 0; i < numEntries; i++) this.updateEntry(this.plans.take(epoch, i), epoch, i);
    return this.output;
  }

  /** The running, first to last: the last ones are those who are preempted, so a victim is never already in the plan. */
  private scheduleRunning(): void {
    for (let i = 0; i < this.running.length && this.budget.remaining > 0; i++) {
      const seq = this.running.at(i);
      const wanted = seq.wanted();
      if (wanted === 0) continue;
      const behind = this.running.length - 1 - i;
      const count = this.budget.grant(wanted, behind);
      if (count === 0) continue;
      const numNew = this.kv.blocksFor(seq.contextMax(count)) - seq.numBlocks;
      if (numNew > 0) {
        if (!this.obtain(numNew, seq)) continue;
        this.kv.grow(seq, numNew);
      }
      // What a grammar forces is known to the ranks alone, which take as much of this room as they need.
      if (seq.followsGrammar && seq.isDecoding()) seq.numDrafts = Math.min(forcedIdsMax, this.dims.maxDrafts, seq.room() - 1);
      this.fitDrafts(seq, behind);
      this.place(seq, count, 0);
    }
  }

  /** Drafts take only what is left over: slots that nobody behind needs, and blocks that are free. */
  private fitDrafts(seq: Sequence, behind: number): void {
    seq.numDrafts = Math.max(0, Math.min(seq.numDrafts, this.budget.remaining - 1 - behind));
    const { pool } = this.kv;
    while (seq.numDrafts > 0) {
      const numNew = this.kv.blocksFor(seq.contextMax(1 + seq.numDrafts)) - seq.numBlocks;
      if (numNew <= Math.min(pool.numFree, pool.numFree + pool.numComing - this.reserved)) {
        if (numNew > 0) this.kv.grow(seq, numNew);
        return;
      }
      seq.numDrafts--;
    }
  }

  /**
   * Sees to it that `count` blocks are free for `seq`, if need be by preempting the last of the running, which may be `seq`
   * itself. false: not in this step. Blocks that a fence frees are waited for; to preempt for them too would empty the house.
   */
  private obtain(count: number, seq: Sequence): boolean {
    const { pool } = this.kv;
    while (pool.numFree + pool.numComing - this.reserved < count) {
      const victim = this.running.at(this.running.length - 1);
      this.preempt(victim);
      if (victim === seq) return false;
    }
    if (pool.numFree >= count) return true;
    this.reserved += count;
    return false;
  }

  private preempt(seq: Sequence): void {
    this.numPreemptions++;
    seq.numPreemptions++;
    this.running.remove(seq);
    this.kv.retire(seq);
    seq.state = 'preempted';
    if (seq.numInFlight === 0) this.vacate(seq);
    this.waiting.insert(seq);
  }

  /** In order, but one that does not fit may be overtaken by those behind it, up to a bound: neither waits for ever. */
  private admitWaiting(): void {
    if (this.held || this.waiting.length === 0 || this.running.length >= this.options.maxNumSeqs) return;
    this.spare = this.watermarkBlocks;
    for (let i = 0; i < this.running.length; i++) this.spare += this.growth(this.running.at(i));
    let passed = 0;
    while (passed < this.waiting.length && passed <= maxLookahead) {
      if (this.budget.remaining === 0 || this.numFreeRows === 0 || this.running.length >= this.options.maxNumSeqs) return;
      const seq = this.waiting.at(passed);
      if (this.admit(seq)) {
        if (this.noteOvertaken(passed)) return;
      } else {
        // The preempted are not overtaken at all: a newcomer would live in the memory that they were turned out of.
        if (seq.state === 'preempted' || seq.overtaken >= maxOvertakes) return;
        passed++;
      }
    }
  }

  /** Blocks that a running sequence is given room for. */
  private growth(seq: Sequence): number {
    return Math.min(this.growthBlocks, this.kv.blocksFor(Math.max(seq.endLen - 1, seq.numTokens)) - seq.numBlocks);
  }

  /** The first `count` of the queue were overtaken. Whether that was the last time for one of them. */
  private noteOvertaken(count: number): boolean {
    let enough = false;
    for (let i = 0; i < count; i++) {
      if (++this.waiting.at(i).overtaken >= maxOvertakes) enough = true;
    }
    return enough;
  }

  /** Admits a sequence if all its tokens fit now. */
  private admit(seq: Sequence): boolean {
    // Preempted, and its last step is not back: it may bring an id, and the row is still read.
    if (seq.numInFlight > 0) return false;
    const alone = this.running.length === 0;
    if (!alone && seq.refusedAt === this.kv.version) return false;
    const cached = this.kv.match(seq);
    const count = this.budget.grant(seq.numTokens - cached, 0);
    if (count === 0) return false;
    if (!this.kv.fits(seq, alone ? 0 : this.spare)) {
      seq.refusedAt = this.kv.version;
      return false;
    }
    this.waiting.remove(seq);
    this.running.insert(seq);
    this.shares.admitted(seq.turn);
    seq.state = 'running';
    seq.row = this.freeRows[--this.numFreeRows]!;
    this.kv.admit(seq);
    writeRow(this.buffers.rows, this.dims, seq);
    this.spare += this.growth(seq);
    this.countPrefix(seq, cached);
    this.place(seq, count, entryFlag.reset);
    return true;
  }

  /** At the first admission. */
  private countPrefix(seq: Sequence, cached: number): void {
    if (seq.cachedTokens >= 0) return;
    seq.cachedTokens = cached;
    seq.firstStep = (this.scheduled + 1) | 0;
    if (!this.options.enablePrefixCaching) return;
    this.prefixQueries += seq.promptLen;
    this.prefixHits += cached;
  }

  /**
   * Puts the next `count` tokens of a sequence, whose blocks are there, in the plan, and its drafts. With speculation the rank knows where a
   * decoding row stands, and the plan says only how far it may come. To wait for the result instead would put the host between any two
   * steps: at 2.5 ms a step that costs more than most drafts bring.
   */
  private place(seq: Sequence, count: number, firstFlags: number): void {
    const end = seq.numScheduled + count;
    const length = seq.numTokens + seq.numPending;
    const samples = end === length && length < seq.endLen;
    let flags = firstFlags;
    if (samples) flags |= entryFlag.sample;
    if (seq.wantsPromptLogprobs && seq.numScheduled < seq.promptLen - 1 && end > seq.promptScored) flags |= entryFlag.promptLogprobs;
    flags |= seq.poolFlags(seq.numScheduled, end);
    const looksUp = (this.speculation !== null || seq.followsGrammar) && firstFlags === 0 && seq.isDecoding();
    const slots = looksUp ? 1 + seq.numDrafts : count;
    this.plans.append(seq, looksUp ? -1 : seq.numScheduled, slots, seq.contextMax(slots), flags);
    this.budget.remaining -= slots;
    seq.numScheduled = end;
    seq.numDraftsInFlight += slots - count;
    seq.numInFlight++;
    if (samples) seq.numPending++;
    this.kv.register(seq);
  }

  private updateEntry(seq: Sequence, epoch: number, i: number): void {
    const plan = this.plans.plan(epoch);
    const slots = plan.queryStart[i + 1]! - plan.queryStart[i]!;
    const lookedUp = plan.startPosition[i] === -1;
    seq.numInFlight--;
    if (lookedUp) seq.numDraftsInFlight -= slots - 1;
    const at = this.output.numEntries;
    if (seq.state !== 'finished') {
      if (lookedUp && !seq.followsGrammar) this.speculation?.learn(seq, this.output.result, i);
      // What a preempted sequence had on its way is computed anew, but an id that was sampled is kept.
      if (seq.state === 'running') this.advance(seq, lookedUp ? this.output.result.numSampled[i]! : slots, lookedUp ? 1 : slots);
      this.openEntry(seq, plan.rows[i]!, at);
      const flags = plan.entryFlags[i]!;
      if (flags & entryFlag.promptLogprobs) this.takePromptScores(seq, plan, i, at);
      if (flags & entryFlag.sample) this.takeIds(seq, plan, i, at);
      else if (seq.endLen === seq.promptLen && seq.numProcessed === seq.promptLen) this.output.finish[at] = finishCode.length;
      this.closeEntry(seq, at);
    }
    // The fence: no dispatched step reads the row or its blocks any more.
    if (seq.state !== 'running' && seq.numInFlight === 0 && seq.row >= 0) this.vacate(seq);
  }

  /** `count` tokens are computed, of which `scheduled` were counted when they were planned: the rest are drafts that were right. */
  private advance(seq: Sequence, count: number, scheduled: number): void {
    seq.numProcessed += count;
    seq.numScheduled += count - scheduled;
  }

  private openEntry(seq: Sequence, row: number, at: number): void {
    const { output } = this;
    output.keys[at] = seq.key;
    output.rows[at] = row;
    output.numIds[at] = 0;
    output.finish[at] = finishCode.none;
    output.stopId[at] = -1;
    output.cachedTokens[at] = seq.cachedTokens;
    output.firstStep[at] = seq.firstStep;
    output.numPreemptions[at] = seq.numPreemptions;
    output.numPrompt[at] = 0;
  }

  /** Keeps the entry if it says something, and ends a sequence that has come to its end. */
  private closeEntry(seq: Sequence, at: number): void {
    const { output } = this;
    if (output.numIds[at] === 0 && output.numPrompt[at] === 0 && output.finish[at] === finishCode.none) return;
    output.numEntries = at + 1;
    if (output.finish[at] !== finishCode.none) this.finish(seq);
  }

  /** Slot j of the chunk scores the token after it; after a preemption some were delivered before. */
  private takePromptScores(seq: Sequence, plan: StepPlan, i: number, at: number): void {
    const start = plan.startPosition[i]!;
    const first = Math.max(start + 1, seq.promptScored + 1);
    const last = Math.min(start + plan.queryStart[i + 1]! - plan.queryStart[i]!, seq.promptLen - 1);
    if (last < first) return;
    this.output.promptPosition[at] = first;
    this.output.numPrompt[at] = last - first + 1;
    this.output.promptOutputStart[at] = plan.outputStart[i]! + first - start - 1;
    seq.promptScored = last;
  }

  private takeIds(seq: Sequence, plan: StepPlan, i: number, at: number): void {
    const { output } = this;
    const { maxIds, result } = output;
    const numSampled = result.numSampled[i]!;
    const most = plan.startPosition[i] === -1 ? plan.queryStart[i + 1]! - plan.queryStart[i]! : 1;
    if (numSampled < 1 || numSampled > most)
      throw new Error(`entry ${i} of step ${this.processed} brought ${numSampled} ids of 1 to ${most}`);
    seq.numPending--;
    output.outputStart[at] = plan.startPosition[i] === -1 ? plan.outputStart[i]! : plan.outputStart[i + 1]! - 1;
    for (let j = 0; j < numSampled && output.finish[at] === finishCode.none; j++) {
      const id = result.sampledIds[i * maxIds + j]!;
      if (id < 0) break; // stuck
      seq.append(id);
      output.ids[at * maxIds + j] = id;
      output.numIds[at] = j + 1;
      this.judge(seq, id, at);
    }
    const outcome = result.outcome[i]!;
    if (outcome !== rowOutcome.goesOn && output.finish[at] === finishCode.none) {
      output.finish[at] = outcome === rowOutcome.ended ? finishCode.stop : finishCode.stuck;
    }
    // With these ids a block may have become full whose last token is scheduled already.
    if (seq.state === 'running') this.kv.register(seq);
  }

  /** Whether `id`, its newest, ends the sequence. */
  private judge(seq: Sequence, id: number, at: number): void {
    const { output } = this;
    if (seq.numTokens - seq.promptLen > seq.minTokens) {
      if (seq.eosIds.includes(id)) {
        output.finish[at] = finishCode.stop;
        return;
      }
      if (seq.stopIds.includes(id)) {
        output.finish[at] = finishCode.stop;
        output.stopId[at] = id;
        return;
      }
    }
    if (seq.numTokens >= seq.endLen) output.finish[at] = finishCode.length;
  }

  /** Takes a sequence out of the schedule; its row and blocks follow at the fence. */
  private finish(seq: Sequence): void {
    if (seq.state === 'running') {
      this.running.remove(seq);
      this.kv.retire(seq);
    } else {
      this.waiting.remove(seq);
    }
    seq.state = 'finished';
    this.sequences.delete(seq.key);
    if (seq.numInFlight === 0 && seq.row >= 0) this.vacate(seq);
  }

  /** Gives row and blocks back, which are retired. */
  private vacate(seq: Sequence): void {
    this.kv.release(seq);
    this.freeRows[this.numFreeRows++] = seq.row;
    seq.row = -1;
    seq.numScheduled = 0;
    seq.numProcessed = 0;
  }
}
