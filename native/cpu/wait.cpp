#include "cpu/wait.h"

#include <sched.h>

#include <algorithm>
#include <thread>

#if defined(__linux__)
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <ctime>
#endif

namespace lockstep::cpu {
namespace {

using Clock = std::chrono::steady_clock;

// A spin barrier takes 50 ns and a futex wake 25 to 30 us (measured): spinning pays up to about the price of a wake. Then yield for as
// long as a neighbour's operation may take, then sleep.
constexpr auto kSpin = std::chrono::microseconds(20);
constexpr auto kYield = std::chrono::microseconds(200);
constexpr int kPausesBetweenClocks = 64;
constexpr auto kMaxSleep = std::chrono::milliseconds(20);  // bounds what a lost wake could cost

inline void pause() {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("isb");  // yield does nothing on cores without hardware threads; isb takes tens of cycles, as x86's pause does
#endif
}

void futex_wait(std::atomic<uint32_t>* word, uint32_t seen, std::chrono::nanoseconds time) {
#if defined(__linux__)
  timespec ts;
  ts.tv_sec = static_cast<time_t>(time.count() / 1000000000);
  ts.tv_nsec = static_cast<long>(time.count() % 1000000000);
  syscall(SYS_futex, reinterpret_cast<uint32_t*>(word), FUTEX_WAIT_PRIVATE, seen, &ts, nullptr, 0);
#else
  (void)word, (void)seen;
  std::this_thread::sleep_for(std::min<std::chrono::nanoseconds>(time, std::chrono::microseconds(50)));
#endif
}

void futex_wake_all(std::atomic<uint32_t>* word) {
#if defined(__linux__)
  syscall(SYS_futex, reinterpret_cast<uint32_t*>(word), FUTEX_WAKE_PRIVATE, INT32_MAX, nullptr, nullptr, 0);
#else
  (void)word;
#endif
}

}  // namespace

bool AbortFlag::is_raised() const {
  if (raised.load(std::memory_order_acquire) != 0) return true;
  return also != nullptr && __atomic_load_n(also, __ATOMIC_ACQUIRE) != 0;
}

void Signal::advance_to(uint32_t value) {
  // Sequentially consistent on both sides: either this thread sees the sleeper or the sleeper sees the value.
  value_.store(value, std::memory_order_seq_cst);
  if (sleepers_.load(std::memory_order_seq_cst) != 0) futex_wake_all(&value_);
}

void Signal::wake_all() { futex_wake_all(&value_); }

WaitResult Signal::wait(uint32_t target, const WaitPolicy& policy, const AbortFlag& abort, std::chrono::milliseconds timeout, Mate* mate) {
  if (has_reached(target)) return WaitResult::kReached;
  const Clock::time_point start = Clock::now();
  // On one core neither spinning nor yielding lets the mate run for long; and who sleeps is put on an idle core when it is woken.
  if (policy.spin && mate != nullptr && mate->is_here()) return sleep_until_reached(target, abort, start + timeout);
  Clock::time_point now = start;
  while (policy.spin && now - start < kSpin) {
    for (int i = 0; i < kPausesBetweenClocks; i++) {
      if (has_reached(target)) return WaitResult::kReached;
      pause();
    }
    now = Clock::now();
  }
  Mate::Watch watch(policy.spin ? mate : nullptr);  // with more threads than cores some always stand still
  while (now - start < kYield) {
    sched_yield();
    if (has_reached(target)) return WaitResult::kReached;
    if (abort.is_raised()) return WaitResult::kAborted;
    now = Clock::now();
    if (watch.look(now - start)) break;
  }
  return sleep_until_reached(target, abort, start + timeout);
}

WaitResult Signal::sleep_until_reached(uint32_t target, const AbortFlag& abort, Clock::time_point deadline) {
  WaitResult result = WaitResult::kReached;
  sleepers_.fetch_add(1, std::memory_order_seq_cst);
  for (;;) {
    const uint32_t seen = value_.load(std::memory_order_seq_cst);
    if (reached(seen, target)) break;
    if (abort.is_raised()) {
      result = WaitResult::kAborted;
      break;
    }
    const Clock::time_point now = Clock::now();
    if (now >= deadline) {
      result = WaitResult::kTimeout;
      break;
    }
    futex_wait(&value_, seen, std::min<std::chrono::nanoseconds>(kMaxSleep, deadline - now));
  }
  sleepers_.fetch_sub(1, std::memory_order_relaxed);
  return result;
}

}  // namespace lockstep::cpu
