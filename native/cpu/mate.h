// A thread that others of its group wait for. Where it stands still because its core runs another process, the waiting thread takes it over
// to its own core: the kernel would leave it for a whole time slice (4 ms at 250 Hz) beside an idle core, since it counts as cache-hot.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>

#if defined(__linux__)
#include <sched.h>

#include <ctime>
#endif

namespace lockstep::cpu {

class Mate {
 public:
  // By the thread itself, before anybody waits for it.
  void enlist();

  // One wait for a mate: looks now and then whether it runs, and fetches it once if not.
  class Watch {
   public:
    explicit Watch(const Mate* mate) : mate_(mate) {}
    // `waited`: since the wait began. True: the mate has been brought to the caller's core, which should leave it to it.
    bool look(std::chrono::nanoseconds waited);

   private:
    const Mate* const mate_;
    int64_t cpu_ns_ = -1;
    bool done_ = false;
  };

 private:
  int64_t cpu_ns() const;
  bool fetch() const;

#if defined(__linux__)
  std::atomic<int> tid_{0};
  clockid_t clock_{};
  cpu_set_t allowed_{};
#endif
};

}  // namespace lockstep::cpu
