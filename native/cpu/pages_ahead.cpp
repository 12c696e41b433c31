#include "cpu/pages_ahead.h"

#include <pthread.h>
#include <time.h>

#include <algorithm>
#include <chrono>

#include "cpu/arena.h"

namespace lockstep::cpu {
namespace {

constexpr size_t kFew = 8 * kHugePage;
constexpr size_t kMany = size_t{512} << 20;  // and at most an eighth of the arena
constexpr double kDearSeconds = 1e-3;        // of CPU time for a huge page; clearing one takes a tenth
constexpr size_t kSmallPage = 4096;
constexpr auto kQuiet = std::chrono::milliseconds(10);  // without a step, after which the cores count as idle

double cpu_seconds() {
  timespec now;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) * 1e-9;
}

// A write that changes nothing, whatever others write there at the same time; to the thread sanitizer that is a race.
__attribute__((no_sanitize("thread"))) void touch(uint8_t* page) {
  uint8_t zero = 0;
  __atomic_compare_exchange_n(page, &zero, uint8_t{0}, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED);
}

void run_where_idle() {
#if defined(SCHED_IDLE)
  const sched_param none{};
  pthread_setschedparam(pthread_self(), SCHED_IDLE, &none);
#endif
}

}  // namespace

PagesAhead::~PagesAhead() {
  if (!thread_.joinable()) return;
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    ending_.store(true, std::memory_order_relaxed);
  }
  changed_.notify_one();
  thread_.join();
}

void PagesAhead::start(uint8_t* data, size_t bytes) {
  data_ = data;
  bytes_ = bytes;
  ahead_ = std::min(kFew, bytes);
  thread_ = std::thread([this] { run(); });
}

void PagesAhead::begin_step(size_t bytes) {
  steps_.fetch_add(1, std::memory_order_relaxed);
  if (bytes <= used_.load(std::memory_order_relaxed)) return;
  used_.store(bytes, std::memory_order_seq_cst);
  // Either this thread sees that the other sleeps or the other sees what is used.
  if (!asleep_.load(std::memory_order_seq_cst)) return;
  { const std::lock_guard<std::mutex> lock(mutex_); }
  changed_.notify_one();
}

void PagesAhead::end_step() { steps_.fetch_add(1, std::memory_order_relaxed); }

// Until pages past `done` are wanted and no step has run for a while. False: the end. Idle priority alone would not do: who waits for
// another rank yields, and this thread would then have the core for the milliseconds that a page takes.
bool PagesAhead::wait_for_work(size_t done) {
  std::unique_lock<std::mutex> lock(mutex_);
  const auto ending = [&] { return ending_.load(std::memory_order_relaxed); };
  asleep_.store(true, std::memory_order_seq_cst);
  changed_.wait(lock, [&] { return ending() || done < std::min(bytes_, used_.load(std::memory_order_seq_cst) + ahead_); });
  asleep_.store(false, std::memory_order_seq_cst);
  while (!ending() && quiet_at_ != steps_.load(std::memory_order_relaxed)) {
    const uint64_t seen = steps_.load(std::memory_order_relaxed);
    changed_.wait_for(lock, kQuiet, ending);
    if (seen % 2 == 0 && seen == steps_.load(std::memory_order_relaxed)) quiet_at_ = seen;
  }
  return !ending();
}

void PagesAhead::run() {
  run_where_idle();
  size_t done = 0;
  for (int dear = 0; done < bytes_ && wait_for_work(done);) {
    done = std::max(done, used_.load(std::memory_order_relaxed) / kHugePage * kHugePage);
    const size_t end = std::min(done + kHugePage, bytes_);
    const double start = cpu_seconds();
    for (; done < end && !ending_.load(std::memory_order_relaxed); done += kSmallPage) touch(data_ + done);
    dear += cpu_seconds() - start > kDearSeconds ? 1 : 0;
    if (dear == 4) ahead_ = std::max(ahead_, std::min(kMany, bytes_ / 8));
  }
}

}  // namespace lockstep::cpu
