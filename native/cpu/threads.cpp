#include "cpu/threads.h"

#include <algorithm>

namespace lockstep::cpu {
namespace {

uint64_t pack(uint32_t first, uint32_t end) { return static_cast<uint64_t>(first) << 32 | end; }

}  // namespace

Threads::Threads(int count, WaitPolicy policy, std::chrono::milliseconds timeout)
    : count_(std::max(1, count)),
      policy_(policy),
      timeout_(timeout),
      shares_(new Share[std::max(1, count)]),
      done_(new Signal[std::max(1, count)]),
      claims_(new Claim[std::max(1, count)]),
      mates_(new Mate[std::max(1, count)]) {
  mates_[0].enlist();
  helpers_.reserve(count_ - 1);
  for (int t = 1; t < count_; t++) helpers_.emplace_back([this, t] { helper(t); });
}

Threads::~Threads() {
  stop_.store(true, std::memory_order_seq_cst);
  job_.advance_to(job_number_ + 1);
  for (std::thread& thread : helpers_) thread.join();
}

void Threads::run_on_all(int chunks, int grain, Work work, void* context) {
  if (lost_) return;
  mates_[0].note_core();
  work_ = work;
  context_ = context;
  grain_ = std::max(1, grain);
  for (int t = 0; t < count_; t++) {
    shares_[t].range.store(pack(share_begin(chunks, t), share_begin(chunks, t + 1)), std::memory_order_relaxed);
  }
  for (int t = 1; policy_.spin && t < count_; t++) mates_[t].send_away_from_here();
  job_.advance_to(++job_number_);
  for (int t = 1; t < count_; t++) mates_[t].let_anywhere();
  work_through(0);
  // Not cut short by an abort: a helper may still be inside the caller's memory. Work is finite, so only a stuck core times out.
  for (int t = 1; t < count_; t++) {
    if (stealing_ && call_off(t)) continue;
    if (done_[t].wait(job_number_, policy_, never_, timeout_, &mates_[t]) != WaitResult::kReached) lost_ = true;
  }
}

Status Threads::status() const { return lost_ ? Status(Fault::kTimeout, "a compute thread did not finish its work in time") : Status(); }

bool Threads::call_off(int thread) {
  uint32_t seen = claims_[thread].job.load(std::memory_order_acquire);
  return seen != job_number_ && claims_[thread].job.compare_exchange_strong(seen, job_number_, std::memory_order_acq_rel);
}

void Threads::helper(int thread) {
  mates_[thread].enlist();
  uint32_t seen = 0;
  for (;;) {
    while (job_.wait(seen + 1, policy_, never_, std::chrono::milliseconds(1000), &mates_[0]) != WaitResult::kReached) {
    }
    seen = job_.value();
    // Looked at after the number: a helper that was woken for a job that has been called off may find the end's in its place.
    if (stop_.load(std::memory_order_seq_cst)) return;
    mates_[thread].note_core();
    uint32_t claimed = claims_[thread].job.load(std::memory_order_acquire);
    const bool called_off = static_cast<int32_t>(seen - claimed) <= 0;
    if (called_off || !claims_[thread].job.compare_exchange_strong(claimed, seen, std::memory_order_acq_rel)) continue;
    // Nobody publishes the next job before this one is done.
    work_through(thread);
    done_[thread].advance_to(seen);
  }
}

void Threads::work_through(int thread) {
  int first = 0;
  int n = 0;
  while (take_front(thread, &first, &n)) work_(context_, thread, first, n);
  if (!stealing_) return;
  for (int i = 1; i < count_; i++) {
    const int victim = (thread + i) % count_;
    while (steal_back(victim, &first, &n)) work_(context_, thread, first, n);
  }
}

bool Threads::take_front(int owner, int* first, int* n) {
  std::atomic<uint64_t>& range = shares_[owner].range;
  uint64_t seen = range.load(std::memory_order_relaxed);
  for (;;) {
    const uint32_t begin = static_cast<uint32_t>(seen >> 32);
    const uint32_t end = static_cast<uint32_t>(seen);
    if (begin >= end) return false;
    const uint32_t next = std::min<uint32_t>(end, begin + grain_);
    if (!range.compare_exchange_weak(seen, pack(next, end), std::memory_order_relaxed)) continue;
    *first = static_cast<int>(begin);
    *n = static_cast<int>(next - begin);
    return true;
  }
}

bool Threads::steal_back(int owner, int* first, int* n) {
  std::atomic<uint64_t>& range = shares_[owner].range;
  uint64_t seen = range.load(std::memory_order_relaxed);
  for (;;) {
    const uint32_t begin = static_cast<uint32_t>(seen >> 32);
    const uint32_t end = static_cast<uint32_t>(seen);
    if (begin >= end) return false;
    const uint32_t from = end - begin > static_cast<uint32_t>(grain_) ? end - grain_ : begin;
    if (!range.compare_exchange_weak(seen, pack(begin, from), std::memory_order_relaxed)) continue;
    *first = static_cast<int>(from);
    *n = static_cast<int>(end - from);
    return true;
  }
}

}  // namespace lockstep::cpu
