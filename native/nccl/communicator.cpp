#include "nccl/communicator.h"

#include <condition_variable>
#include <mutex>
#include <thread>

namespace lockstep::nccl {

Status Group::init() {
  if (!has_library()) return Status();
  const Result result = functions().get_unique_id(&id_);
  if (result == kSuccess) return Status();
  return Status(Fault::kDevice, std::string("NCCL: ncclGetUniqueId: ") + functions().get_error_string(result));
}

NcclCommunicator::NcclCommunicator(Group* group, Communicator* host, const cuda::OwnStream* stream, const cuda::Peers* peers, int seat)
    : group_(group), host_(host), stream_(stream), peers_(peers) {
  rank = seat;
  world_size = group->world_size();
}

NcclCommunicator::~NcclCommunicator() {
  if (comm_ != nullptr) (void)end_by_abort();
}

Status NcclCommunicator::failed(Result result, const char* what) const {
  const Functions& nccl = group_->functions();
  std::string text = std::string("NCCL: ") + what + ": " + nccl.get_error_string(result);
  const char* more = nccl.get_last_error(comm_);
  if (more != nullptr && *more != '\0') text += std::string(": ") + more;
  return Status(Fault::kDevice, text);
}

Status NcclCommunicator::health() const {
  if (group_->is_aborted()) return Status(Fault::kAborted, "the rank group was stopped");
  LOCKSTEP_RETURN_IF_ERROR(peers_->health());
  if (comm_ == nullptr) return Status();
  Result error = kSuccess;
  const Result result = group_->functions().comm_get_async_error(comm_, &error);
  if (result != kSuccess) return failed(result, "ncclCommGetAsyncError");
  return error == kSuccess || error == kInProgress ? Status() : failed(error, "a collective");
}

cuda::WaitBounds NcclCommunicator::bounds() const {
  return {[this] { return health(); }, group_->timeout()};
}

Status NcclCommunicator::finish(Result result, const char* what) const {
  if (result != kSuccess && result != kInProgress) return failed(result, what);
  const cuda::WaitBounds until{[this] { return group_->is_aborted() ? Status(Fault::kAborted, "the rank group was stopped") : Status(); },
                               group_->timeout()};
  return cuda::poll_until(until, what, [&](Status* answer) {
    if (result == kSuccess) return true;
    Result state = kSuccess;
    const Result asked = group_->functions().comm_get_async_error(comm_, &state);
    if (asked == kSuccess && state == kInProgress) return false;
    if (asked != kSuccess || state != kSuccess) *answer = failed(asked != kSuccess ? asked : state, what);
    return true;
  });
}

Status NcclCommunicator::connect() {
  if (!group_->has_library()) return Status();
  Config config;
  config.blocking = 0;
  return finish(group_->functions().comm_init_rank_config(&comm_, world_size, group_->id(), rank, &config), "ncclCommInitRankConfig");
}

Status NcclCommunicator::all_reduce(float* x, size_t count) {
  if (world_size == 1) return Status();
  return finish(group_->functions().all_reduce(x, x, count, kFloat32, kSum, comm_, stream_->get()), "ncclAllReduce");
}

Status NcclCommunicator::all_gather(const float* part, size_t count, float* whole) {
  return finish(group_->functions().all_gather(part, whole, count, kFloat32, comm_, stream_->get()), "ncclAllGather");
}

Status NcclCommunicator::barrier() {
  LOCKSTEP_RETURN_IF_ERROR(stream_->wait(bounds()));
  return meet();
}

Status NcclCommunicator::meet() {
  const auto start = std::chrono::steady_clock::now();
  LOCKSTEP_RETURN_IF_ERROR(host_->barrier());
  wait_us_ += std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now() - start).count();
  return Status();
}

void NcclCommunicator::abort() noexcept {
  group_->abort();
  host_->abort();
}

double NcclCommunicator::take_wait_us() {
  const double taken = wait_us_;
  wait_us_ = 0;
  return taken;
}

Status NcclCommunicator::close() {
  if (comm_ == nullptr) return Status();
  Status status = health();
  if (status.ok()) status = finish(group_->functions().comm_finalize(comm_), "ncclCommFinalize");
  if (!status.ok()) {
    (void)end_by_abort();
    return status;
  }
  const Result result = group_->functions().comm_destroy(comm_);
  comm_ = nullptr;
  return result == kSuccess ? Status() : failed(result, "ncclCommDestroy");
}

// ncclCommAbort waits for kernels to leave the device. Where they do not, the process must end, and this thread must be free to say so: the
// call is made by a thread that can be left behind.
Status NcclCommunicator::end_by_abort() {
  struct Call {
    std::mutex mutex;
    std::condition_variable ended;
    bool is_over = false;
    Result result = kSuccess;
  };
  const auto call = std::make_shared<Call>();
  std::thread([call, abort = group_->functions().comm_abort, comm = comm_] {
    const Result result = abort(comm);
    const std::lock_guard<std::mutex> lock(call->mutex);
    call->result = result;
    call->is_over = true;
    call->ended.notify_all();
  }).detach();
  comm_ = nullptr;
  std::unique_lock<std::mutex> lock(call->mutex);
  if (!call->ended.wait_for(lock, kAbortTimeout, [&] { return call->is_over; }))
    return Status(Fault::kTimeout, "NCCL: ncclCommAbort made no progress for " + std::to_string(kAbortTimeout.count()) + " ms");
  return call->result == kSuccess ? Status() : failed(call->result, "ncclCommAbort");
}

}  // namespace lockstep::nccl
