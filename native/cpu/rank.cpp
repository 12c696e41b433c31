#include "cpu/rank.h"

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
  auto backend = std::make_unique<CpuBackend>(group_.get(), shard, loaded.get(), &threads_, &communicator_);
  LOCKSTEP_RETURN_IF_ERROR(backend->init());
  LOCKSTEP_RETURN_IF_ERROR(reader_.init(&group_->buffers(), group_->config().spec.vocab, group_->grammars()));
  weights_ = std::move(loaded);
  backend_ = std::move(backend);
  group_->publish(rank_, weights_);
  return Status();
}

Status Rank::step(int epoch) {
  const GroupConfig& config = group_->config();
  Status ready = group_->all_loaded() ? Status() : Status(Fault::kNotLoaded, "a step before every rank has loaded its weights");
  return run_step({&config.spec, &group_->buffers(), &reader_, backend_.get(), &communicator_, group_->mask_maker()}, epoch,
                  std::move(ready));
}

}  // namespace lockstep::cpu
