// A plan read from shared memory and checked once: what forward.cpp and the backends run on. Owns no shared memory and keeps what a rank
// knows of each row from step to step.
#pragma once

#include <cstdint>
#include <vector>

#include "common/grammar.h"
#include "common/lookup.h"
#include "common/mask_maker.h"
#include "common/status.h"
#include "common/step_layout.h"

namespace lockstep {

struct StepEntry {
  int row;
  int first_slot, num_slots;  // no slots: a step planned ahead for a sequence that has come to its end meanwhile
  int position;               // of the first slot
  int first_output, num_outputs;
  int num_draws;    // the last so many slots are sampled: 0 or 1, and one more for each draft
  int num_guesses;  // what the lookup says will be drawn; slots behind the first hold them as drafts, as far as the plan lets them
  int pool_slot, num_pooled;  // the slots whose hidden states are pooled; 0: none
  bool pool_adds;             // to what the row has already
};

// One row of logits that is looked at.
struct StepOutput {
  int slot;
  int entry;
  int row;
  int position;         // of the token whose logits these are; what they predict stands at position + 1
  bool sample;          // false: scored against the prompt's next token
  int draw;             // which of the entry's draws; before it stand as many drafts
  int at;               // its place in the result
  GrammarRun* grammar;  // null: the row has none
  GrammarRun::Position grammar_at;
};

struct StepView {
  const StepBuffers* buffers = nullptr;
  int epoch = 0;
  int slot = 0;  // of plan and result
  int num_tokens = 0;
  bool pools = false;  // whether any entry does
  std::vector<StepEntry> entries;
  std::vector<StepOutput> outputs;
  // [num_tokens] A token -1 - row is what that row samples in the step before, which still runs.
  std::vector<int32_t> slot_entry, slot_position, slot_token;
  std::vector<int32_t> guesses;  // [entries, max_drafts + 1]
};

// Lengths of the rows as this rank knows them, and the reading of plans. What a plan says of a decoding row is a bound: here the row gets
// the drafts that it tries, and after the step its length by those that were right.
class StepReader {
 public:
  // Takes what the largest step needs, so that read() allocates nothing.
  Status init(const StepBuffers* buffers, int vocab, const GrammarStore* grammars);
  // Fills view() from the plan of `epoch`. After an error the rank makes no further step.
  Status read(int epoch);
  // The last that was read; and that of one of the last two epochs.
  const StepView& view() const { return *view_; }
  const StepView& view(int epoch) const { return views_[epoch & 1]; }
  // Whether the plan of the next epoch can be read while the step that was read last still runs: of all that it samples, only the ids that
  // are fed back matter to the next.
  bool may_read_ahead(int epoch) const;
  Status read_ahead(int epoch);
  // The masks that the step's sampling will look at.
  void ask_masks(MaskMaker* maker) const;
  // After the step has run and every rank sees what was drawn: a draft was right when it is what was drawn in its place, and rows are as
  // long as their right drafts make them. `report`: writes what the result says of it; one rank does.
  void commit(int epoch, bool report);

 private:
  // The slots that a plan gives an entry, and those that it takes.
  struct Span {
    int position, count;
    int num_guesses;
    bool drafts;  // every slot is sampled
  };
  Status read_entry(const PlanColumns& plan, int entry);
  Status place(const PlanColumns& plan, int entry, Span* span);
  Status begin_grammar(int row);
  int guess(const PlanColumns& plan, int entry, int count);
  GrammarRun::Position follow(int row, int num_tokens);
  Status add_slots(const PlanColumns& plan, int entry, const Span& span);
  void set_pooling(int flags, StepEntry* entry);
  Status check_blocks(int row, int from_position, int end_position) const;
  int32_t* guesses_of(size_t entry) { return view_->guesses.data() + entry * (static_cast<size_t>(buffers_->dims.max_drafts) + 1); }
  const int32_t* tokens_of(int row) const { return buffers_->rows.tokens + static_cast<size_t>(row) * buffers_->dims.max_seq_len; }

  const StepBuffers* buffers_ = nullptr;
  int vocab_ = 0;
  StepView views_[kNumSlots];
  StepView* view_ = &views_[0];
  PromptLookup lookup_;
  int planned_slots_ = 0, planned_outputs_ = 0;
  std::vector<int32_t> length_;             // [max_rows] tokens whose K and V are in the cache; -1: the row was never reset
  std::vector<uint8_t> newest_is_unknown_;  // [max_rows] token number length_ is sampled by a step that still runs
  std::vector<int32_t> seen_in_;            // [max_rows] epoch (+ 1) in which the row was last seen: twice in a plan is a fault
  // How far a row's output has followed its grammar.
  struct Following {
    std::shared_ptr<GrammarRun> run;
    GrammarRun::Position at = GrammarRun::kDead;
    int num_tokens = 0;  // of the row, that it has read
  };
  const GrammarStore* grammars_ = nullptr;
  std::vector<Following> following_;  // [max_rows]
};

}  // namespace lockstep
