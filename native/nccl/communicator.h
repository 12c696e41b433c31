// Collectives of ranks on GPUs over NCCL. One communicator a rank, made and used on the rank's own thread, which is bound to its device.
//
// No call waits without a bound. Communicators are non-blocking: a call may be in progress when it returns, and is polled to its end.
// Results are waited for by asking the stream, and in each turn the communicator whether it has failed (`health`). When a rank fails,
// abort() raises a flag that ends every such wait on every rank; each then ends its own communicator, since NCCL asks that all do and that
// no other thread is inside it.
#pragma once

#include <atomic>
#include <memory>

#include "common/communicator.h"
#include "cuda/device.h"
#include "cuda/peers.h"
#include "nccl/library.h"

namespace lockstep::nccl {

// A process whose device does not let go ends soon: no longer is ncclCommAbort waited for.
constexpr std::chrono::milliseconds kAbortTimeout(1500);

// What the ranks of a process share. library: null where it is not needed, or not there; then the peers' kernels must do.
class Group {
 public:
  Group(const Library* library, int world_size, std::chrono::milliseconds timeout)
      : library_(library), world_size_(world_size), timeout_(timeout), peers_(world_size, timeout) {}
  // Before any rank connects.
  Status init();
  void abort() noexcept {
    aborted_.store(true, std::memory_order_release);
    peers_.abort();
  }
  bool is_aborted() const { return aborted_.load(std::memory_order_acquire); }
  int world_size() const { return world_size_; }
  std::chrono::milliseconds timeout() const { return timeout_; }
  const Functions& functions() const { return library_->functions; }
  const UniqueId& id() const { return id_; }
  bool has_library() const { return library_ != nullptr; }
  cuda::PeerGroup* peers() { return &peers_; }
  // A rank puts the step of `epoch` behind the one before. Which steps were is known to all once the ranks have met at the end of that one.
  void note_ahead(int epoch) { ahead_[epoch & 1].store(epoch, std::memory_order_release); }
  bool is_ahead(int epoch) const { return ahead_[epoch & 1].load(std::memory_order_acquire) == epoch; }

 private:
  const Library* const library_;
  const int world_size_;
  const std::chrono::milliseconds timeout_;
  UniqueId id_{};
  cuda::PeerGroup peers_;
  std::atomic<bool> aborted_{false};
  std::atomic<int> ahead_[2] = {};  // of an even and an odd epoch; a rank is never two steps before another
};

class NcclCommunicator final : public Communicator {
 public:
  // `host`: where the ranks' threads meet. The stream is that of the rank's work, and `peers` what else may fail in it.
  NcclCommunicator(Group* group, Communicator* host, const cuda::OwnStream* stream, const cuda::Peers* peers, int rank);
  // Ends what close() has not: as after a failure.
  ~NcclCommunicator() override;
  // Returns when all ranks have called it.
  // Without a library there is nothing to connect.
  Status connect();
  // A clean end, for which all ranks must come; after a failure, or when that fails, an end of this rank's side alone. Always returns.
  Status close();

  // Device memory, in the order of the stream; x and whole are complete when the stream is.
  Status all_reduce(float* x, size_t count) override;
  Status all_gather(const float* part, size_t count, float* whole) override;
  // The stream is done, and every rank is here.
  Status barrier() override;
  // Every rank is here, whatever its stream does.
  Status meet();
  void abort() noexcept override;
  double take_wait_us() override;

  // Whether this rank may go on.
  Status health() const;
  cuda::WaitBounds bounds() const;

 private:
  // Polls what `result` began to its end.
  Status finish(Result result, const char* what) const;
  Status end_by_abort();
  Status failed(Result result, const char* what) const;

  Group* const group_;
  Communicator* const host_;
  const cuda::OwnStream* const stream_;
  const cuda::Peers* const peers_;
  Comm comm_ = nullptr;
  double wait_us_ = 0;
};

}  // namespace lockstep::nccl
