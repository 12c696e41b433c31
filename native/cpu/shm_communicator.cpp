#include "cpu/shm_communicator.h"

#include <algorithm>
#include <cstring>
#include <string>

namespace lockstep::cpu {

ShmGroup::ShmGroup(int world_size, WaitPolicy policy, std::chrono::milliseconds timeout, const int32_t* also_abort)
    : world_size_(world_size), policy_(policy), timeout_(timeout), seats_(new Seat[world_size]) {
  abort_.also = also_abort;
}

void ShmGroup::abort() noexcept {
  abort_.raised.store(1, std::memory_order_seq_cst);
  for (int r = 0; r < world_size_; r++) seats_[r].arrived.wake_all();
}

ShmCommunicator::ShmCommunicator(ShmGroup* group, int seat) : group_(group) {
  rank = seat;
  world_size = group->world_size();
  group_->seats_[rank].mate.enlist();
}

bool ShmCommunicator::has_arrived(int r) const { return static_cast<int32_t>(group_->seats_[r].arrived.value() - number_) >= 0; }

// Says that this rank has come to barrier number_. Ranks that wait for it on its core are let go on on another.
void ShmCommunicator::arrive() {
  const bool moves = group_->policy_.spin;
  for (int r = 0; moves && r < world_size; r++) {
    if (r != rank && has_arrived(r)) group_->seats_[r].mate.send_away_from_here();
  }
  group_->seats_[rank].arrived.advance_to(number_);
  for (int r = 0; moves && r < world_size; r++) group_->seats_[r].mate.let_anywhere();
}

Status ShmCommunicator::barrier() {
  if (world_size == 1) return group_->abort_.is_raised() ? Status(Fault::kAborted, "the rank group was stopped") : Status();
  number_++;
  group_->seats_[rank].mate.note_core();
  arrive();
  bool all_here = true;
  for (int r = 0; r < world_size; r++) all_here = all_here && has_arrived(r);
  if (!all_here) {
    const auto start = std::chrono::steady_clock::now();
    for (int r = 0; r < world_size; r++) {
      const WaitResult result =
          group_->seats_[r].arrived.wait(number_, group_->policy_, group_->abort_, group_->timeout_, &group_->seats_[r].mate);
      if (result == WaitResult::kTimeout) {
        return Status(Fault::kTimeout,
                      "rank " + std::to_string(r) + " made no progress for " + std::to_string(group_->timeout_.count()) + " ms");
      }
      if (result == WaitResult::kAborted) break;
    }
    wait_us_ += std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now() - start).count();
  }
  return group_->abort_.is_raised() ? Status(Fault::kAborted, "the rank group was stopped") : Status();
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
