// Collectives of ranks that are threads of one process: sequence words on cache lines of their own and plain memory.
#pragma once

#include <chrono>
#include <memory>

#include "common/communicator.h"
#include "cpu/wait.h"

namespace lockstep::cpu {

// What the ranks of a group share; lives as long as the group.
class ShmGroup {
 public:
  ShmGroup(int world_size, WaitPolicy policy, std::chrono::milliseconds timeout, const int32_t* also_abort);
  void abort() noexcept;
  int world_size() const { return world_size_; }
  const AbortFlag& abort_flag() const { return abort_; }

 private:
  friend class ShmCommunicator;
  struct alignas(64) Seat {
    Signal arrived;           // number of the last barrier that the rank has come to
    Mate mate;                // the rank's thread
    float* in_out = nullptr;  // published before a barrier, read after it
    const float* in = nullptr;
  };
  const int world_size_;
  const WaitPolicy policy_;
  const std::chrono::milliseconds timeout_;
  AbortFlag abort_;
  std::unique_ptr<Seat[]> seats_;
};

class ShmCommunicator final : public Communicator {
 public:
  // By the rank's thread.
  ShmCommunicator(ShmGroup* group, int rank);
  Status all_reduce(float* x, size_t count) override;
  Status all_gather(const float* part, size_t count, float* whole) override;
  Status barrier() override;
  void abort() noexcept override { group_->abort(); }
  double take_wait_us() override;

 private:
  bool has_arrived(int r) const;
  void arrive();

  ShmGroup* const group_;
  uint32_t number_ = 0;  // of the barriers so far
  double wait_us_ = 0;
};

}  // namespace lockstep::cpu
