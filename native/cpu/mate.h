// A thread that others of its group wait for. Where it stands still because its core runs another process, the waiting thread takes it over
// to its own core: the kernel would leave it for a whole time slice (4 ms at 250 Hz) beside an idle core, since it counts as cache-hot. For
// the same reason two of a group that have come to share a core, as they do when one has fetched the other or was woken while the cores
// were busy, would stay there for up to four slices with another core idle: who goes on working sends the other away. With 16 streams on
// two cores, whose tokens the threads of the host hand out between steps, that was a fifth of the time of a step.
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
  // By the thread itself, now and then: where it runs.
  void note_core();
  // Whether the thread ran on the caller's core when it last said so: whoever spins there keeps it from running.
  bool is_here() const;
  // If it is: moves it to another core, or lets it wake on another one alone, until let_anywhere. By a thread that goes on working here,
  // before it wakes this one: a sleeper may be put on its own core again, beside an idle one, and then drives off who woke it.
  void send_away_from_here();
  void let_anywhere();

  // One wait for a mate: looks now and then whether it runs, and fetches it once if not.
  class Watch {
   public:
    explicit Watch(Mate* mate) : mate_(mate) {}
    // `waited`: since the wait began. True: the mate has been brought to the caller's core, which should leave it to it.
    bool look(std::chrono::nanoseconds waited);

   private:
    Mate* const mate_;
    int64_t cpu_ns_ = -1;
    bool done_ = false;
  };

 private:
  int64_t cpu_ns() const;
  bool fetch();

#if defined(__linux__)
  bool may_go_anywhere() const;
  bool allow(const cpu_set_t& cores) const;

  std::atomic<int> tid_{0};
  std::atomic<int> core_{-1};
  std::atomic<bool> is_sent_away_{false};
  clockid_t clock_{};
  cpu_set_t allowed_{};
#endif
};

}  // namespace lockstep::cpu
