#include "nccl/rank.h"

#include <utility>

namespace lockstep::nccl {

GpuRank::GpuRank(const RankContext& context, Communicator* host, int rank)
    : context_(context),
      device_(context.runtime, rank),
      peers_(context.group->peers(), host, &device_, &stream_),
      products_(context.cublaslt, &device_, &stream_),
      communicator_(context.group, host, &stream_, &peers_, rank) {}

// Freeing waits for the device, without a bound. A rank that failed may have left work there that never ends: it leaves its memory too, and
// the process ends soon.
GpuRank::~GpuRank() {
  Status status = communicator_.close();
  if (status.ok() && backend_) status = stream_.wait(communicator_.bounds());
  if (status.ok()) return;
  weights_.memory.abandon();
  peers_.abandon_memory();
  products_.abandon_memory();
  if (backend_) backend_->abandon_memory();
}

Status GpuRank::load(const RankShard& shard, const WeightMap& weights) {
  if (backend_) return Status(Fault::kLoad, "this rank has already loaded");
  LOCKSTEP_RETURN_IF_ERROR(device_.bind());
  LOCKSTEP_RETURN_IF_ERROR(stream_.create(device_));
  const cuda::WaitBounds bounds = communicator_.bounds();
  LOCKSTEP_RETURN_IF_ERROR(cuda::load_weights(*context_.spec, shard, weights, context_.quantize, device_, bounds, &weights_));
  const cuda::BackendParts parts = {&device_,
                                    &stream_,
                                    bounds,
                                    context_.spec,
                                    &weights_,
                                    context_.buffers,
                                    context_.grammars,
                                    context_.vocabulary,
                                    &products_,
                                    &peers_,
                                    context_.records,
                                    context_.sums == SumChoice::kPeersAlone};
  LOCKSTEP_RETURN_IF_ERROR(products_.init());
  auto backend = std::make_unique<cuda::CudaBackend>(parts, shard, context_.kv_type);
  LOCKSTEP_RETURN_IF_ERROR(backend->init());
  LOCKSTEP_RETURN_IF_ERROR(reader_.init(context_.buffers, context_.spec->vocab, context_.grammars));
  backend_ = std::move(backend);
  LOCKSTEP_RETURN_IF_ERROR(join_others());
  is_loaded_ = true;
  return Status();
}

Status GpuRank::join_others() {
  const Group& group = *context_.group;
  if (context_.sums != SumChoice::kLibraryAlone) LOCKSTEP_RETURN_IF_ERROR(peers_.open(backend_->peer_memory()));
  if (group.world_size() > 1 && !peers_.is_open()) {
    const std::string why = peers_.problem().empty() ? "" : ": " + peers_.problem();
    if (context_.sums == SumChoice::kPeersAlone)
      return Status(Fault::kLoad, "sums in a fixed order need GPUs that reach each other's memory" + why);
    if (!group.has_library())
      return Status(Fault::kLoad, "several GPUs need NCCL, or to reach each other's memory" + why + context_.no_library);
  }
  if (context_.sums == SumChoice::kPeersAlone) return Status();
  LOCKSTEP_RETURN_IF_ERROR(communicator_.connect());
  return peers_.is_open() && group.has_library() ? peers_.measure(&communicator_) : Status();
}

RankSeat GpuRank::seat() { return {context_.spec, context_.buffers, &reader_, backend_.get(), &communicator_, context_.mask_maker}; }

Status GpuRank::launch(int epoch, bool is_ahead) {
  const int slot = epoch & 1;
  begun_[slot] = std::chrono::steady_clock::now();
  LOCKSTEP_RETURN_IF_ERROR(is_ahead ? reader_.read_ahead(epoch) : reader_.read(epoch));
  if (communicator_.rank == 0) reader_.ask_masks(context_.mask_maker);
  if (is_ahead) context_.group->note_ahead(epoch);
  backend_->set_may_record(!context_.group->is_ahead(epoch));
  LOCKSTEP_RETURN_IF_ERROR(begin_forward(*context_.spec, reader_.view(), *backend_, communicator_, &times_[slot]));
  LOCKSTEP_RETURN_IF_ERROR(backend_->mark_end());
  launched_ = epoch;
  if (is_ahead) steps_ahead_++;
  return Status();
}

Status GpuRank::launch_next(int epoch) {
  const int dispatched = __atomic_load_n(context_.buffers->control.control + kControlDispatched, __ATOMIC_ACQUIRE);
  if (static_cast<int32_t>(static_cast<uint32_t>(dispatched) - static_cast<uint32_t>(epoch)) <= 0) return Status();
  const int next = static_cast<int32_t>(static_cast<uint32_t>(epoch) + 1);
  const PlanColumns& plan = context_.buffers->plan[next & 1];
  if (!reader_.may_read_ahead(next) || !backend_->may_go_ahead(plan.planHeader[2])) return Status();
  return launch(next, true);
}

Status GpuRank::run(int epoch) {
  if (launched_ != epoch) LOCKSTEP_RETURN_IF_ERROR(launch(epoch, false));
  const StepView& step = reader_.view(epoch);
  LOCKSTEP_RETURN_IF_ERROR(cuda::poll_until(communicator_.bounds(), "the device", [&](Status* answer) {
    if (launched_ == epoch) *answer = launch_next(epoch);
    return !answer->ok() || backend_->has_ended(step, answer);
  }));
  LOCKSTEP_RETURN_IF_ERROR(backend_->end_step(step));
  // A plan's rows may be given away once the step is reported, and what rank 0 wrote is read by all.
  LOCKSTEP_RETURN_IF_ERROR(communicator_.meet());
  PhaseTimes& times = times_[epoch & 1];
  times.us[PhaseTimes::kWait] = communicator_.take_wait_us();
  times.us[PhaseTimes::kTotal] = std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now() - begun_[epoch & 1]).count();
  end_of_step(seat(), epoch, times);
  return Status();
}

Status GpuRank::step(int epoch) {
  Status ready = is_loaded_ ? Status() : Status(Fault::kNotLoaded, "a step before every rank has loaded its weights");
  return told(seat(), epoch, ready.ok() ? run(epoch) : std::move(ready));
}

}  // namespace lockstep::nccl
