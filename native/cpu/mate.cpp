#include "cpu/mate.h"

#if defined(__linux__)
#include <pthread.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace lockstep::cpu {
namespace {

// A neighbour's chunk takes ten microseconds or so: who waits longer may wait for a thread that does not run. Between the two looks a
// thread that runs has run for most of the time.
constexpr auto kFirstLook = std::chrono::microseconds(25);
constexpr auto kSecondLook = std::chrono::microseconds(50);
constexpr int64_t kStandsStillNs = 5000;

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

// Another mask than its own: somebody has placed it, or another thread is about to move it.
bool Mate::may_go_anywhere() const {
  cpu_set_t now;
  CPU_ZERO(&now);
  return sched_getaffinity(tid_.load(std::memory_order_acquire), sizeof(now), &now) == 0 && CPU_EQUAL(&now, &allowed_);
}

bool Mate::allow(const cpu_set_t& cores) const {
  return sched_setaffinity(tid_.load(std::memory_order_acquire), sizeof(cores), &cores) == 0;
}

bool Mate::fetch() {
  const int here = sched_getcpu();
  if (here < 0 || !CPU_ISSET(here, &allowed_) || !may_go_anywhere()) return false;
  cpu_set_t only;
  CPU_ZERO(&only);
  CPU_SET(here, &only);
  const bool moved = allow(only);
  allow(allowed_);
  if (moved) core_.store(here, std::memory_order_release);
  return moved;
}

void Mate::send_away_from_here() {
  if (!is_here()) return;
  const int core = core_.exchange(-1, std::memory_order_relaxed);  // not again before it has run
  if (core < 0) return;
  cpu_set_t others = allowed_;
  CPU_CLR(core, &others);
  if (CPU_COUNT(&others) == 0 || !may_go_anywhere()) return;
  is_sent_away_.store(allow(others));
}

void Mate::let_anywhere() {
  if (!is_sent_away_.load(std::memory_order_relaxed) || !is_sent_away_.exchange(false)) return;
  allow(allowed_);
}

#else

void Mate::enlist() {}
void Mate::note_core() {}
bool Mate::is_here() const { return false; }
void Mate::send_away_from_here() {}
void Mate::let_anywhere() {}
int64_t Mate::cpu_ns() const { return -1; }
bool Mate::fetch() { return false; }

#endif

}  // namespace lockstep::cpu
