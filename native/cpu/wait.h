// Waiting for another thread: spin, then yield, then sleep on a futex, never longer than a deadline and never past an abort.
// Everything that waits in native code waits here.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>

#include "cpu/mate.h"

namespace lockstep::cpu {

// How eagerly a group's threads wait. With more threads than cores a spinning thread keeps the one it waits for from running.
struct WaitPolicy {
  bool spin = true;
};

// Cuts every wait of a group short. `also` is a word in shared memory that TypeScript sets.
struct AbortFlag {
  std::atomic<uint32_t> raised{0};
  const int32_t* also = nullptr;
  bool is_raised() const;
};

enum class WaitResult : uint8_t { kReached, kAborted, kTimeout };

// In wrapping order.
inline bool reached(uint32_t value, uint32_t target) { return static_cast<int32_t>(value - target) >= 0; }

// A counter that one thread advances and others wait for, on a cache line of its own.
class alignas(64) Signal {
 public:
  // Everything written before is seen by those whose wait returns.
  void advance_to(uint32_t value);
  uint32_t value() const { return value_.load(std::memory_order_acquire); }
  bool has_reached(uint32_t target) const { return reached(value(), target); }
  // Until the counter has reached `target`. `mate`: who advances it.
  WaitResult wait(uint32_t target, const WaitPolicy& policy, const AbortFlag& abort, std::chrono::milliseconds timeout, Mate* mate);
  // Wakes sleepers without advancing, so that they look at the abort flag.
  void wake_all();

 private:
  WaitResult sleep_until_reached(uint32_t target, const AbortFlag& abort, std::chrono::steady_clock::time_point deadline);

  std::atomic<uint32_t> value_{0};
  std::atomic<uint32_t> sleepers_{0};
};

}  // namespace lockstep::cpu
