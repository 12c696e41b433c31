// A plan read from shared memory and checked once: what forward.cpp and the backends run on. Owns no shared memory and keeps what a rank
// knows of each row from step to step.
#pragma once

#include <cstdint>
#include <vector>

#include "common/status.h"
#include "common/step_layout.h"

namespace lockstep {

struct StepEntry {
  int row;
  int first_slot, num_slots;
  int position;  // of the first slot
  int first_output, num_outputs;
  bool sample;
};

// One row of logits that is looked at.
struct StepOutput {
  int slot;
  int entry;
  int row;
  int position;  // of the token whose logits these are; what they predict stands at position + 1
  bool sample;   // false: scored against the prompt's next token
};

struct StepView {
  const StepBuffers* buffers = nullptr;
  int epoch = 0;
  int slot = 0;  // of plan and result
  int num_tokens = 0;
  std::vector<StepEntry> entries;
  std::vector<StepOutput> outputs;
  // [num_tokens]
  std::vector<int32_t> slot_entry, slot_position, slot_token;
};

// Lengths of the rows as this rank knows them, and the reading of plans.
class StepReader {
 public:
  // Reserves for the largest step, so that read() allocates nothing.
  void init(const StepBuffers* buffers, int vocab);
  // Fills view() from the plan of `epoch`. After an error the rank makes no further step.
  Status read(int epoch);
  const StepView& view() const { return view_; }
  // After the step has run: rows are as long as the step made them.
  void commit();

 private:
  Status read_entry(const PlanColumns& plan, int entry);
  Status check_blocks(int row, int from_position, int end_position) const;

  const StepBuffers* buffers_ = nullptr;
  int vocab_ = 0;
  StepView view_;
  std::vector<int32_t> length_;   // [max_rows] tokens whose K and V are in the cache; -1: the row was never reset
  std::vector<int32_t> seen_in_;  // [max_rows] epoch (+ 1) in which the row was last seen: twice in a plan is a fault
};

}  // namespace lockstep
