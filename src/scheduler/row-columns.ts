/** What belongs to a row, written once, at admission: nothing of it changes while a dispatched step may read the row. */
import type { ReasoningMarker } from '../sampling/params.js';
import type { RowColumns } from '../step/buffers.js';
import { badWordsLenMax, markerLenMax, maxAllowedIds, maxBiasLen, maxLogprobIds, maxStopIds, type StepDims } from '../step/layout.js';
import type { Sequence } from './sequence.js';

export function writeRow(rows: RowColumns, dims: StepDims, seq: Sequence): void {
  const { row, input } = seq;
  const { sampling, seed } = input;
  rows.tokens.set(seq.tokens.subarray(0, seq.numTokens), row * dims.maxSeqLen);
  rows.promptLen[row] = seq.promptLen;
  rows.secondSegment[row] = input.pooling?.secondSegment ?? seq.promptLen;
  rows.temperature[row] = sampling.temperature;
  rows.topP[row] = sampling.topP;
  rows.topK[row] = sampling.topK;
  rows.minP[row] = sampling.minP;
  rows.presencePenalty[row] = sampling.presencePenalty;
  rows.frequencyPenalty[row] = sampling.frequencyPenalty;
  rows.repetitionPenalty[row] = sampling.repetitionPenalty;
  rows.seedLow[row] = Number(BigInt.asIntN(32, seed));
  rows.seedHigh[row] = Number(BigInt.asIntN(32, seed >> 32n));
  rows.choice[row] = input.choice;
  rows.numLogprobs[row] = sampling.numLogprobs ?? -1;
  rows.numPromptLogprobs[row] = sampling.numPromptLogprobs ?? -1;
  rows.grammar[row] = input.grammar ?? 0;
  writeThinking(rows, seq);
  writeAllowed(rows, seq);
  writeBadWords(rows, seq);
  rows.numLogprobIds[row] = sampling.logprobIds.length;
  rows.logprobIds.set(sampling.logprobIds, row * maxLogprobIds);
  writeBias(rows, seq);
  writeStopIds(rows, seq);
}

function writeThinking(rows: RowColumns, { row, input }: Sequence): void {
  const { thinking } = input.sampling;
  rows.thinkingBudget[row] = thinking?.budget ?? -1;
  if (thinking === null) return;
  const { begin, end, forced } = thinking;
  rows.thinkingBeginLen[row] = begin === null ? 0 : writeMarker(rows.thinkingBegin, row, begin);
  rows.thinkingEndLen[row] = writeMarker(rows.thinkingEnd, row, end);
  rows.thinkingEndIdsLen[row] = forced.length;
  rows.thinkingEndIds.set(forced, row * markerLenMax);
}

/** Bytes of the marker; -1: it is one id. */
function writeMarker(column: Int32Array, row: number, marker: ReasoningMarker): number {
  const isId = typeof marker === 'number';
  column.set(isId ? [marker] : marker, row * markerLenMax);
  return isId ? -1 : marker.length;
}

function writeAllowed(rows: RowColumns, { row, input }: Sequence): void {
  const ids = input.sampling.allowedTokenIds ?? [];
  rows.numAllowed[row] = ids.length;
  rows.allowedIds.set(ids, row * maxAllowedIds);
}

function writeBadWords(rows: RowColumns, { row, input }: Sequence): void {
  const start = row * badWordsLenMax;
  let at = start;
  for (const word of input.sampling.badWords) {
    rows.badWords[at] = word.length;
    rows.badWords.set(word, at + 1);
    at += 1 + word.length;
  }
  rows.badWordsLen[row] = at - start;
}

function writeBias(rows: RowColumns, seq: Sequence): void {
  const bias = seq.input.sampling.logitBias;
  rows.numBias[seq.row] = bias.length;
  for (let i = 0; i < bias.length; i++) {
    rows.biasIds[seq.row * maxBiasLen + i] = bias[i]![0];
    rows.biasValues[seq.row * maxBiasLen + i] = bias[i]![1];
  }
}

/** What could end the sequence; the sampler masks it until `minTokens` ids are there. */
function writeStopIds(rows: RowColumns, seq: Sequence): void {
  const { row, eosIds, stopIds } = seq;
  rows.minTokens[row] = seq.minTokens;
  rows.numStopIds[row] = eosIds.length + stopIds.length;
  rows.stopIds.set(eosIds, row * maxStopIds);
  rows.stopIds.set(stopIds, row * maxStopIds + eosIds.length);
}
