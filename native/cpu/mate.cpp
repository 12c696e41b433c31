#include "cpu/mate.h"

#if defined(__linux__)
#include <pthread.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace lockstep::cpu {
namespace {

// A neighbour's chunk takes tens of microseconds, so who waits longer may wait for a thread that does not run. Between the two looks a
// thread that runs has run for most of the time.
constexpr auto kFirstLook = std::chrono::microseconds(60);
constexpr auto kSecondLook = std::chrono::microseconds(120);
constexpr int64_t kStandsStillNs = 10000;

}  // namespace

bool Mate::Watch::look(std::chrono::nanoseconds waited) {
  if (done_ || mate_ == nullptr || waited < kFirstLook) return false;
  if (cpu_ns_ < 0) {
    cpu_ns_ = mate_->cpu_ns();
    done_ = cpu_ns_ < 0;
    return false;
  }
  if (waited < kSecondLook) return false;
  done_ = true;
  return mate_->cpu_ns() - cpu_ns_ < kStandsStillNs && mate_->fetch();
}

#if defined(__linux__)

void Mate::enlist() {
  const int tid = static_cast<int>(syscall(SYS_gettid));
  CPU_ZERO(&allowed_);
  const bool known = pthread_getcpuclockid(pthread_self(), &clock_) == 0 && sched_getaffinity(0, sizeof(allowed_), &allowed_) == 0;
  tid_.store(known ? tid : 0, std::memory_order_release);
  note_core();
}

void Mate::note_core() { core_.store(sched_getcpu(), std::memory_order_release); }

bool Mate::is_here() const {
  const int core = core_.load(std::memory_order_acquire);
  return core >= 0 && core == sched_getcpu();
}

// Time that the thread has run; below 0: not known.
int64_t Mate::cpu_ns() const {
  timespec time;
  if (tid_.load(std::memory_order_acquire) == 0 || clock_gettime(clock_, &time) != 0) return -1;
  return time.tv_sec * INT64_C(1000000000) + time.tv_nsec;
}

// Moves the thread to one of `cores`, from where it may go on to all that it is allowed. Another mask than that: somebody has placed it, or
// another thread is about to move it.
bool Mate::move_to(const cpu_set_t& cores) const {
  const int tid = tid_.load(std::memory_order_acquire);
  cpu_set_t now;
  CPU_ZERO(&now);
  if (sched_getaffinity(tid, sizeof(now), &now) != 0 || !CPU_EQUAL(&now, &allowed_)) return false;
  const bool moved = sched_setaffinity(tid, sizeof(cores), &cores) == 0;
  sched_setaffinity(tid, sizeof(allowed_), &allowed_);
  return moved;
}

bool Mate::fetch() {
  const int here = sched_getcpu();
  if (here < 0 || !CPU_ISSET(here, &allowed_)) return false;
  cpu_set_t only;
  CPU_ZERO(&only);
  CPU_SET(here, &only);
  if (!move_to(only)) return false;
  core_.store(here, std::memory_order_release);
  return true;
}

void Mate::send_away_from_here() {
  if (!is_here()) return;
  cpu_set_t others = allowed_;
  CPU_CLR(core_.exchange(-1, std::memory_order_relaxed), &others);  // not again before it has run
  if (CPU_COUNT(&others) > 0) move_to(others);
}

#else

void Mate::enlist() {}
void Mate::note_core() {}
bool Mate::is_here() const { return false; }
void Mate::send_away_from_here() {}
int64_t Mate::cpu_ns() const { return -1; }
bool Mate::fetch() { return false; }

#endif

}  // namespace lockstep::cpu
