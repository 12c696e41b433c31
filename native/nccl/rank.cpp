#include "nccl/rank.h"

namespace lockstep::nccl {

GpuRank::GpuRank(const RankContext& context, Communicator* host, int rank)
    : context_(context), device_(context.runtime, rank), communicator_(context.group, host, &stream_, rank) {}

// Freeing waits for the device, without a bound. A rank that failed may have left work there that never ends: it leaves its memory too, and
// the process ends soon.
GpuRank::~GpuRank() {
  Status status = communicator_.close();
  if (status.ok() && backend_) status = stream_.wait(communicator_.bounds());
  if (status.ok()) return;
  weights_.memory.abandon();
  if (backend_) backend_->abandon_memory();
}

Status GpuRank::load(const RankShard& shard, const WeightMap& weights) {
  if (backend_) return Status(Fault::kLoad, "this rank has already loaded");
  LOCKSTEP_RETURN_IF_ERROR(device_.bind());
  LOCKSTEP_RETURN_IF_ERROR(stream_.create(device_));
  const cuda::WaitBounds bounds = communicator_.bounds();
  LOCKSTEP_RETURN_IF_ERROR(cuda::load_weights(*context_.spec, shard, weights, device_, bounds, &weights_));
  const cuda::BackendParts parts = {
      &device_, &stream_, bounds, context_.spec, &weights_, context_.buffers, context_.grammars, context_.vocabulary, context_.records};
  auto backend = std::make_unique<cuda::CudaBackend>(parts, shard, context_.kv_type);
  LOCKSTEP_RETURN_IF_ERROR(backend->init());
  LOCKSTEP_RETURN_IF_ERROR(reader_.init(context_.buffers, context_.spec->vocab, context_.grammars));
  backend_ = std::move(backend);
  LOCKSTEP_RETURN_IF_ERROR(communicator_.connect());
  is_loaded_ = true;
  return Status();
}

Status GpuRank::step(int epoch) {
  Status ready = is_loaded_ ? Status() : Status(Fault::kNotLoaded, "a step before every rank has loaded its weights");
  return run_step({context_.spec, context_.buffers, &reader_, backend_.get(), &communicator_, context_.mask_maker}, epoch,
                  std::move(ready));
}

}  // namespace lockstep::nccl
