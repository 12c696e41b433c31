// The backend's memory, and the beginning and end of a step.
#include <algorithm>
#include <cstring>
#include <utility>

#include "cuda/attention_pieces.h"
#include "cuda/backend.h"

namespace lockstep::cuda {
namespace {

// For the results of attention's pieces: of 1,000 pieces of 8 KV heads of 128. What finds no room is done by one block each.
constexpr size_t kAttentionPartsBytes = size_t{64} << 20;

}  // namespace

CudaBackend::CudaBackend(const BackendParts& parts, const RankShard& shard, Type kv_type)
    : parts_(parts),
      runtime_(parts.device->runtime()),
      k_(*runtime_.kernels),
      spec_(*parts.spec),
      w_(*parts.weights),
      dims_(parts.buffers->dims),
      shard_(shard),
      kv_type_(kv_type),
      outputs_(parts.buffers, parts.spec, parts.grammars, parts.vocabulary),
      device_sampler_(parts.buffers->dims, parts.spec->vocab, parts.vocabulary.fixed_bits),
      sampler_(parts.vocabulary, parts.spec->vocab),
      recorded_(kRecordedTokens + 1),
      recorded_outputs_((kRecordedTokens + 1) * DeviceSampler::kFeatureSets) {}

template <class T>
T* CudaBackend::Cursor::take(size_t count) {
  constexpr size_t kUnit = 256;
  T* at = base == nullptr || count == 0 ? nullptr : reinterpret_cast<T*>(base + used);
  used += (count * sizeof(T) + kUnit - 1) / kUnit * kUnit;
  return at;
}

CudaBackend::StepIntegers CudaBackend::lay_out_integers(Cursor* cursor) const {
  const size_t tokens = dims_.max_tokens;
  StepIntegers out{};
  for (int32_t** column : {&out.ids, &out.position, &out.end_of, &out.type_of, &out.table_row, &out.output_slot, &out.history_row})
    *column = cursor->take<int32_t>(tokens);
  out.pool = cursor->take<PoolEntry>(dims_.max_rows);
  out.num_items = cursor->take<int32_t>(2 * windows_.size());
  out.tables = cursor->take<int32_t>(static_cast<size_t>(dims_.max_rows) * dims_.max_blocks_per_row);
  out.items = cursor->take<AttentionItem>(windows_.size() * max_items_);
  return out;
}

void CudaBackend::take_memory(Cursor* cursor) {
  const size_t tokens = dims_.max_tokens;
  const size_t rows = tokens * rows_per_token_;
  x_ = cursor->take<float>(tokens * ld_hidden_);
  for (float*& part : parts_of_sum_) part = cursor->take<float>(shard_.world_size == 1 && &part != parts_of_sum_ ? 0 : tokens * ld_hidden_);
  y_ = parts_of_sum_[0];
  if (shard_.world_size > 1) sum_ = cursor->take<float>(tokens * ld_hidden_);
  qkv_ = cursor->take<float>(tokens * ld_qkv_);
  rotations_.clear();
  for (const RopeSpec& rope : spec_.ropes) {
    const size_t values = tokens * (rope.rotary_dim / 2);
    float* const cosines = cursor->take<float>(values);
    rotations_.push_back({cosines, cursor->take<float>(values)});
  }
  input_f32_ = cursor->take<float>(rows * max_input_);
  input_bf16_ = cursor->take<uint16_t>(rows * max_input_);
  dequantized_ = cursor->take<uint16_t>(std::min(kDequantizedMax, max_matrix_));
  act_ = cursor->take<float>(rows * ld_act_);
  if (ld_router_ > 0) {
    parts_of_experts_ = cursor->take<float>(rows * ld_hidden_);
    router_logits_ = cursor->take<float>(tokens * ld_router_);
    expert_of_ = cursor->take<int32_t>(rows);
    weight_of_ = cursor->take<float>(rows);
  }
  logits_ = cursor->take<float>(logits_part_count());
  logits_whole_ = shard_.world_size == 1 ? logits_ : cursor->take<float>(logits_part_count() * shard_.world_size);
  if (dims_.pooled_len > 0) pooled_ = cursor->take<float>(static_cast<size_t>(dims_.max_rows) * ld_hidden_);
  if (attends_in_tiles()) {
    const size_t results = num_ended_ * kFewRows;
    attention_parts_ = cursor->take<float>(results * (spec_.head_dim + 2));
    attention_ended_ = cursor->take<uint32_t>(num_ended_);
  }
  on_device_ = lay_out_integers(cursor);
}

void CudaBackend::find_cut() {
  windows_.clear();
  if (!attends_in_tiles()) return;
  for (const LayerSpec& layer : spec_.layers) {
    if (std::find(windows_.begin(), windows_.end(), layer.window) == windows_.end()) windows_.push_back(layer.window);
  }
  max_pieces_ = count_pieces(0, piece_end(dims_.max_seq_len - 1));
  AttentionArgs shape{};
  shape.group = spec_.heads / spec_.kv_heads;
  shape.kv.kv_heads = shard_.kv_heads.count;
  const size_t units = attention_units(shape, kFewRows);
  const size_t part_bytes = units * kFewRows * (spec_.head_dim + 2) * sizeof(float);
  const size_t few_tokens = std::min(dims_.max_tokens, std::max(dims_.max_rows, kRecordedTokens));
  const size_t most = max_pieces_ == 1 ? 0 : few_tokens * max_pieces_;
  cut_ = attention_cut(shape.group, spec_.head_dim, static_cast<int>(std::min(most, kAttentionPartsBytes / part_bytes)), spec_.causal);
  max_items_ = dims_.max_tokens + cut_.max_parts;
  num_ended_ = units * cut_.max_parts;
}

Status CudaBackend::find_shapes() {
  ld_hidden_ = round_up(spec_.hidden);
  ld_qkv_ = round_up((shard_.heads.count + 2 * shard_.kv_heads.count) * spec_.head_dim);
  max_input_ = std::max(ld_hidden_, round_up(shard_.heads.count * spec_.head_dim));
  for (size_t i = 0; i < spec_.layers.size(); i++) {
    const LayerSpec& layer = spec_.layers[i];
    const int held = shard_.intermediate[i].count;
    max_input_ = std::max(max_input_, round_up(held));
    ld_act_ = std::max(ld_act_, round_up(layer.gated ? 2 * held : held));
    ld_router_ = std::max(ld_router_, round_up(layer.experts));
    rows_per_token_ = std::max(rows_per_token_, layer.experts_top_k);
    if (layer.experts > kMaxExperts) return Status(Fault::kLoad, "a layer has more than " + std::to_string(kMaxExperts) + " experts");
  }
  find_cut();
  if (spec_.head_dim > kMaxHeadDim) return Status(Fault::kLoad, "heads are wider than " + std::to_string(kMaxHeadDim));
  // All ranks gather parts of one size: that of the largest.
  const int units = (spec_.vocab + kVocabUnit - 1) / kVocabUnit;
  ld_logits_ = (units + shard_.world_size - 1) / shard_.world_size * kVocabUnit;
  const int widest = std::max({ld_qkv_, ld_act_, ld_hidden_, shard_.vocab.count});
  max_matrix_ = static_cast<size_t>(tiles_down(widest)) * kBrickRows * max_input_;
  return Status();
}

Status CudaBackend::step_bytes(const Device& device, const ModelSpec& spec, const StepDims& dims, const RankShard& shard, Type kv_type,
                               size_t* bytes) {
  const Weights weights;
  StepBuffers buffers{};
  buffers.dims = dims;
  CudaBackend backend({&device, nullptr, {}, &spec, &weights, &buffers, nullptr, {}, nullptr, nullptr, false, false}, shard, kv_type);
  LOCKSTEP_RETURN_IF_ERROR(backend.find_shapes());
  Cursor size{nullptr};
  backend.take_memory(&size);
  *bytes = size.used + backend.device_sampler_.device_bytes();
  return Status();
}

Status CudaBackend::init() {
  LOCKSTEP_RETURN_IF_ERROR(find_shapes());
  DeviceInfo device;
  LOCKSTEP_RETURN_IF_ERROR(check(runtime_.device_info(parts_.device->index(), &device), "what the device is"));
  if (can_gemm_wide(device) && !parts_.has_one_order) wide_blocks_ = device.multiprocessors;
  row_logits_.resize(spec_.vocab);

  Cursor size{nullptr};
  take_memory(&size);
  LOCKSTEP_RETURN_IF_ERROR(memory_.reserve_device(*parts_.device, size.used, "activations"));
  Cursor place{memory_.data()};
  take_memory(&place);
  if (num_ended_ > 0) {
    const Error error = runtime_.fill(attention_ended_, 0, num_ended_ * sizeof(uint32_t), parts_.stream->get());
    LOCKSTEP_RETURN_IF_ERROR(check(error, "counters of attention"));
  }

  const size_t kv_bytes =
      static_cast<size_t>(dims_.num_blocks) * shard_.kv_heads.count * dims_.block_size * spec_.head_dim * type_bytes(kv_type_);
  LOCKSTEP_RETURN_IF_ERROR(kv_.reserve_device(*parts_.device, 2 * kv_bytes * spec_.layers.size(), "the KV cache"));

  const auto lay_out_host = [&](Cursor* cursor) {
    for (StepIntegers& integers : on_host_) integers = lay_out_integers(cursor);
    logits_on_host_ = cursor->take<float>(dims_.max_logprobs > kSampledTopMax ? logits_part_count() * shard_.world_size : 0);
    if (dims_.pooled_len > 0) pooled_on_host_ = cursor->take<float>(static_cast<size_t>(dims_.max_rows) * ld_hidden_);
  };
  Cursor host_size{nullptr};
  lay_out_host(&host_size);
  LOCKSTEP_RETURN_IF_ERROR(pinned_.reserve_pinned(*parts_.device, host_size.used, "what a step sends and gets"));
  Cursor host{pinned_.data()};
  lay_out_host(&host);
  for (OwnEvent& ended : ended_) LOCKSTEP_RETURN_IF_ERROR(ended.create(*parts_.device));
  return device_sampler_.init(*parts_.device, *parts_.stream, parts_.bounds);
}

void CudaBackend::abandon_memory() {
  for (Memory* memory : {&memory_, &kv_, &pinned_}) memory->abandon();
  device_sampler_.abandon_memory();
}

PeerMemory CudaBackend::peer_memory() const {
  return {{parts_of_sum_[0], parts_of_sum_[1]}, logits_, dims_.max_tokens, spec_.hidden, ld_hidden_, sum_};
}

KvCache CudaBackend::kv_of(int layer) const {
  const size_t half = kv_.bytes() / (2 * spec_.layers.size());
  uint8_t* k = kv_.data() + half * 2 * layer;
  return {k, k + half, kv_type_, shard_.kv_heads.count, dims_.block_size, spec_.head_dim};
}

Status CudaBackend::begin_step(const StepView& step) {
  step_ = &step;
  m_ = step.num_tokens;
  is_recorded_ = parts_.records && m_ <= kRecordedTokens;
  num_pooled_ = 0;
  status_ = Status();
  // Ranks have met since the last step (or see may_go_ahead), so that every step, and so every recording, may begin with the same part.
  way_ = parts_.peers->is_open() ? parts_.peers->way_for(m_) : JoinWay::kLibrary;
  turn_ = 0;
  y_ = parts_of_sum_[0];
  input_is_ready_ = false;
  const RowColumns& rows = parts_.buffers->rows;
  StepIntegers& host = on_host_[step.slot];
  bool is_noted = false;
  for (int slot = 0; slot < m_; slot++) {
    const StepEntry& entry = step.entries[step.slot_entry[slot]];
    host.ids[slot] = step.slot_token[slot];
    host.position[slot] = step.slot_position[slot];
    host.end_of[slot] = entry.position + entry.num_slots;
    host.table_row[slot] = step.slot_entry[slot];
    const bool second = step.slot_position[slot] >= rows.secondSegment[entry.row];
    host.type_of[slot] = second ? std::max(std::min(1, spec_.token_types - 1), 0) : 0;
    const bool has_history = device_sampler_.has_history(entry.row, rows);
    host.history_row[slot] = has_history ? entry.row : -1;
    is_noted = is_noted || has_history;
  }
  for (size_t i = 0; i < step.outputs.size(); i++) host.output_slot[i] = step.outputs[i].slot;
  const size_t table_len = dims_.max_blocks_per_row;
  for (size_t i = 0; i < step.entries.size(); i++) {
    const StepEntry& entry = step.entries[i];
    std::memcpy(host.tables + table_len * i, rows.blockTables + table_len * entry.row, sizeof(int32_t) * table_len);
    if (entry.num_pooled > 0) host.pool[num_pooled_++] = {entry.row, entry.pool_slot, entry.num_pooled, entry.pool_adds ? 1 : 0};
  }
  const int32_t* end = host.tables + table_len * step.entries.size();
  LOCKSTEP_RETURN_IF_ERROR(send_items());
  LOCKSTEP_RETURN_IF_ERROR(check(runtime_.copy(on_device_.ids, host.ids, sizeof(int32_t) * (end - host.ids), parts_.stream->get()),
                                 "a step's ids and block tables"));
  LOCKSTEP_RETURN_IF_ERROR(device_sampler_.begin_step(step));
  if (!is_noted) return Status();
  const NoteTokensArgs args = {
      on_device_.ids,   device_sampler_.last(), on_device_.history_row, on_device_.position, m_, device_sampler_.history(),
      dims_.max_seq_len};
  return check(k_.note_tokens(args, parts_.stream->get()), "note_tokens");
}

Status CudaBackend::send_items() {
  StepIntegers& host = on_host_[step_->slot];
  for (size_t w = 0; w < windows_.size(); w++) {
    AttentionItem* items = host.items + w * max_items_;
    const AttentionWork work = cut_attention(*step_, cut_, windows_[w], is_recorded_, items);
    host.num_items[2 * w] = work.num_few;
    host.num_items[2 * w + 1] = work.num_many;
    const size_t bytes = sizeof(AttentionItem) * (work.num_few + work.num_many);
    const Error error = runtime_.copy(on_device_.items + w * max_items_, items, bytes, parts_.stream->get());
    LOCKSTEP_RETURN_IF_ERROR(check(error, "what attention is cut into"));
  }
  return Status();
}

// The ranks see the same plan, and know whether one of them went ahead with it, so that all of them record, or none does. Nothing else is
// in flight then: NCCL may wait for the others while it records.
Status CudaBackend::record_or_launch(RecordedWork* work, bool* are_done) {
  if (work->is_ready()) {
    *are_done = true;
    return work->launch();
  }
  if (!may_record_) {
    lacks_recording_ = true;
    return Status();
  }
  LOCKSTEP_RETURN_IF_ERROR(parts_.stream->wait(parts_.bounds));
  LOCKSTEP_RETURN_IF_ERROR(work->begin(*parts_.device, parts_.stream->get()));
  recording_ = work;
  return Status();
}

Status CudaBackend::begin_layers(bool* are_done) {
  *are_done = false;
  if (may_record_) lacks_recording_ = false;
  return is_recorded_ ? record_or_launch(&recorded_[m_], are_done) : Status();
}

Status CudaBackend::end_layers() {
  LOCKSTEP_RETURN_IF_ERROR(status_);
  RecordedWork* work = std::exchange(recording_, nullptr);
  if (work == nullptr) return Status();
  LOCKSTEP_RETURN_IF_ERROR(work->end());
  // A recording takes memory, for which a device that others are on too may wait, and their work for this rank's.
  if (shard_.world_size > 1) LOCKSTEP_RETURN_IF_ERROR(parts_.peers->meet());
  return work->launch();
}

// What the rows ask for is known now, grammars' masks included, which were made while the layers run.
Status CudaBackend::begin_outputs(int first, int count, bool* are_done) {
  *are_done = false;
  LOCKSTEP_RETURN_IF_ERROR(device_sampler_.begin());
  for (int i = first; i < first + count; i++) device_sampler_.add(step_->outputs[i], outputs_.request_of(*step_, step_->outputs[i]));
  LOCKSTEP_RETURN_IF_ERROR(device_sampler_.send());
  if (!is_recorded_) return Status();
  return record_or_launch(&recorded_outputs_[count * DeviceSampler::kFeatureSets + device_sampler_.features()], are_done);
}

Status CudaBackend::end_outputs(int first, int count) {
  LOCKSTEP_RETURN_IF_ERROR(end_layers());
  if (shard_.rank != 0) return Status();
  LOCKSTEP_RETURN_IF_ERROR(device_sampler_.fetch(*step_, first));
  return logits_on_host_ == nullptr ? Status() : score_on_host(first, count);
}

// Outputs that ask for more than a device tells: their logits come here.
Status CudaBackend::score_on_host(int first, int count) {
  const auto asks_for_more = [&](int i) { return outputs_.request_of(*step_, step_->outputs[i]).num_top > kSampledTopMax; };
  int next = first;
  while (next < first + count && !asks_for_more(next)) next++;
  if (next == first + count) return Status();
  const size_t bytes = sizeof(float) * logits_part_count() * shard_.world_size;
  LOCKSTEP_RETURN_IF_ERROR(check(runtime_.copy(logits_on_host_, logits_whole_, bytes, parts_.stream->get()), "logits"));
  LOCKSTEP_RETURN_IF_ERROR(parts_.stream->wait(parts_.bounds));
  for (int i = next; i < first + count; i++) {
    if (!asks_for_more(i)) continue;
    const OutputRequest request = outputs_.request_of(*step_, step_->outputs[i]);
    join_vocabulary(logits_on_host_, shard_.world_size, kHeadRows, i - first, ld_logits_, spec_.vocab, row_logits_.data());
    const ScorePlace place = outputs_.score_place(*step_, step_->outputs[i]);
    const int32_t id = std::max(device_sampler_.id_of(*step_, i), 0);
    const TokenScore score = sampler_.score(row_logits_.data(), id, request.num_top, place.top_ids, place.top_logprobs);
    *place.logprob = score.logprob;
    *place.rank = score.rank;
  }
  return Status();
}

bool CudaBackend::may_go_ahead(int num_tokens) const {
  if (lacks_recording_ || logits_on_host_ != nullptr) return false;
  if (shard_.world_size == 1) return true;
  // The gathering of logits shows that every rank has read the parts of all sums before, which the next step writes.
  const bool parts_are_read = parts_.peers->is_open() && !step_->outputs.empty();
  return parts_are_read && num_tokens <= kRecordedTokens && parts_.peers->way_for(num_tokens) != JoinWay::kLibrary;
}

Status CudaBackend::mark_end() {
  LOCKSTEP_RETURN_IF_ERROR(status_);
  return ended_[step_->slot].record(*parts_.stream);
}

Status CudaBackend::end_step(const StepView& step) {
  LOCKSTEP_RETURN_IF_ERROR(ended_[step.slot].wait(parts_.bounds));
  if (shard_.rank != 0) return Status();
  LOCKSTEP_RETURN_IF_ERROR(device_sampler_.tell(step, outputs_));
  for (int i = 0; i < num_pooled_; i++) {
    const int32_t row = on_host_[step.slot].pool[i].row;
    std::memcpy(parts_.buffers->rows.pooled + static_cast<size_t>(row) * spec_.hidden,
                pooled_on_host_ + static_cast<size_t>(row) * ld_hidden_, sizeof(float) * spec_.hidden);
  }
  parts_.buffers->result[step.slot].resultHeader[0] = step.epoch;
  return Status();
}

}  // namespace lockstep::cuda
