// One operation's chunks, cut into a part for each rank, of which any rank may take: its own first, then what the others have not begun, so
// that a rank whose core is busy elsewhere is helped out. An operation is over when its chunks are done, whoever did them: a rank that has
// not come to it is not waited for, and finds nothing left to do when it comes. Who does a chunk changes no bit of it.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <memory>

#include "cpu/wait.h"

namespace lockstep::cpu {

// All ranks count operations alike, from 1, and begin one when the last is over.
class SharedWork {
 public:
  explicit SharedWork(int ranks) : taken_(new Count[ranks]) {}

  // Takes up to `grain` of the chunks 0 … count-1 of the part of `rank`; false: all are taken. A part that nobody has touched in this
  // operation counts as full: taking needs no word from its owner.
  bool take(int rank, uint32_t operation, int grain, int count, int* first, int* n) {
    std::atomic<uint64_t>& part = taken_[rank].of;
    uint64_t seen = part.load(std::memory_order_relaxed);
    for (;;) {
      if (!reached(operation, operation_of(seen))) return false;  // the part is of an operation that came later
      const int taken = chunks_of(seen, operation);
      if (taken >= count) return false;
      *first = taken;
      *n = std::min(count - taken, grain);
      if (part.compare_exchange_weak(seen, pack(operation, taken + *n), std::memory_order_relaxed)) return true;
    }
  }

  // `n` more of the operation's `count` chunks are done; true: these were the last.
  bool add_done(uint32_t operation, int n, int count) {
    uint64_t seen = done_.of.load(std::memory_order_relaxed);
    for (;;) {
      const int done = chunks_of(seen, operation) + n;
      if (done_.of.compare_exchange_weak(seen, pack(operation, done), std::memory_order_acq_rel, std::memory_order_relaxed))
        return done == count;
    }
  }

  // Number of the last operation that is over; advanced by who did its last chunk.
  Signal& over() { return over_; }

  // Marks the part of `rank`, of which nothing is left, as taken: one that has no chunks for 2^31 operations would seem to be ahead.
  void settle(int rank, uint32_t operation) { taken_[rank].of.store(pack(operation, INT32_MAX), std::memory_order_relaxed); }

 private:
  static uint64_t pack(uint32_t operation, int chunks) { return static_cast<uint64_t>(operation) << 32 | static_cast<uint32_t>(chunks); }
  static uint32_t operation_of(uint64_t word) { return static_cast<uint32_t>(word >> 32); }
  static int chunks_of(uint64_t word, uint32_t operation) { return operation_of(word) == operation ? static_cast<int>(word) : 0; }

  struct alignas(64) Count {
    std::atomic<uint64_t> of{0};  // operation << 32 | chunks of it
  };
  std::unique_ptr<Count[]> taken_;  // [ranks]
  Count done_;
  Signal over_;
};

}  // namespace lockstep::cpu
