#include "cuda/sampling.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

namespace lockstep::cuda {
namespace {

constexpr int kExtrasMax = kHeadRows * (2 * kMaxBiasLen + kMaxLogprobIds);
constexpr float kOff = -std::numeric_limits<float>::infinity();

// Hands out parts of a piece of memory; without it, only counts.
struct Taker {
  uint8_t* base;
  size_t* used;
  template <class T>
  void operator()(T** part, size_t count) const {
    constexpr size_t kUnit = 256;
    *part = base == nullptr || count == 0 ? nullptr : reinterpret_cast<T*>(base + *used);  // what is empty may lie at the very end
    *used += (count * sizeof(T) + kUnit - 1) / kUnit * kUnit;
  }
};

}  // namespace

template <class Take>
void DeviceSampler::lay_out_requests(Take take, Requests* out) const {
  take(&out->rows, kHeadRows);
  take(&out->extras, kExtrasMax);
  take(&out->masks, static_cast<size_t>(kHeadRows) * mask_words());
}

template <class Take>
void DeviceSampler::lay_out_device(Take take, OnDevice* out) const {
  const size_t rows = kHeadRows;
  lay_out_requests(take, &out->requests);
  take(&out->history, static_cast<size_t>(dims_.max_rows) * dims_.max_seq_len);
  take(&out->last, dims_.max_rows);
  take(&out->seen, rows * vocab_);
  take(&out->tickets, rows);
  take(&out->edited, rows * vocab_);
  take(&out->tiles, rows * tiles());
  take(&out->states, rows);
  take(&out->bins, rows * kDepthBins);
  take(&out->results, rows);
  take(&out->top_ids, rows * max_top());
  take(&out->top_values, rows * max_top());
}

template <class Take>
void DeviceSampler::lay_out_host(Take take) {
  const size_t outputs = dims_.max_tokens;
  for (OnHost& host : on_host_) {
    take(&host.results, outputs);
    take(&host.top_ids, outputs * max_top());
    take(&host.top_values, outputs * max_top());
  }
  for (Staging& staging : stagings_) lay_out_requests(take, &staging.requests);
  take(&prefix_, dims_.max_seq_len);
}

size_t DeviceSampler::device_bytes() const {
  size_t bytes = 0;
  OnDevice ignored{};
  lay_out_device(Taker{nullptr, &bytes}, &ignored);
  return bytes;
}

Status DeviceSampler::init(const Device& device, const OwnStream& stream, const WaitBounds& bounds) {
  device_ = &device;
  stream_ = &stream;
  bounds_ = bounds;
  LOCKSTEP_RETURN_IF_ERROR(memory_.reserve_device(device, device_bytes(), "sampling"));
  size_t used = 0;
  lay_out_device(Taker{memory_.data(), &used}, &on_device_);
  size_t host_bytes = 0;
  lay_out_host(Taker{nullptr, &host_bytes});
  LOCKSTEP_RETURN_IF_ERROR(pinned_.reserve_pinned(device, host_bytes, "what sampling sends and gets"));
  used = 0;
  lay_out_host(Taker{pinned_.data(), &used});
  for (OnHost& host : on_host_) {
    host.num_top.resize(dims_.max_tokens);
    host.num_told.resize(dims_.max_tokens);
  }
  num_top_.resize(kHeadRows);
  num_told_.resize(kHeadRows);
  for (Staging& staging : stagings_) LOCKSTEP_RETURN_IF_ERROR(staging.sent.create(device));
  LOCKSTEP_RETURN_IF_ERROR(prefix_sent_.create(device));
  const auto zero = [&](void* at, size_t bytes) { return device.check(device.runtime().fill(at, 0, bytes, stream.get()), "sampling"); };
  LOCKSTEP_RETURN_IF_ERROR(zero(on_device_.seen, sizeof(uint32_t) * kHeadRows * vocab_));
  LOCKSTEP_RETURN_IF_ERROR(zero(on_device_.last, sizeof(int32_t) * dims_.max_rows));
  return zero(on_device_.tickets, sizeof(uint32_t) * kHeadRows);
}

void DeviceSampler::abandon_memory() {
  memory_.abandon();
  pinned_.abandon();
}

Status DeviceSampler::copy(void* to, const void* from, size_t bytes, const char* what) const {
  return bytes == 0 ? Status() : device_->check(device_->runtime().copy(to, from, bytes, stream_->get()), what);
}

// A prefix that the KV cache had is in no step: its tokens go up by themselves.
Status DeviceSampler::begin_step(const StepView& step) {
  const RowColumns& rows = step.buffers->rows;
  const PlanColumns& plan = step.buffers->plan[step.slot];
  for (size_t i = 0; i < step.entries.size(); i++) {
    const StepEntry& entry = step.entries[i];
    if ((plan.entryFlags[i] & kEntryReset) == 0 || entry.position == 0 || !has_history(entry.row, rows)) continue;
    LOCKSTEP_RETURN_IF_ERROR(prefix_sent_.wait(bounds_));
    const size_t first = static_cast<size_t>(entry.row) * dims_.max_seq_len;
    std::memcpy(prefix_, rows.tokens + first, sizeof(int32_t) * entry.position);
    LOCKSTEP_RETURN_IF_ERROR(copy(on_device_.history + first, prefix_, sizeof(int32_t) * entry.position, "the tokens of a prefix"));
    LOCKSTEP_RETURN_IF_ERROR(prefix_sent_.record(*stream_));
  }
  return Status();
}

Status DeviceSampler::begin() {
  turn_ = 1 - turn_;
  count_ = num_extras_ = num_masks_ = 0;
  features_ = 0;
  return stagings_[turn_].sent.wait(bounds_);
}

void DeviceSampler::ask(const SampleParams& p, SampleRow* row) {
  const Requests& to = stagings_[turn_].requests;
  const int32_t forced = forced_id(p);
  if (forced >= 0) {
    row->is_forced = 1;
    row->scored_id = forced;
    return;
  }
  row->is_restricted = is_restricted(p) ? 1 : 0;
  row->temperature = p.temperature < kGreedyBelow ? 0 : p.temperature;
  row->top_k = p.top_k;
  row->top_p = p.top_p;
  row->log_min_p = p.min_p > 0 ? std::log(p.min_p) : kOff;
  row->presence = p.presence;
  row->frequency = p.frequency;
  row->repetition = p.repetition;
  row->prompt_len = p.prompt_len;
  row->num_tokens = has_penalties(p) ? p.num_tokens + p.num_drafts : 0;
  row->key = p.key;
  row->choice = p.choice;
  row->position = p.position;
  if (row->is_restricted != 0 || (p.stop_masked && p.num_stop > 0)) {
    row->mask = num_masks_++;
    write_allowed(p, vocab_, to.masks + static_cast<size_t>(row->mask) * mask_words());
  }
  row->first_bias = num_extras_;
  row->num_bias = p.num_bias;
  std::copy(p.bias_ids, p.bias_ids + p.num_bias, to.extras + num_extras_);
  if (p.num_bias > 0) std::memcpy(to.extras + num_extras_ + p.num_bias, p.bias_values, sizeof(float) * p.num_bias);
  num_extras_ += 2 * p.num_bias;
  if (row->mask >= 0 || row->num_bias > 0 || row->num_tokens > 0) features_ |= kEdits;
  if (row->temperature == 0) return;
  features_ |= kRaces;
  if (p.top_p < 1 || (p.top_k > 0 && p.top_k < vocab_)) features_ |= kNarrows;
}

void DeviceSampler::add(const StepOutput& output, const OutputRequest& request) {
  const Requests& to = stagings_[turn_].requests;
  SampleRow row{};
  row.row = output.row;
  row.keeps = request.samples && output.draw == 0 ? 1 : 0;
  row.draws = request.samples ? 1 : 0;
  row.mask = -1;
  row.repetition = row.top_p = 1;
  row.log_min_p = kOff;
  row.scored_id = request.scored_id;
  if (request.is_stuck) {
    row.is_forced = 1;
    row.scored_id = kNothingAllowed;
  } else if (request.samples) {
    ask(request.params, &row);
  }
  const bool is_told_here = request.num_top <= kSampledTopMax;
  row.num_top = is_told_here ? request.num_top : -1;
  if (row.num_top >= 0) {
    features_ |= kScores;
    row.first_id = num_extras_;
    row.num_ids = request.num_ids;
    std::copy(request.ids, request.ids + request.num_ids, to.extras + num_extras_);
    num_extras_ += request.num_ids;
  }
  num_top_[count_] = row.num_top;
  num_told_[count_] = row.num_ids > 0 ? row.num_ids : row.num_top;
  to.rows[count_++] = row;
}

Status DeviceSampler::send() {
  Staging& staging = stagings_[turn_];
  const Requests& from = staging.requests;
  const Requests& to = on_device_.requests;
  const size_t bytes = reinterpret_cast<const uint8_t*>(from.extras + num_extras_) - reinterpret_cast<const uint8_t*>(from.rows);
  LOCKSTEP_RETURN_IF_ERROR(copy(to.rows, from.rows, bytes, "what rows ask of the sampler"));
  LOCKSTEP_RETURN_IF_ERROR(copy(to.masks, from.masks, sizeof(uint32_t) * num_masks_ * mask_words(), "masks"));
  return staging.sent.record(*stream_);
}

Error DeviceSampler::launch(const LogitsParts& logits) const {
  SampleArgs args{};
  args.logits = logits.whole;
  args.world = logits.world;
  args.part_rows = kHeadRows;
  args.ld = logits.ld;
  args.vocab = vocab_;
  args.count = count_;
  args.edits = (features_ & kEdits) != 0;
  args.narrows = (features_ & kNarrows) != 0;
  args.races = (features_ & kRaces) != 0;
  args.scores = (features_ & kScores) != 0;
  args.rows = on_device_.requests.rows;
  args.extras = on_device_.requests.extras;
  args.masks = on_device_.requests.masks;
  args.mask_words = mask_words();
  args.history = on_device_.history;
  args.history_len = dims_.max_seq_len;
  args.seen = on_device_.seen;
  args.edited = on_device_.edited;
  args.tiles = on_device_.tiles;
  args.states = on_device_.states;
  args.bins = on_device_.bins;
  args.tickets = on_device_.tickets;
  args.results = on_device_.results;
  args.top_ids = on_device_.top_ids;
  args.top_values = on_device_.top_values;
  args.max_top = max_top();
  args.last = on_device_.last;
  return device_->runtime().kernels->sample(args, stream_->get());
}

Status DeviceSampler::fetch(const StepView& step, int first) {
  OnHost& host = on_host_[step.slot];
  std::copy(num_top_.begin(), num_top_.begin() + count_, host.num_top.begin() + first);
  std::copy(num_told_.begin(), num_told_.begin() + count_, host.num_told.begin() + first);
  LOCKSTEP_RETURN_IF_ERROR(copy(host.results + first, on_device_.results, sizeof(SampleResult) * count_, "sampled ids"));
  if ((features_ & kScores) == 0) return Status();
  const size_t at = static_cast<size_t>(first) * max_top();
  const size_t values = static_cast<size_t>(count_) * max_top();
  if (values == 0) return Status();
  LOCKSTEP_RETURN_IF_ERROR(copy(host.top_ids + at, on_device_.top_ids, sizeof(int32_t) * values, "the best ids"));
  return copy(host.top_values + at, on_device_.top_values, sizeof(float) * values, "the best logits");
}

Status DeviceSampler::tell(const StepView& step, const OutputSampler& outputs) const {
  const OnHost& host = on_host_[step.slot];
  for (size_t i = 0; i < step.outputs.size(); i++) {
    const SampleResult& result = host.results[i];
    if (result.id == kNotNumbers) return Status(Fault::kNumerics, "the logits are not numbers: broken weights or an overflow");
    outputs.write_id(step, step.outputs[i], result.id);
    if (host.num_top[i] < 0) continue;
    const ScorePlace place = outputs.score_place(step, step.outputs[i]);
    const double log_sum = log_sum_exp(result.sum, fixed_bits_, result.max);
    *place.logprob = static_cast<float>(result.value - log_sum);
    *place.rank = result.rank;
    for (int j = 0; j < host.num_told[i]; j++) {
      const size_t at = i * max_top() + j;
      place.top_ids[j] = host.top_ids[at];
      // Of an id that is none also where no id is possible, and the sum is infinite too.
      place.top_logprobs[j] = place.top_ids[j] < 0 ? host.top_values[at] : static_cast<float>(host.top_values[at] - log_sum);
    }
  }
  return Status();
}

}  // namespace lockstep::cuda
