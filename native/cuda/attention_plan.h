// How the work of attention's tiles is cut into items (kernels.h): which slots share a tile, and whether one block has all of their keys or
// several have a piece each. Pure, and no choice of it changes a bit of a result: it only says how much runs side by side.
#pragma once

#include "common/step_view.h"
#include "cuda/kernels.h"

namespace lockstep::cuda {

struct AttentionCut {
  int few_slots, many_slots;  // of a tile of either kind
  int max_parts;              // of a step
  bool is_causal;
};
AttentionCut attention_cut(int group, int head_dim, int max_parts, bool is_causal);

// Between the beginning of a piece and the end of one.
int count_pieces(int first_key, int end_key);

struct AttentionWork {
  int num_few, num_many;  // items of either kind, those with few slots first
};

// Writes the items of a layer with this window: at most a slot's and a part's number of them. `few_alone`: even where there are many slots.
AttentionWork cut_attention(const StepView& step, const AttentionCut& cut, int window, bool few_alone, AttentionItem* items);

}  // namespace lockstep::cuda
