// The backend's memory, and the beginning and end of a step.
#include <algorithm>

#include "cpu/backend.h"
#include "cpu/vocabulary_ops.h"

namespace lockstep::cpu {
CpuBackend::CpuBackend(Group* group, const RankShard& shard, const Weights* weights, Threads* threads, ShmCommunicator* ranks)
    : group_(group),
      spec_(group->config().spec),
      k_(group->kernels()),
      shard_(shard),
      w_(*weights),
      threads_(threads),
      ranks_(ranks),
      gather_(group->gather()),
      outputs_(&group->buffers(), &spec_, group->grammars(), vocabulary_ops(k_)) {}

Status CpuBackend::init() {
  const GroupConfig& config = group_->config();
  const StepDims& dims = config.dims;
  if (gather_) {
    s_ = group_->shapes();
    a_ = group_->activations();
    kv_ = group_->kv().data();
  } else {
    int most = 0;
    for (const Range& range : shard_.intermediate) most = std::max(most, range.count);
    const int units = round_up(spec_.vocab, kBlockRows) / kBlockRows;
    // All ranks gather parts of one size: that of the largest.
    s_ = shapes_of(config, shard_.heads, shard_.kv_heads, most, (units + shard_.world_size - 1) / shard_.world_size * kBlockRows);
    const size_t kv_bytes = kv_head_block_bytes(config) * s_.kv_heads * spec_.layers.size() * dims.num_blocks;
    if (!own_kv_.reserve(std::max<size_t>(kv_bytes, 1), true)) return Status(Fault::kLoad, "no memory for the KV cache of this rank");
    kv_ = own_kv_.data();
    row_logits_.resize(static_cast<size_t>(threads_->count()) * spec_.vocab);
  }
  const int group = spec_.heads / spec_.kv_heads;
  const size_t row_bytes = static_cast<size_t>(group) * s_.max_pieces * result_bytes();
  kernel_scratch_bytes_ = (k_.attention_scratch_bytes(std::max(kTileQueries, group), s_.head_dim) + 63) / 64 * 64;
  attention_scratch_bytes_ = (kernel_scratch_bytes_ + std::max(kPieceBytes, row_bytes) + 63) / 64 * 64;
  row_scratch_ld_ = round_up(std::max(s_.max_input, s_.ld_attn), kBlockRows);

  for (const RopeSpec& rope : spec_.ropes) {
    rope_offset_.push_back(num_rotations_);
    num_rotations_ += static_cast<size_t>(dims.max_tokens) * (rope.rotary_dim / 2);
  }
  ArenaCursor size(nullptr);
  take_memory(&size);
  if (!memory_.reserve(size.used(), false)) return Status(Fault::kLoad, "no memory for this rank's activations");
  ArenaCursor place(memory_.data());
  take_memory(&place);

  const size_t split_items = static_cast<size_t>(dims.max_rows) * s_.kv_heads * s_.max_pieces;
  items_.reserve(static_cast<size_t>(dims.max_tokens + dims.max_rows) * s_.kv_heads +
                 std::min<size_t>(split_items, kMaxSplitRows * s_.heads * s_.max_pieces));
  placed_before_.reserve(dims.max_tokens);
  splits_.reserve(static_cast<size_t>(dims.max_rows) * s_.kv_heads * kSplitRows);
  first_item_.resize(shard_.world_size + 1);
  wanted_.reserve(dims.max_rows);
  samplers_.reserve(threads_->count());
  for (int t = 0; t < threads_->count(); t++) samplers_.emplace_back(vocabulary_ops(k_), spec_.vocab);
  const Arena& kv = gather_ ? group_->kv() : own_kv_;
  if (shard_.rank == 0 || !gather_) kv_pages_.start(kv.data(), kv.bytes());
  return Status();
}

// Tells how far into the cache the step's blocks reach.
void CpuBackend::use_kv_pages(const StepView& step) {
  size_t used = 0;
  for (const StepEntry& entry : step.entries) {
    if (entry.num_slots == 0) continue;
    const KvView kv = kv_view(0, 0, entry.row);
    for (int block = entry.position / kv.block_size; block <= (entry.position + entry.num_slots - 1) / kv.block_size; block++)
      used = std::max(used, static_cast<size_t>(kv.table[block] + 1) * kv.block_stride);
  }
  kv_pages_.begin_step(used);
}

void CpuBackend::take_memory(ArenaCursor* cursor) {
  const StepDims& dims = group_->config().dims;
  if (!gather_) {
    take_activations(s_, dims.max_tokens, kMaxSplitRows, cursor, &a_);
    logits_whole_ = shard_.world_size == 1 ? a_.logits : cursor->take<float>(logits_part_count() * shard_.world_size);
  }
  cos_ = cursor->take<float>(num_rotations_);
  sin_ = cursor->take<float>(num_rotations_);
  row_scratch_ = cursor->take<float>(row_scratch_ld_ * threads_->count());
  attention_scratch_ = cursor->take<uint8_t>(attention_scratch_bytes_ * threads_->count());
}

Status CpuBackend::begin_step(const StepView& step) {
  LOCKSTEP_RETURN_IF_ERROR(threads_->status());
  step_ = &step;
  while (gather_ && static_cast<int>(parts_.size()) < shard_.world_size) {
    std::shared_ptr<const Weights> part = group_->keep_weights(static_cast<int>(parts_.size()));
    if (part == nullptr) return Status(Fault::kAborted, "a rank is gone");
    parts_.push_back(std::move(part));
  }
  m_ = step.num_tokens;
  planned_ = {-1, false};
  find_wanted();
  use_kv_pages(step);
  fault_.store(0, std::memory_order_relaxed);
  prepare_rotation();
  return Status();
}

Status CpuBackend::end_step(const StepView& step) {
  kv_pages_.end_step();
  if (shard_.rank == 0) group_->buffers().result[step.slot].resultHeader[0] = step.epoch;
  return threads_->status();
}

}  // namespace lockstep::cpu
