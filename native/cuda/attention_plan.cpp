#include "cuda/attention_plan.h"

#include <algorithm>

#include "cuda/attention_pieces.h"

namespace lockstep::cuda {
namespace {

// Slots at first, first + 1, … of the entry, over all pieces in which they see keys.
AttentionItem tile_of(const StepEntry& entry, int first, int num_slots, bool is_causal, int window) {
  const int last = entry.position + first + num_slots - 1;
  const int first_key = window > 0 ? std::max(0, entry.position + first - window + 1) : 0;
  const int all = entry.position + entry.num_slots;
  const int end = is_causal ? last + 1 : window > 0 ? std::min(all, last + window) : all;
  return {entry.first_slot + first, num_slots, piece_begin(first_key), piece_end(end - 1), -1, 0, 0};
}

}  // namespace

int count_pieces(int first_key, int end_key) {
  int count = 0;
  for (int key = first_key; key < end_key; key = piece_end(key)) count++;
  return count;
}

AttentionCut attention_cut(int group, int head_dim, int max_parts, bool is_causal) {
  return {std::max(1, kFewRows / group), std::max(1, many_rows(head_dim) / group), max_parts, is_causal};
}

AttentionWork cut_attention(const StepView& step, const AttentionCut& cut, int window, bool few_alone, AttentionItem* items) {
  int count = 0;
  int num_parts = 0;
  const auto has_few = [&](const StepEntry& entry) { return few_alone || entry.num_slots < cut.many_slots; };
  for (const StepEntry& entry : step.entries) {
    for (int first = 0; has_few(entry) && first < entry.num_slots; first += cut.few_slots) {
      const AttentionItem tile = tile_of(entry, first, std::min(cut.few_slots, entry.num_slots - first), cut.is_causal, window);
      const int num_pieces = count_pieces(tile.first_key, tile.end_key);
      if (num_pieces == 1 || num_parts + num_pieces > cut.max_parts) {
        items[count++] = tile;
        continue;
      }
      // The last pieces are the longest: they begin first.
      int part = num_parts + num_pieces;
      for (int end = tile.end_key; end > tile.first_key; end = piece_begin(end - 1)) {
        items[count++] = {tile.first_slot, tile.num_slots, piece_begin(end - 1), end, --part, num_parts, num_pieces};
      }
      num_parts += num_pieces;
    }
  }
  const int num_few = count;
  // The last tile of a chunk has the most keys: it begins first.
  for (const StepEntry& entry : step.entries) {
    if (has_few(entry)) continue;
    for (int first = (entry.num_slots - 1) / cut.many_slots * cut.many_slots; first >= 0; first -= cut.many_slots) {
      items[count++] = tile_of(entry, first, std::min(cut.many_slots, entry.num_slots - first), cut.is_causal, window);
    }
  }
  return {num_few, count - num_few};
}

}  // namespace lockstep::cuda
