// What this machine can do at most: the two numbers that every kernel's speed is set against.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>

namespace lockstep::bench {

inline double seconds_now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

// Memory on huge pages where the system gives them, all touched by the caller. Freed at the end.
class Pages {
 public:
  explicit Pages(size_t bytes);
  ~Pages();
  Pages(const Pages&) = delete;
  Pages& operator=(const Pages&) = delete;
  uint8_t* data() const { return data_; }

 private:
  uint8_t* data_;
  size_t bytes_;
};

// Runs work(thread) on `threads` threads at once and returns the seconds until the last is done.
double time_threads(int threads, const std::function<void(int)>& work);

// Of some 40 tries of a few milliseconds each: the best is what kernels are held against that are timed by their best, the median what
// holds for seconds.
enum class Pick { kBest, kMedian };

// Bytes a second that `threads` threads read together, each its own memory.
double read_bandwidth(int threads, Pick pick = Pick::kBest);

// Multiply-adds (two operations each) a second of the widest dot products of `isa`, in registers alone. 0: not known for this isa.
double dot_peak_bf16(const char* isa, int threads, Pick pick = Pick::kBest);
double dot_peak_int8(const char* isa, int threads, Pick pick = Pick::kBest);

}  // namespace lockstep::bench
