#include "cpu/rank.h"

#include <algorithm>

namespace lockstep::cpu {

Rank::Rank(std::shared_ptr<Group> group, int rank)
    : group_(std::move(group)),
      rank_(rank),
      communicator_(group_->meeting(), rank),
      threads_(group_->config().threads_per_rank, group_->wait_policy(), group_->timeout()) {}

Rank::~Rank() { group_->publish(rank_, nullptr); }

Status Rank::load(const RankShard& shard, const WeightMap& weights, PackedSource* packed) {
  if (weights_) return Status(Fault::kLoad, "this rank has already loaded");
  auto loaded = std::make_shared<Weights>();
  LOCKSTEP_RETURN_IF_ERROR(load_weights(group_->config().spec, shard, weights, group_->kernels(), &threads_, packed, loaded.get()));
  auto backend = std::make_unique<CpuBackend>(group_.get(), shard, loaded.get(), &threads_);
  LOCKSTEP_RETURN_IF_ERROR(backend->init());
  LOCKSTEP_RETURN_IF_ERROR(reader_.init(&group_->buffers(), group_->config().spec.vocab, group_->grammars()));
  weights_ = std::move(loaded);
  backend_ = std::move(backend);
  group_->publish(rank_, weights_);
  return Status();
}

Status Rank::step(int epoch) {
  Status status = run_step(epoch);
  if (!status.ok()) {
    // The reason, and not that the others were woken by it, is what the result shows; written first, since the others report at once.
    if (status.fault() != Fault::kAborted) group_->buffers().result[epoch & 1].resultHeader[1] = static_cast<int32_t>(status.fault());
    communicator_.abort();
  }
  return status;
}

Status Rank::run_step(int epoch) {
  if (!group_->all_loaded()) return Status(Fault::kNotLoaded, "a step before every rank has loaded its weights");
  LOCKSTEP_RETURN_IF_ERROR(reader_.read(epoch));
  if (rank_ == 0) reader_.ask_masks(group_->mask_maker());
  PhaseTimes times;
  LOCKSTEP_RETURN_IF_ERROR(forward(group_->config().spec, reader_.view(), *backend_, communicator_, &times));
  reader_.commit(rank_ == 0);
  double* out = group_->buffers().result[epoch & 1].timesUs + static_cast<size_t>(rank_) * 8;
  std::copy(times.us, times.us + PhaseTimes::kNumPhases, out);
  return Status();
}

}  // namespace lockstep::cpu
