// Collectives of ranks that are threads of one process, and work that they share: sequence words on cache lines of their own and plain
// memory.
#pragma once

#include <chrono>
#include <memory>
#include <string>

#include "common/communicator.h"
#include "cpu/shared_work.h"
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
    Signal arrived;                    // number of the last barrier that the rank has come to
    std::atomic<uint32_t> working{0};  // number of the operation that it takes chunks of
    Mate mate;                         // the rank's thread
    float* in_out = nullptr;           // published before a barrier, read after it
    const float* in = nullptr;
  };
  const int world_size_;
  const WaitPolicy policy_;
  const std::chrono::milliseconds timeout_;
  AbortFlag abort_;
  std::unique_ptr<Seat[]> seats_;
  SharedWork work_;
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

  // An operation whose chunks ranks share, see SharedWork. false: the group cannot go on, and the next barrier says why.
  bool begin_work();
  // From any thread of the rank: takes chunks of the part of `owner`; says that n more of all `count` chunks are done.
  bool take(int owner, int grain, int count, int* first, int* n) { return group_->work_.take(owner, operation_, grain, count, first, n); }
  void add_done(int n, int count);
  // Returns when all chunks are done, by whomever, or the group cannot go on.
  void end_work();

 private:
  bool has_arrived(int r) const { return group_->seats_[r].arrived.has_reached(number_); }
  template <class MayWait>
  void advance(Signal* signal, uint32_t number, MayWait may_wait);
  WaitResult wait_for(Signal* signal, uint32_t number, Mate* mate);
  Mate* who_works() const;
  Status late(const std::string& what) const;

  ShmGroup* const group_;
  uint32_t number_ = 0;     // of the barriers so far
  uint32_t operation_ = 0;  // of the operations that were shared
  bool is_late_ = false;    // an operation was not over in time
  double wait_us_ = 0;
};

}  // namespace lockstep::cpu
