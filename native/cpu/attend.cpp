// Attention's work: rotation and the KV cache, then items of (entry, KV head, query tile, pieces of context) dealt to ranks by cost and to
// threads by stealing. Who computes an item changes no bit: pieces are counted from position 0 and joined in order (architecture, §5.3).
//
// An item rotates its query heads itself, and that of a decoding row appends its K and V as well: nobody else reads them in this step,
// unless the token fills a block, which makes it known to the prefix cache. All others are placed before any item begins.
//
// An item normally takes all pieces of its queries and joins them at once. When there are too few items for the threads (one long sequence
// decoding), an item is one piece, and attention_merge joins them after the meeting.
#include <algorithm>
#include <cmath>

#include "cpu/backend.h"

namespace lockstep::cpu {
KvView CpuBackend::kv_view(int layer, int kv_head, int row) const {
  const GroupConfig& config = group_->config();
  const size_t head_bytes = kv_head_block_bytes(config);
  KvView view;
  view.type = config.kv_type;
  view.head_dim = s_.head_dim;
  view.block_size = config.dims.block_size;
  // [block][layer][head]: a block of few tokens touches few pages, and the blocks in use lie together.
  view.block_stride = head_bytes * s_.kv_heads * spec_.layers.size();
  view.base = kv_ + head_bytes * (static_cast<size_t>(layer) * s_.kv_heads + kv_head);
  view.table = group_->buffers().rows.blockTables + static_cast<size_t>(row) * config.dims.max_blocks_per_row;
  return view;
}

// cos and sin of every slot's position, once a step for all layers.
void CpuBackend::prepare_rotation() {
  for (size_t r = 0; r < spec_.ropes.size(); r++) {
    const RopeSpec& rope = spec_.ropes[r];
    const int half = rope.rotary_dim / 2;
    threads_->run(m_, row_grain(half * 32), [&](int, int first, int n) {
      for (int slot = first; slot < first + n; slot++) {
        const Rotation to = rotation_of(static_cast<int>(r), slot);
        for (int i = 0; i < half; i++) {
          // The angle is rounded to float as transformers does; its sine is then exact.
          const float angle = static_cast<float>(step_->slot_position[slot]) * rope.inverse_frequencies[i];
          to.cos[i] = static_cast<float>(std::cos(static_cast<double>(angle)) * rope.attention_factor);
          to.sin[i] = static_cast<float>(std::sin(static_cast<double>(angle)) * rope.attention_factor);
        }
      }
    });
  }
}

// Fetches what place_head reads: values of a slot's row from `column` on, which other cores may have written, and the rotation.
void CpuBackend::fetch_heads(int layer, int slot, int column, int values) const {
  fetch_values(a_.qkv + static_cast<size_t>(slot) * s_.ld_qkv + column, values);
  const int rope = spec_.layers[layer].rope;
  if (rope < 0) return;
  const Rotation rotation = rotation_of(rope, slot);
  fetch_values(rotation.cos, rotation.dims / 2);
  fetch_values(rotation.sin, rotation.dims / 2);
}

// Query or KV head h (the KV heads follow the query heads) of a slot: norm and rotation in place, and K and V into the cache.
void CpuBackend::place_head(int layer, int slot, int h, float* normed) {
  const LayerSpec& spec = spec_.layers[layer];
  const LayerWeights& lw = w_.layers[layer];
  const int d = s_.head_dim;
  const int kv_head = h - s_.heads;
  float* row = a_.qkv + static_cast<size_t>(slot) * s_.ld_qkv;
  float* head = kv_head < 0 ? row + h * d : row + s_.qkv.k + kv_head * d;
  if (spec.qk_norm.present) {
    k_.rms_norm(head, kv_head < 0 ? lw.q_norm : lw.k_norm, spec.qk_norm.weight_offset, spec.qk_norm.eps, d, normed);
    std::copy(normed, normed + d, head);
  }
  if (spec.rope >= 0) {
    const Rotation rotation = rotation_of(spec.rope, slot);
    k_.rope(head, rotation.cos, rotation.sin, rotation.dims);
  }
  if (kv_head < 0) return;
  const int sequence_row = step_->entries[step_->slot_entry[slot]].row;
  k_.kv_append(kv_view(layer, kv_head, sequence_row), step_->slot_position[slot], head, row + s_.qkv.v + kv_head * d);
}

// What more than one item of attention reads. Other heads are placed by the item that reads them.
void CpuBackend::rope_append(int layer) {
  const int count = static_cast<int>(placed_before_.size());
  const int k_and_v = s_.qkv.v - s_.qkv.k + s_.kv_heads * s_.head_dim;
  deal(count, row_grain(s_.head_dim * 4 * s_.kv_heads), [&](int thread, int first, int n) {
    float* normed = row_scratch_ + row_scratch_ld_ * thread;
    for (int i = first; i < first + n; i++) {
      if (i + kRowsAhead < count) fetch_heads(layer, placed_before_[i + kRowsAhead].slot, s_.qkv.k, k_and_v);
      for (int h = placed_before_[i].first_head; h < s_.heads + s_.kv_heads; h++) place_head(layer, placed_before_[i].slot, h, normed);
    }
  });
}

// The query heads, as they are numbered here, that read KV head `kv_head` of this rank.
Range CpuBackend::query_heads(int kv_head) const {
  const int group = spec_.heads / spec_.kv_heads;
  const int first = std::max(shard_.heads.first, (shard_.kv_heads.first + kv_head) * group);
  const int end = std::min(shard_.heads.end(), (shard_.kv_heads.first + kv_head + 1) * group);
  return {first - shard_.heads.first, end - first};
}

// Query rows of an item of this entry: what is kept of all pieces of its context has a bound.
int CpuBackend::tile_rows(const StepEntry& entry) const {
  const int group = spec_.heads / spec_.kv_heads;
  const size_t pieces = static_cast<size_t>(entry.position + entry.num_slots - 1) / kPiece + 1;
  const int fit = static_cast<int>(std::min<size_t>(kPieceBytes / (group * pieces * result_bytes()), kTileQueries));
  return std::max(1, std::min(fit, kTileQueries / group));
}

// The keys that query `row` of the entry sees end before this one.
int CpuBackend::keys_end(const StepEntry& entry, int row, int window) const {
  const int all = entry.num_slots;
  return entry.position + (spec_.causal ? row + 1 : window > 0 && all - row > window ? row + window : all);
}

void CpuBackend::plan_entry(const StepEntry& entry, int index, const Wanted& queries, int window, bool few_items, int* split_used) {
  const bool split = few_items && entry.num_slots <= kSplitRows;
  const int tile = tile_rows(entry);
  const bool fills_block = (entry.position + 1) % group_->config().dims.block_size == 0;
  const bool appends = entry.num_slots == 1 && queries.count == 1 && !split && !fills_block;
  for (int slot = 0; !appends && slot < entry.num_slots; slot++) placed_before_.push_back({entry.first_slot + slot, split ? 0 : s_.heads});
  // Items of the same rows lie together, so that most are with the thread that has these rows in the products too.
  for (int at = 0; at < queries.count; at += tile) {
    const int row = queries.first - entry.first_slot + at;
    const int to = queries.to + at;
    const int rows = std::min(tile, queries.count - at);
    for (int kv_head = 0; kv_head < s_.kv_heads; kv_head++) {
      const int heads = query_heads(kv_head).count;
      const int first_key = window > 0 ? std::max(0, entry.position + row - window + 1) : 0;
      const int first_piece = first_key / kPiece;
      const int end = keys_end(entry, row + rows - 1, window);
      const int pieces = (end - 1) / kPiece + 1 - first_piece;
      const int64_t cost = static_cast<int64_t>(rows) * heads * (end - first_key);
      const int results = rows * heads * pieces;
      if (!split || pieces == 1 || *split_used + results > kMaxSplitRows * s_.heads * s_.max_pieces) {
        items_.push_back({index, kv_head, row, rows, to, first_piece, pieces, -1, !split, appends, cost});
        continue;
      }
      splits_.push_back({to, rows, kv_head, pieces, *split_used});
      for (int p = 0; p < pieces; p++)
        items_.push_back({index, kv_head, row, rows, to, first_piece + p, 1, *split_used + p * rows * heads, false, false, cost / pieces});
      *split_used += results;
    }
  }
}

// The same list on every rank, cut into stretches of equal cost. Layers of one window share it, but for the last one.
void CpuBackend::plan_attention(int layer) {
  const Plan plan{spec_.layers[layer].window, is_last(layer) && narrows()};
  if (plan == planned_) return;
  planned_ = plan;
  items_.clear();
  splits_.clear();
  placed_before_.clear();
  const auto queries_of = [&](size_t i) {
    const StepEntry& entry = step_->entries[i];
    return plan.wanted_alone ? wanted_[i] : Wanted{entry.first_slot, entry.num_slots, entry.first_slot};
  };
  int tiles = 0;
  for (size_t i = 0; i < step_->entries.size(); i++) {
    const int tile = tile_rows(step_->entries[i]);
    tiles += (queries_of(i).count + tile - 1) / tile * s_.kv_heads;
  }
  const int workers = threads_->count() * (gather_ ? shard_.world_size : 1);
  int split_used = 0;
  for (size_t i = 0; i < step_->entries.size(); i++)
    plan_entry(step_->entries[i], static_cast<int>(i), queries_of(i), plan.window, workers > 1 && tiles < 4 * workers, &split_used);

  if (!shares_work()) return;
  int64_t total = 0;
  for (const AttentionItem& item : items_) total += item.cost;
  int64_t before = 0;
  int item = 0;
  for (int rank = 0; rank < shard_.world_size; rank++) {
    while (item < static_cast<int>(items_.size()) && (before + items_[item].cost / 2) * shard_.world_size < total * rank)
      before += items_[item++].cost;
    first_item_[rank] = item;
  }
  first_item_[shard_.world_size] = static_cast<int>(items_.size());
}

void CpuBackend::run_item(const AttentionItem& item, const LayerSpec& layer_spec, int layer, int thread) {
  const StepEntry& entry = step_->entries[item.entry];
  const Range heads = query_heads(item.kv_head);
  const int slot = entry.first_slot + item.row;
  const int queries = item.rows * heads.count;
  const int d = s_.head_dim;
  uint8_t* scratch = attention_scratch_ + attention_scratch_bytes_ * thread;
  float* own = reinterpret_cast<float*>(scratch + kernel_scratch_bytes_);
  float* normed = row_scratch_ + row_scratch_ld_ * thread;
  for (int row = 0; item.rotates && row < item.rows; row++) {
    if (row + kRowsAhead < item.rows) fetch_heads(layer, slot + row + kRowsAhead, heads.first * d, heads.count * d);
    for (int h = heads.first; h < heads.end(); h++) place_head(layer, slot + row, h, normed);
  }
  if (item.appends) place_head(layer, slot, s_.heads + item.kv_head, normed);
  AttentionArgs args;
  args.kv = kv_view(layer, item.kv_head, entry.row);
  args.q = a_.qkv + static_cast<size_t>(slot) * s_.ld_qkv + heads.first * d;
  args.q_row_stride = s_.ld_qkv;
  args.q_head_stride = d;
  args.rows = item.rows;
  args.heads = heads.count;
  args.pos0 = entry.position + item.row;
  args.window = layer_spec.window;
  args.end = spec_.causal ? 0 : entry.position + entry.num_slots;
  args.scale = layer_spec.scale;
  args.softcap = layer_spec.softcap;
  args.scratch = scratch;
  const size_t results = static_cast<size_t>(queries) * item.pieces;
  float* max = item.split < 0 ? own : a_.split_max + item.split;
  float* sum = item.split < 0 ? own + results : a_.split_sum + item.split;
  float* acc = item.split < 0 ? own + 2 * results : a_.split_acc + static_cast<size_t>(item.split) * d;
  for (int p = 0; p < item.pieces; p++) {
    args.piece = item.piece + p;
    args.max = max + static_cast<size_t>(p) * queries;
    args.sum = sum + static_cast<size_t>(p) * queries;
    args.acc = acc + static_cast<size_t>(p) * queries * d;
    k_.attention(args);
  }
  if (item.split >= 0) return;
  const bool rounds = attention_is_input(layer);
  const size_t ld = rounds ? s_.heads * d : s_.ld_attn;
  const size_t at = item.to * ld + heads.first * d;
  uint16_t* bf16 = rounds ? reinterpret_cast<uint16_t*>(a_.attn) + at : nullptr;
  const size_t stride = queries;
  k_.attention_merge({max, sum, acc, stride, item.pieces, item.rows, heads.count, d, a_.attn + at, bf16, ld});
}

void CpuBackend::attention(int layer) {
  const LayerSpec& spec = spec_.layers[layer];
  if (is_last(layer)) narrow();
  auto run_items = [&](int thread, int first, int n) {
    for (int i = first; i < first + n; i++) run_item(items_[i], spec, layer, thread);
  };
  if (!shares_work()) return threads_->run(static_cast<int>(items_.size()), 1, run_items);
  share_out(
      1, [&](int rank) { return first_item_[rank + 1] - first_item_[rank]; },
      [&](int rank, int thread, int first, int n) { run_items(thread, first_item_[rank] + first, n); });
}

// Whether attention leaves the input of out_projection in `attn`, as bf16 rows without padding; of a step whose contexts are not split.
bool CpuBackend::attention_is_input(int layer) const {
  return splits_.empty() && s_.heads * s_.head_dim % kGroup == 0 && w_.layers[layer].o.input_kinds == kind_bit(InputKind::kBf16);
}

// Heads of row `to` whose context was split, into a copy of it.
bool CpuBackend::merge_splits(int to, float* out) const {
  bool any = false;
  const int d = s_.head_dim;
  for (const Split& split : splits_) {
    const int row = to - split.to;
    if (row < 0 || row >= split.rows) continue;
    const Range heads = query_heads(split.kv_head);
    if (!any) std::copy(a_.attn + static_cast<size_t>(to) * s_.ld_attn, a_.attn + static_cast<size_t>(to + 1) * s_.ld_attn, out);
    any = true;
    const size_t at = static_cast<size_t>(split.at) + row * heads.count;
    const size_t stride = static_cast<size_t>(split.rows) * heads.count;
    k_.attention_merge({a_.split_max + at, a_.split_sum + at, a_.split_acc + at * d, stride, split.pieces, 1, heads.count, d,
                        out + heads.first * d, nullptr, 0});
  }
  return any;
}

void CpuBackend::attention_merge(int layer) {
  const unsigned kinds = w_.layers[layer].o.input_kinds;
  const int k = s_.heads * s_.head_dim;
  if (k == 0) return;  // reduce mode: a rank without heads
  deal(m_, row_grain(k), [&](int thread, int first, int n) {
    float* merged = row_scratch_ + row_scratch_ld_ * thread;
    for (int i = first; i < first + n; i++) {
      const float* row = a_.attn + static_cast<size_t>(i) * s_.ld_attn;
      if (!splits_.empty() && merge_splits(i, merged)) row = merged;
      prepare_row(row, k, kinds, nullptr, i, merged);
    }
  });
}

}  // namespace lockstep::cpu
