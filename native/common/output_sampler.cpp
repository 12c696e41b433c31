#include "common/output_sampler.h"

#include <algorithm>
#include <cstring>

namespace lockstep {

void join_vocabulary(const float* parts, int world_size, int rows, int row, int ld, int vocab, float* out) {
  const int units = (vocab + kVocabUnit - 1) / kVocabUnit;
  int first = 0;
  for (int r = 0; r < world_size; r++) {
    const int held = units / world_size + (r < units % world_size ? 1 : 0);
    const int count = std::max(std::min(held * kVocabUnit, vocab - first), 0);
    const float* part = parts + (static_cast<size_t>(r) * rows + row) * ld;
    std::memcpy(out + first, part, sizeof(float) * count);
    first += count;
  }
}

ThinkingBudget OutputSampler::thinking_of(int row) const {
  const RowColumns& rows = buffers_->rows;
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
    if (budget.end_ids[i] < 0 || budget.end_ids[i] >= spec_->vocab) budget.tokens = -1;
  }
  if (budget.begin.text_len > 0 || budget.end.text_len > 0) budget.texts = grammars_->vocabulary();
  return budget;
}

SampleParams OutputSampler::params_of(const StepView& step, const StepOutput& output) const {
  const StepDims& dims = buffers_->dims;
  const RowColumns& rows = buffers_->rows;
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
  p.drafts = step.slot_token.data() + output.slot + 1 - output.draw;
  p.num_drafts = output.draw;
  p.prompt_len = rows.promptLen[row];
  return p;
}

OutputRequest OutputSampler::request_of(const StepView& step, const StepOutput& output) const {
  const StepDims& dims = buffers_->dims;
  const RowColumns& rows = buffers_->rows;
  OutputRequest request{};
  request.samples = output.sample;
  if (output.sample) {
    request.params = params_of(step, output);
    // A position that is dead is behind an end or a wrong draft: nobody looks at what is drawn there.
    const bool follows = output.grammar != nullptr && output.grammar_at != GrammarRun::kDead;
    if (follows) request.mask = output.grammar->mask(output.grammar_at);
    request.params.mask = request.mask.get();
    request.is_stuck = follows && !request.mask;
  } else {
    const int32_t id = rows.tokens[static_cast<size_t>(output.row) * dims.max_seq_len + output.position + 1];
    request.scored_id = id < 0 || id >= spec_->vocab ? 0 : id;
  }
  const int wanted = output.sample ? rows.numLogprobs[output.row] : rows.numPromptLogprobs[output.row];
  request.num_top = std::max(std::min(wanted, dims.max_logprobs), -1);
  request.num_ids = output.sample ? std::max(0, std::min(rows.numLogprobIds[output.row], std::min(request.num_top, kMaxLogprobIds))) : 0;
  request.ids = rows.logprobIds + static_cast<size_t>(output.row) * kMaxLogprobIds;
  return request;
}

void OutputSampler::write_id(const StepView& step, const StepOutput& output, int32_t id) const {
  const StepDims& dims = buffers_->dims;
  const ResultColumns& result = buffers_->result[step.slot];
  if (output.sample) {
    // After a wrong draft this is no token of the sequence; a later step overwrites it before anyone reads so far.
    const int next = output.position + 1;
    if (next < dims.max_seq_len) buffers_->rows.tokens[static_cast<size_t>(output.row) * dims.max_seq_len + next] = std::max(id, 0);
    result.sampledIds[static_cast<size_t>(output.entry) * (dims.max_drafts + 1) + output.draw] = id;
  }
  result.outputIds[output.at] = std::max(id, 0);
}

ScorePlace OutputSampler::score_place(const StepView& step, const StepOutput& output) const {
  const ResultColumns& result = buffers_->result[step.slot];
  const size_t top = static_cast<size_t>(output.at) * buffers_->dims.max_logprobs;
  return {result.outputLogprobs + output.at, result.outputRanks + output.at, result.topIds + top, result.topLogprobs + top};
}

bool OutputSampler::sample(const StepView& step, int index, float* logits, bool writes, Sampler* sampler) const {
  const StepOutput& output = step.outputs[index];
  if (spec_->logit_scale != 1) {
    for (int id = 0; id < spec_->vocab; id++) logits[id] *= spec_->logit_scale;
  }
  if (spec_->logit_softcap > 0) ops_.softcap(logits, spec_->vocab, spec_->logit_softcap);
  const OutputRequest request = request_of(step, output);
  const int32_t id = !request.samples ? request.scored_id : request.is_stuck ? kNothingAllowed : sampler->sample(logits, request.params);
  if (id == kNotNumbers) return false;
  if (!writes) return true;
  write_id(step, output, id);
  if (request.num_top < 0) return true;
  const ScorePlace place = score_place(step, output);
  const int32_t scored = std::max(id, 0);
  const TokenScore score = request.num_ids > 0
                               ? sampler->score_ids(logits, scored, request.ids, request.num_ids, place.top_ids, place.top_logprobs)
                               : sampler->score(logits, scored, request.num_top, place.top_ids, place.top_logprobs);
  *place.logprob = score.logprob;
  *place.rank = score.rank;
  return true;
}

}  // namespace lockstep
