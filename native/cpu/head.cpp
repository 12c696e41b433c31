// The head, pooling and sampling: rows of logits are dealt over all threads (of all ranks, in gather mode).
#include "cpu/backend.h"

namespace lockstep::cpu {

// An entry is one thread's: its hidden states are added up in the order of positions, one after the other, so that the sum has the same
// bits whatever the chunks, the batch and the number of ranks and threads.
void CpuBackend::pool_entry(int index, float* scratch) const {
  const StepEntry& entry = step_->entries[index];
  const Norm norm{&spec_.final_norm, w_.final_norm, w_.final_norm_bias};
  float* pooled = group_->buffers().rows.pooled + static_cast<size_t>(entry.row) * spec_.hidden;
  for (int slot = entry.pool_slot; slot < entry.pool_slot + entry.num_pooled; slot++) {
    const float* x = a_.x + static_cast<size_t>(row_of(index, slot)) * s_.ld_hidden;
    if (slot == entry.pool_slot && !entry.pool_adds) {
      apply_norm(norm, x, pooled);
    } else {
      apply_norm(norm, x, scratch);
      k_.add(scratch, spec_.hidden, pooled);
    }
  }
}

void CpuBackend::pool() {
  if (!gather_ && shard_.rank != 0) return;  // every rank has all of x
  deal(static_cast<int>(step_->entries.size()), 1, [&](int thread, int first, int n) {
    for (int i = first; i < first + n; i++) pool_entry(i, row_scratch_ + row_scratch_ld_ * thread);
  });
}

void CpuBackend::head_input(int first, int count) {
  const Norm norm{&spec_.final_norm, w_.final_norm, w_.final_norm_bias};
  prepare({a_.x, static_cast<size_t>(s_.ld_hidden), step_->outputs.data() + first}, count, spec_.hidden, w_.head.input_kinds, &norm);
}

void CpuBackend::head(int, int count) {
  multiply_shared([](const Weights& w) -> const Matrix& { return w.head; }, input_of(spec_.hidden, 0), count,
                  store_to(a_.logits, s_.ld_logits), nullptr);
}

// Row i of the logits, whole. In reduce mode the ranks' parts are put side by side in `scratch`.
float* CpuBackend::whole_row(int i, float* scratch) const {
  if (gather_) return a_.logits + static_cast<size_t>(i) * s_.ld_logits;
  join_vocabulary(logits_whole_, shard_.world_size, kHeadRows, i, s_.ld_logits, spec_.vocab, scratch);
  return scratch;
}

// Only one thread of one rank writes an output; in reduce mode, where every rank comes to the same id, that is rank 0's.
void CpuBackend::sample_output(int index, int i, int thread) {
  float* logits = whole_row(i, gather_ ? nullptr : row_logits_.data() + static_cast<size_t>(thread) * spec_.vocab);
  const bool are_numbers = outputs_.sample(*step_, index, logits, gather_ || shard_.rank == 0, &samplers_[thread]);
  if (!are_numbers) fault_.store(1, std::memory_order_relaxed);
}

Status CpuBackend::sample(int first, int count) {
  deal(count, 1, [&](int thread, int at, int n) {
    for (int i = at; i < at + n; i++) sample_output(first + i, i, thread);
  });
  if (fault_.load(std::memory_order_relaxed) != 0)
    return Status(Fault::kNumerics, "the logits are not numbers: broken weights or an overflow");
  return threads_->status();
}

}  // namespace lockstep::cpu
