// The rows of a step that somebody reads once its layers are done: those that are sampled, scored or pooled, of a prompt mostly the last
// one. The others end with what they are to these: with their K and V in the last layer. Behind its attention a step has the wanted rows
// alone, one after the other. (A prompt of 512 tokens of a model of 30 layers takes 3 % less time so.)
#include <algorithm>
#include <cstring>

#include "cpu/backend.h"

namespace lockstep::cpu {

void CpuBackend::find_wanted() {
  wanted_.clear();
  num_wanted_ = 0;
  for (const StepEntry& entry : step_->entries) {
    int first = entry.first_slot + entry.num_slots;
    int end = entry.first_slot;
    const auto want = [&](int slot, int count) {
      first = std::min(first, slot);
      end = std::max(end, slot + count);
    };
    if (entry.num_outputs > 0) want(step_->outputs[entry.first_output].slot, entry.num_outputs);
    if (entry.num_pooled > 0) want(entry.pool_slot, entry.num_pooled);
    const int count = std::max(0, end - first);
    wanted_.push_back({first, count, num_wanted_});
    num_wanted_ += count;
  }
}

// Moves the wanted rows together: one thread's work, since rows may move to where others were.
void CpuBackend::narrow() {
  if (!narrows()) return;
  m_ = num_wanted_;
  deal(1, 1, [&](int, int, int) {
    for (const Wanted& wanted : wanted_) {
      float* to = a_.x + static_cast<size_t>(wanted.to) * s_.ld_hidden;
      std::memmove(to, a_.x + static_cast<size_t>(wanted.first) * s_.ld_hidden, sizeof(float) * s_.ld_hidden * wanted.count);
    }
  });
}

}  // namespace lockstep::cpu
