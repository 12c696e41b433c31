#include "cpu/shm_communicator.h"

#include <algorithm>
#include <cstring>
#include <string>

namespace lockstep::cpu {

ShmGroup::ShmGroup(int world_size, WaitPolicy policy, std::chrono::milliseconds timeout, const int32_t* also_abort)
    : world_size_(world_size), policy_(policy), timeout_(timeout), seats_(new Seat[world_size]), work_(world_size) {
  abort_.also = also_abort;
}

void ShmGroup::abort() noexcept {
  abort_.raised.store(1, std::memory_order_seq_cst);
  for (int r = 0; r < world_size_; r++) seats_[r].arrived.wake_all();
  work_.over().wake_all();
}

ShmCommunicator::ShmCommunicator(ShmGroup* group, int seat) : group_(group) {
  rank = seat;
  world_size = group->world_size();
  group_->seats_[rank].mate.enlist();
}

// Ranks that wait on the core of this one are let go on on another.
template <class MayWait>
void ShmCommunicator::advance(Signal* signal, uint32_t number, MayWait may_wait) {
  const bool moves = group_->policy_.spin;
  for (int r = 0; moves && r < world_size; r++) {
    if (r != rank && may_wait(r)) group_->seats_[r].mate.send_away_from_here();
  }
  signal->advance_to(number);
  for (int r = 0; moves && r < world_size; r++) group_->seats_[r].mate.let_anywhere();
}

// Waits until the signal has come to `number`; `mate`: who advances it.
WaitResult ShmCommunicator::wait_for(Signal* signal, uint32_t number, Mate* mate) {
  if (signal->has_reached(number)) return WaitResult::kReached;
  const auto start = std::chrono::steady_clock::now();
  const WaitResult result = signal->wait(number, group_->policy_, group_->abort_, group_->timeout_, mate);
  wait_us_ += std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now() - start).count();
  return result;
}

Status ShmCommunicator::late(const std::string& what) const {
  return Status(Fault::kTimeout, what + " for " + std::to_string(group_->timeout_.count()) + " ms");
}

Status ShmCommunicator::barrier() {
  if (is_late_) return late("work that a rank has begun made no progress");
  if (world_size > 1) {
    number_++;
    group_->work_.settle(rank, operation_);
    group_->seats_[rank].mate.note_core();
    advance(&group_->seats_[rank].arrived, number_, [&](int r) { return has_arrived(r); });
    for (int r = 0; r < world_size; r++) {
      const WaitResult result = wait_for(&group_->seats_[r].arrived, number_, &group_->seats_[r].mate);
      if (result == WaitResult::kTimeout) return late("rank " + std::to_string(r) + " made no progress");
      if (result == WaitResult::kAborted) break;
    }
  }
  return group_->abort_.is_raised() ? Status(Fault::kAborted, "the rank group was stopped") : Status();
}

bool ShmCommunicator::begin_work() {
  if (is_late_ || group_->abort_.is_raised()) return false;
  ShmGroup::Seat& seat = group_->seats_[rank];
  seat.mate.note_core();
  seat.working.store(++operation_, std::memory_order_relaxed);
  return true;
}

void ShmCommunicator::add_done(int n, int count) {
  if (group_->work_.add_done(operation_, n, count)) advance(&group_->work_.over(), operation_, [](int) { return true; });
}

void ShmCommunicator::end_work() {
  group_->seats_[rank].working.store(operation_ - 1, std::memory_order_relaxed);
  is_late_ = wait_for(&group_->work_.over(), operation_, who_works()) == WaitResult::kTimeout;
}

// A rank that does chunks of the operation which this one waits for; null: none, as it seems.
Mate* ShmCommunicator::who_works() const {
  for (int r = 0; r < world_size; r++) {
    ShmGroup::Seat& seat = group_->seats_[r];
    if (r != rank && seat.working.load(std::memory_order_relaxed) == operation_) return &seat.mate;
  }
  return nullptr;
}

// Rank r sums slice r of everyone in rank order and writes the sum back to everyone: each element has one order of summing and one writer,
// so all ranks hold equal bits, and nothing is copied twice.
Status ShmCommunicator::all_reduce(float* x, size_t count) {
  if (world_size == 1) return barrier();
  group_->seats_[rank].in_out = x;
  LOCKSTEP_RETURN_IF_ERROR(barrier());
  constexpr size_t kLine = 16;  // floats: slices end on cache lines, so that no line has two writers
  const size_t lines = (count + kLine - 1) / kLine;
  const size_t begin = std::min(count, lines * rank / world_size * kLine);
  const size_t end = std::min(count, lines * (rank + 1) / world_size * kLine);
  constexpr size_t kTile = 1024;
  float sum[kTile];
  for (size_t at = begin; at < end; at += kTile) {
    const size_t n = std::min(kTile, end - at);
    std::memcpy(sum, group_->seats_[0].in_out + at, n * sizeof(float));
    for (int r = 1; r < world_size; r++) {
      const float* part = group_->seats_[r].in_out + at;
      for (size_t i = 0; i < n; i++) sum[i] += part[i];
    }
    for (int r = 0; r < world_size; r++) std::memcpy(group_->seats_[r].in_out + at, sum, n * sizeof(float));
  }
  return barrier();
}

Status ShmCommunicator::all_gather(const float* part, size_t count, float* whole) {
  group_->seats_[rank].in = part;
  LOCKSTEP_RETURN_IF_ERROR(barrier());
  for (int r = 0; r < world_size; r++) std::memcpy(whole + count * r, group_->seats_[r].in, count * sizeof(float));
  return barrier();
}

double ShmCommunicator::take_wait_us() {
  const double taken = wait_us_;
  wait_us_ = 0;
  return taken;
}

}  // namespace lockstep::cpu
