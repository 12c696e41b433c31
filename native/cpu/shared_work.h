// One operation's chunks, cut into a part for each rank, of which any rank may take: its own first, then what the others have not begun, so
// that a rank whose core is busy elsewhere is helped out. Taking needs no word from the owner: a part that nobody has touched counts as
// full. Who does a chunk changes no bit of it. Ranks must meet between two operations.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>

namespace lockstep::cpu {

class SharedWork {
 public:
  explicit SharedWork(int ranks) : parts_(new Part[ranks]) {}

  // Takes up to `grain` of the chunks 0 … count-1 of `rank` in the operation of this number; false: all are taken. All ranks count
  // operations alike, from 1.
  bool take(int rank, uint32_t operation, int grain, int count, int* first, int* n) {
    std::atomic<uint64_t>& part = parts_[rank].taken;
    uint64_t seen = part.load(std::memory_order_relaxed);
    for (;;) {
      const int taken = static_cast<uint32_t>(seen >> 32) == operation ? static_cast<int>(static_cast<uint32_t>(seen)) : 0;
      if (taken >= count) return false;
      *first = taken;
      *n = count - taken < grain ? count - taken : grain;
      const uint64_t next = static_cast<uint64_t>(operation) << 32 | static_cast<uint32_t>(taken + *n);
      if (part.compare_exchange_weak(seen, next, std::memory_order_relaxed)) return true;
    }
  }

 private:
  struct alignas(64) Part {
    std::atomic<uint64_t> taken{0};  // operation << 32 | chunks of it that are taken
  };
  std::unique_ptr<Part[]> parts_;
};

}  // namespace lockstep::cpu
