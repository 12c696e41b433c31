// The head, pooling and sampling: rows of logits are dealt over all threads (of all ranks, in gather mode).
#include <algorithm>
#include <cstring>

#include "cpu/backend.h"

namespace lockstep::cpu {

// An entry is one thread's: its hidden states are added up in the order of positions, one after the other, so that the sum has the same
// bits whatever the chunks, the batch and the number of ranks and threads.
void CpuBackend::pool_entry(const StepEntry& entry, float* scratch) const {
  const Norm norm{&spec_.final_norm, w_.final_norm, w_.final_norm_bias};
  float* pooled = group_->buffers().rows.pooled + static_cast<size_t>(entry.row) * spec_.hidden;
  for (int slot = entry.pool_slot; slot < entry.pool_slot + entry.num_pooled; slot++) {
    const float* x = a_.x + static_cast<size_t>(slot) * s_.ld_hidden;
    if (slot == entry.pool_slot && !entry.pool_adds) {
      apply_norm(norm, x, pooled);
    } else {
      apply_norm(norm, x, scratch);
      k_.add(scratch, spec_.hidden, pooled);
    }
  }
}

void CpuBackend::pool() {
  if (!gather_ && shard_.rank != 0) return;  // every rank has all of x
  const std::vector<StepEntry>& entries = step_->entries;
  const Range mine = my_rows(static_cast<int>(entries.size()));
  threads_->run(mine.count, 1, [&](int thread, int first, int n) {
    for (int i = mine.first + first; i < mine.first + first + n; i++) pool_entry(entries[i], row_scratch_ + row_scratch_ld_ * thread);
  });
}

void CpuBackend::head_input(int first, int count) {
  const Norm norm{&spec_.final_norm, w_.final_norm, w_.final_norm_bias};
  prepare({a_.x, static_cast<size_t>(s_.ld_hidden), step_->outputs.data() + first}, count, spec_.hidden, w_.head.input_kinds, &norm);
}

void CpuBackend::head(int, int count) {
  const GemmOut out{Epilogue::kStore, Activation::kSilu, nullptr, a_.logits, static_cast<size_t>(s_.ld_logits), nullptr, nullptr, nullptr};
  multiply_shared([](const Weights& w) -> const Matrix& { return w.head; }, input_of(spec_.hidden, 0), count, out);
}

// Row i of the logits, whole. In reduce mode the ranks' parts are put side by side in `scratch`.
float* CpuBackend::whole_row(int i, float* scratch) const {
  if (gather_) return a_.logits + static_cast<size_t>(i) * s_.ld_logits;
  const int units = round_up(spec_.vocab, kBlockRows) / kBlockRows;
  int first = 0;
  for (int r = 0; r < shard_.world_size; r++) {
    const int blocks = units / shard_.world_size + (r < units % shard_.world_size ? 1 : 0);  // as parallel/sharding.ts cuts
    const int count = std::min(blocks * kBlockRows, spec_.vocab - first);
    const float* part = logits_whole_ + (static_cast<size_t>(r) * kHeadRows + i) * s_.ld_logits;
    std::memcpy(scratch + first, part, sizeof(float) * std::max(count, 0));
    first += std::max(count, 0);
  }
  return scratch;
}

ThinkingBudget CpuBackend::thinking_of(int row) const {
  const RowColumns& rows = group_->buffers().rows;
  ThinkingBudget budget;
  budget.tokens = rows.thinkingBudget[row];
  if (budget.tokens < 0) return budget;
  const auto marker_of = [row](const int32_t* words, const int32_t* lengths) {
    const int32_t* text = words + static_cast<size_t>(row) * kMarkerLenMax;
    Marker marker;
    if (lengths[row] < 0) marker.id = text[0];
    marker.text = text;
    marker.text_len = std::clamp(lengths[row], 0, kMarkerLenMax);
    return marker;
  };
  budget.begin = marker_of(rows.thinkingBegin, rows.thinkingBeginLen);
  budget.end = marker_of(rows.thinkingEnd, rows.thinkingEndLen);
  budget.end_ids = rows.thinkingEndIds + static_cast<size_t>(row) * kMarkerLenMax;
  budget.num_end_ids = std::clamp(rows.thinkingEndIdsLen[row], 0, kMarkerLenMax);
  // An id that the model has no row for would break the step in which it is read.
  for (int i = 0; i < budget.num_end_ids; i++) {
    if (budget.end_ids[i] < 0 || budget.end_ids[i] >= spec_.vocab) budget.tokens = -1;
  }
  if (budget.begin.text_len > 0 || budget.end.text_len > 0) budget.texts = group_->grammars()->vocabulary();
  return budget;
}

SampleParams CpuBackend::params_of(const StepOutput& output) const {
  const StepDims& dims = group_->buffers().dims;
  const RowColumns& rows = group_->buffers().rows;
  const int row = output.row;
  const int next = output.position + 1;
  SampleParams p;
  p.temperature = rows.temperature[row];
  p.top_p = rows.topP[row];
  p.min_p = rows.minP[row];
  p.top_k = rows.topK[row];
  p.presence = rows.presencePenalty[row];
  p.frequency = rows.frequencyPenalty[row];
  p.repetition = rows.repetitionPenalty[row];
  p.key = {static_cast<uint32_t>(rows.seedLow[row]), static_cast<uint32_t>(rows.seedHigh[row])};
  p.choice = static_cast<uint32_t>(rows.choice[row]);
  p.position = static_cast<uint32_t>(next);
  p.bias_ids = rows.biasIds + static_cast<size_t>(row) * kMaxBiasLen;
  p.bias_values = rows.biasValues + static_cast<size_t>(row) * kMaxBiasLen;
  p.num_bias = std::clamp(rows.numBias[row], 0, kMaxBiasLen);
  p.stop_ids = rows.stopIds + static_cast<size_t>(row) * kMaxStopIds;
  p.num_stop = std::clamp(rows.numStopIds[row], 0, kMaxStopIds);
  p.stop_masked = next - rows.promptLen[row] < rows.minTokens[row];
  p.mask = nullptr;
  p.may_stop = output.grammar != nullptr && output.grammar->is_complete(output.grammar_at);
  p.allowed_ids = rows.allowedIds + static_cast<size_t>(row) * kMaxAllowedIds;
  p.num_allowed = std::clamp(rows.numAllowed[row], 0, kMaxAllowedIds);
  p.bad_words = rows.badWords + static_cast<size_t>(row) * kBadWordsLenMax;
  p.bad_words_len = std::clamp(rows.badWordsLen[row], 0, kBadWordsLenMax);
  p.thinking = thinking_of(row);
  p.tokens = rows.tokens + static_cast<size_t>(row) * dims.max_seq_len;
  p.num_tokens = next - output.draw;
  p.drafts = step_->slot_token.data() + output.slot + 1 - output.draw;
  p.num_drafts = output.draw;
  p.prompt_len = rows.promptLen[row];
  return p;
}

// The id for an output, or one of the sampler's reasons for none.
int32_t CpuBackend::sample_row(const StepOutput& output, const float* logits, int thread) {
  SampleParams params = params_of(output);
  // A position that is dead is behind an end or a wrong draft: nobody looks at what is drawn there.
  const bool follows = output.grammar != nullptr && output.grammar_at != GrammarRun::kDead;
  const std::shared_ptr<const TokenMask> mask = follows ? output.grammar->mask(output.grammar_at) : nullptr;
  if (follows && !mask) return kNothingAllowed;
  params.mask = mask.get();
  return samplers_[thread].sample(logits, params);
}

// Samples or scores output `index`, whose logits are row i. Only one thread of one rank writes an output; in reduce mode, where every
// rank comes to the same id, that is rank 0's.
void CpuBackend::sample_output(int index, int i, int thread) {
  const StepDims& dims = group_->buffers().dims;
  const RowColumns& rows = group_->buffers().rows;
  const ResultColumns& result = group_->buffers().result[step_->slot];
  const StepOutput& output = step_->outputs[index];
  float* logits = whole_row(i, gather_ ? nullptr : row_logits_.data() + static_cast<size_t>(thread) * spec_.vocab);
  if (spec_.logit_scale != 1) {
    for (int id = 0; id < spec_.vocab; id++) logits[id] *= spec_.logit_scale;
  }
  if (spec_.logit_softcap > 0) k_.softcap(logits, spec_.vocab, spec_.logit_softcap);

  int32_t* tokens = rows.tokens + static_cast<size_t>(output.row) * dims.max_seq_len;
  const int next = output.position + 1;
  int32_t id = -1;
  if (output.sample) {
    id = sample_row(output, logits, thread);
    if (id == kNotNumbers) {
      fault_.store(1, std::memory_order_relaxed);
      return;
    }
  } else {
    id = tokens[next];
    if (id < 0 || id >= spec_.vocab) id = 0;
  }
  if (!gather_ && shard_.rank != 0) return;
  if (output.sample) {
    // After a wrong draft this is no token of the sequence; a later step overwrites it before anyone reads so far.
    if (next < dims.max_seq_len) tokens[next] = std::max(id, 0);
    result.sampledIds[static_cast<size_t>(output.entry) * (dims.max_drafts + 1) + output.draw] = id;
    id = std::max(id, 0);
  }
  result.outputIds[output.at] = id;
  const int wanted = output.sample ? rows.numLogprobs[output.row] : rows.numPromptLogprobs[output.row];
  if (wanted < 0) return;
  const size_t top = static_cast<size_t>(output.at) * dims.max_logprobs;
  const int shown = std::min(wanted, dims.max_logprobs);
  const int num_ids = output.sample ? std::min(rows.numLogprobIds[output.row], std::min(shown, kMaxLogprobIds)) : 0;
  const int32_t* ids = rows.logprobIds + static_cast<size_t>(output.row) * kMaxLogprobIds;
  Sampler& sampler = samplers_[thread];
  const TokenScore score = num_ids > 0 ? sampler.score_ids(logits, id, ids, num_ids, result.topIds + top, result.topLogprobs + top)
                                       : sampler.score(logits, id, shown, result.topIds + top, result.topLogprobs + top);
  result.outputLogprobs[output.at] = score.logprob;
  result.outputRanks[output.at] = score.rank;
}

Status CpuBackend::sample(int first, int count) {
  const Range mine = my_rows(count);
  threads_->run(mine.count, 1, [&](int thread, int at, int n) {
    for (int i = mine.first + at; i < mine.first + at + n; i++) sample_output(first + i, i, thread);
  });
  if (fault_.load(std::memory_order_relaxed) != 0)
    return Status(Fault::kNumerics, "the logits are not numbers: broken weights or an overflow");
  return threads_->status();
}

}  // namespace lockstep::cpu
