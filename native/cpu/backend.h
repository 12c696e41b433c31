// The CPU's DeviceBackend: one rank's part of every operation, over its compute threads. Where results lie decides the mode: in gather mode
// the buffers are the group's, the ranks do each operation together, and what a rank writes of them and reads of what others wrote it does
// within a chunk of an operation (see shared_work.h); in reduce mode the buffers are its own.
// Memory and the beginning of a step are in setup.cpp, linear layers and row work in backend.cpp, attention in attend.cpp, experts in
// experts.cpp, head, pooling and sampling in head.cpp.
#pragma once

#include <atomic>
#include <memory>
#include <vector>

#include "common/backend.h"
#include "common/output_sampler.h"
#include "cpu/group.h"
#include "cpu/pages_ahead.h"
#include "cpu/shm_communicator.h"
#include "cpu/threads.h"
#include "cpu/weights.h"

namespace lockstep::cpu {

constexpr int kTileQueries = 64;                 // query rows * heads of an attention item: K and V tiles are read once for them
constexpr size_t kPieceBytes = size_t{4} << 20;  // bounds what a thread keeps of an item's pieces
constexpr int kRowsAhead = 2;                    // rows that are fetched before they are read: the core that wrote one may be another
constexpr int kSplitRows = 4;                    // longest entry whose pieces are split over threads: decode and short drafts

// Fetches values that lie one after the other.
inline void fetch_values(const float* values, int count) {
  const char* first = reinterpret_cast<const char*>(values);
  for (size_t at = 0; at < sizeof(float) * count; at += 64) __builtin_prefetch(first + at, 0, 3);
}

// A product of many rows cut into parts of rows as well, for so many workers: a worker multiplies the rows that it norms, rounds and adds
// to, since what one core writes and another reads costs more than reading the weights once a part. A part still has rows enough to hide
// that reading.
class RowParts {
 public:
  RowParts(int m, int workers);
  int count() const { return count_; }
  // work(rows, first block, blocks) for the chunks first … first + n - 1, of so many blocks in each part.
  template <class Work>
  void each(int blocks, int first, int n, Work work) const {
    for (int end = first + n; first < end;) {
      const int part = first / blocks;
      const int block = first % blocks;
      const int count = std::min(end - first, blocks - block);
      work(Range{begin(part), begin(part + 1) - begin(part)}, block, count);
      first += count;
    }
  }

 private:
  int begin(int part) const { return part == count_ ? m_ : m_ * part / count_ / kTile * kTile; }
  static constexpr int kTile = 16;  // rows; ends that are further apart would leave some workers waiting
  int m_, count_;
};

// The operation to `out` with everything else neutral.
inline GemmOut store_to(float* out, size_t ld) {
  return GemmOut{Epilogue::kStore, Activation::kSilu, nullptr, out, ld, nullptr, nullptr, nullptr};
}

// Without the rows before `row`.
Input from_row(Input input, int row);
GemmOut from_row(GemmOut out, int row);

class CpuBackend final : public DeviceBackend {
 public:
  CpuBackend(Group* group, const RankShard& shard, const Weights* weights, Threads* threads, ShmCommunicator* ranks);
  // Takes what a step needs; after this nothing is allocated.
  Status init();

  float* partial() override { return a_.y; }
  size_t partial_count() const override { return static_cast<size_t>(m_) * s_.ld_hidden; }
  bool sums_ranks() const override { return gather_; }
  bool gathers_ranks() const override { return gather_; }
  bool samples_in_order() const override { return gather_; }
  Status begin_step(const StepView& step) override;
  void embed() override;
  void add_embedding() override;
  void attention_input(int layer) override;
  void qkv(int layer) override;
  void rope_append(int layer) override;
  bool has_rope_append(int) const override { return !placed_before_.empty(); }
  void attention(int layer) override;
  void attention_merge(int layer) override;
  bool has_attention_merge(int layer) const override { return !attention_is_input(layer); }
  void out_projection(int layer) override;
  void add_attention(int layer) override;
  void mlp_input(int layer) override;
  void gate_up(int layer) override;
  void down_input(int layer) override;
  bool has_down_input(int layer) const override { return !activation_is_input(layer); }
  void down(int layer) override;
  void add_mlp(int layer) override;
  void pool() override;
  void head_input(int first, int count) override;
  void head(int first, int count) override;
  const float* logits_part() override { return a_.logits; }
  size_t logits_part_count() const override { return static_cast<size_t>(kHeadRows) * s_.ld_logits; }
  float* logits_whole() override { return logits_whole_; }
  Status sample(int first, int count) override;
  Status end_step(const StepView& step) override;
  bool adds_attention(int layer) const override { return !gather_ || spec_.layers[layer].after_attention.present; }
  bool adds_mlp(int layer) const override { return !gather_ || spec_.layers[layer].after_mlp.present; }

 private:
  // One (entry, KV head, query tile, pieces of context) of attention.
  struct AttentionItem {
    int entry, kv_head;
    int row, rows;      // of the entry's slots
    int to;             // row of the result of the first
    int piece, pieces;  // first and number
    int split;          // place of its results in the split buffers, in query rows * heads * pieces; -1: joined at once
    bool rotates;       // its query heads
    bool appends;       // K and V
    int64_t cost;
  };
  // A split entry and KV head, to be joined by attention_merge.
  struct Split {
    int to;  // row of the result of the first query
    int rows, kv_head, pieces, at;
  };
  // Slots of an entry whose hidden states are read after the layers, and the row of x that the first of them has from then on.
  struct Wanted {
    int first, count, to;
  };
  // What attention's items were listed for. Layers with and without a window need other pieces.
  struct Plan {
    int window;
    bool wanted_alone;  // queries
    bool operator==(const Plan& other) const { return window == other.window && wanted_alone == other.wanted_alone; }
  };
  // cos and sin of a slot's position, for pairs of `dims` values.
  struct Rotation {
    float *cos, *sin;  // [dims / 2]
    int dims;
  };
  struct Norm {
    const NormSpec* spec;
    const float *weight, *bias;
  };
  // How rows of activations become rows of Input.
  struct RowSource {
    const float* base;
    size_t ld;
    const StepOutput* outputs;  // not null: row i is that of the i-th output
  };

  // backend.cpp
  int row_grain(int values) const;
  Input input_of(int k, int first_row) const;
  bool activation_is_input(int layer) const;
  int down_width(int layer) const;
  void prepare(const RowSource& source, int rows, int k, unsigned kinds, const Norm* norm);
  void prepare_row(const float* source, int k, unsigned kinds, const Norm* norm, int row, float* scratch);
  void apply_norm(const Norm& norm, const float* x, float* out) const;
  void add_rows(const Norm& norm, int rows);
  void multiply(const Matrix& w, const Input& input, int m, const GemmOut& out, const Matrix* next);
  const uint8_t* share_of(const Matrix* w, int thread) const;
  template <class MatrixOf>
  void multiply_shared(MatrixOf matrix_of, const Input& input, int m, const GemmOut& out, const Matrix* next);
  bool shares_work() const { return gather_ && shard_.world_size > 1; }
  template <class CountOf, class WorkOn>
  void share_out(int grain, CountOf count_of, WorkOn work_on);
  template <class Work>
  void deal(int count, int grain, Work work);
  template <class ChunksOf, class Work>
  void share_parts(ChunksOf chunks_of, Work work);
  void multiply_chunk(const Matrix& w, int first, int count, const Input& input, int m, const GemmOut& out, const uint8_t* then);
  void lookup(const Matrix Weights::*table, int id, float* out) const;
  void finish_embedding(int i, const float* embeddings, int thread);
  int token_type(int slot) const;
  int linear_grain(int blocks) const;
  // attend.cpp
  KvView kv_view(int layer, int kv_head, int row) const;
  void prepare_rotation();
  Rotation rotation_of(int rope, int slot) const {
    const int dims = spec_.ropes[rope].rotary_dim;
    const size_t at = rope_offset_[rope] + static_cast<size_t>(slot) * (dims / 2);
    return {cos_ + at, sin_ + at, dims};
  }
  void fetch_heads(int layer, int slot, int column, int values) const;
  void place_head(int layer, int slot, int h, float* normed);
  Range query_heads(int kv_head) const;
  int tile_rows(const StepEntry& entry) const;
  int keys_end(const StepEntry& entry, int row, int window) const;
  // Of one query row, head and piece: maximum, sum and weighted values.
  size_t result_bytes() const { return (static_cast<size_t>(s_.head_dim) + 2) * sizeof(float); }
  void plan_attention(int layer);
  void plan_entry(const StepEntry& entry, int entry_index, const Wanted& queries, int window, bool few_items, int* split_used);
  void run_item(const AttentionItem& item, const LayerSpec& layer_spec, int layer, int thread);
  bool merge_splits(int to, float* out) const;
  bool attention_is_input(int layer) const;
  // wanted.cpp
  void find_wanted();
  void narrow();
  bool narrows() const { return num_wanted_ < step_->num_tokens; }
  bool is_last(int layer) const { return layer + 1 == static_cast<int>(spec_.layers.size()); }
  int row_of(int entry, int slot) const { return wanted_[entry].to + slot - wanted_[entry].first; }
  // experts.cpp
  void route(int layer);
  void experts_gate_up(int layer);
  void experts_down(int layer);
  void clear_columns(const Segment& segment, int first, int n, float* y) const;
  unsigned mlp_input_kinds(int layer) const;
  unsigned down_input_kinds(int layer) const;
  // head.cpp
  void pool_entry(int entry, float* scratch) const;
  float* whole_row(int i, float* scratch) const;
  void sample_output(int index, int i, int thread);
  // setup.cpp
  void take_memory(ArenaCursor* cursor);
  void use_kv_pages(const StepView& step);

  Group* const group_;
  const ModelSpec& spec_;
  const Kernels& k_;
  const RankShard shard_;
  const Weights& w_;
  std::vector<std::shared_ptr<const Weights>> parts_;  // [ranks] gather: everyone's, kept for as long as this rank may read them
  Threads* const threads_;
  ShmCommunicator* const ranks_;
  const bool gather_;
  Shapes s_;
  Activations a_;  // the group's, or this rank's own
  uint8_t* kv_ = nullptr;
  Arena memory_, own_kv_;
  PagesAhead kv_pages_;
  float* logits_whole_ = nullptr;  // reduce: [ranks, kHeadRows, ld_logits]
  std::vector<float> row_logits_;  // reduce: [threads, vocab]
  float* row_scratch_ = nullptr;   // [threads, max_input] a row between norm and quantising
  size_t row_scratch_ld_ = 0;
  float *cos_ = nullptr, *sin_ = nullptr;  // [ropes][max_tokens][rotary_dim / 2]
  std::vector<size_t> rope_offset_;        // [ropes]
  size_t num_rotations_ = 0;
  uint8_t* attention_scratch_ = nullptr;  // [threads]
  size_t attention_scratch_bytes_ = 0;    // of a thread: the kernel's, then the pieces of an item
  size_t kernel_scratch_bytes_ = 0;

  // Of the step that runs.
  const StepView* step_ = nullptr;
  int m_ = 0;  // rows of activations: one a slot, until narrow()
  std::vector<AttentionItem> items_;
  std::vector<Split> splits_;
  // Heads of a slot, from the first on, that are rotated and appended before attention begins; the KV heads follow the query heads.
  struct PlacedBefore {
    int slot, first_head;
  };
  std::vector<PlacedBefore> placed_before_;
  std::vector<int> first_item_;  // [ranks + 1] of items_, by cost
  Plan planned_{-1, false};      // items_
  std::vector<Wanted> wanted_;   // [entries]
  int num_wanted_ = 0;
  std::atomic<int> fault_{0};

  const OutputSampler outputs_;
  std::vector<Sampler> samplers_;  // [threads]
};

// Every thread of every rank takes chunks of its own rank's part and then of the others': work_on(rank, thread, first, n).
template <class CountOf, class WorkOn>
void CpuBackend::share_out(int grain, CountOf count_of, WorkOn work_on) {
  int count = 0;
  for (int rank = 0; rank < shard_.world_size; rank++) count += count_of(rank);
  if (count == 0 || !ranks_->begin_work()) return;
  threads_->run(count > grain ? threads_->count() : 1, 1, [&](int thread, int, int) {
    int done = 0;
    for (int i = 0; i < shard_.world_size; i++) {
      const int rank = (shard_.rank + i) % shard_.world_size;
      const int part = count_of(rank);
      int first = 0;
      int n = 0;
      for (; ranks_->take(rank, grain, part, &first, &n); done += n) work_on(rank, thread, first, n);
    }
    if (done > 0) ranks_->add_done(done, count);
  });
  ranks_->end_work();
}

// Rows, or whatever else is done one by one, dealt over ranks and threads: work(thread, first, n).
template <class Work>
void CpuBackend::deal(int count, int grain, Work work) {
  if (!shares_work()) return threads_->run(count, grain, work);
  const auto begin = [&](int rank) { return static_cast<int>(static_cast<int64_t>(count) * rank / shard_.world_size); };
  share_out(
      grain, [&](int rank) { return begin(rank + 1) - begin(rank); },
      [&](int rank, int thread, int first, int n) { work(thread, begin(rank) + first, n); });
}

// Chunks that lie with the ranks: chunks_of(weights) of each, and work(weights, first, n).
template <class ChunksOf, class Work>
void CpuBackend::share_parts(ChunksOf chunks_of, Work work) {
  const int own = chunks_of(w_);
  if (!shares_work()) return threads_->run(own, linear_grain(own), [&](int, int first, int n) { work(w_, first, n); });
  share_out(
      linear_grain(own), [&](int rank) { return chunks_of(*parts_[rank]); },
      [&](int rank, int, int first, int n) { work(*parts_[rank], first, n); });
}

// The product with a matrix whose parts lie with the ranks; any rank may do any of them. `next`: this rank's part of the one that follows.
// Many rows are cut as by multiply(): a rank then begins with all blocks of its own rows, and not with its own blocks of all rows.
template <class MatrixOf>
void CpuBackend::multiply_shared(MatrixOf matrix_of, const Input& input, int m, const GemmOut& out, const Matrix* next) {
  if (!shares_work()) return multiply(matrix_of(w_), input, m, out, next);
  if (m == 0) return;
  const int ranks = shard_.world_size;
  const auto part_of = [&](int rank) -> const Matrix& { return matrix_of(*parts_[rank]); };
  const RowParts rows(m, ranks);
  if (rows.count() < ranks) {
    return share_out(
        linear_grain(matrix_of(w_).num_blocks()), [&](int rank) { return part_of(rank).num_blocks(); },
        [&](int rank, int thread, int first, int n) {
          const Matrix& w = part_of(rank);
          const bool ends_share = rank == shard_.rank && first + n == w.num_blocks();
          multiply_chunk(w, first, n, input, m, out, ends_share ? share_of(next, thread) : nullptr);
        });
  }
  int blocks = 0;
  for (int rank = 0; rank < ranks; rank++) blocks += part_of(rank).num_blocks();
  const int rounds = rows.count() / ranks;  // parts of a rank's own
  share_out(
      linear_grain(blocks * rounds), [&](int) { return blocks * rounds; },
      [&](int owner, int, int first, int n) {
        rows.each(blocks, owner * rounds * blocks + first, n, [&](Range r, int block, int count) {
          for (int rank = 0, before = 0; rank < ranks; before += part_of(rank++).num_blocks()) {
            const Matrix& w = part_of(rank);
            const int from = std::max(block - before, 0);
            const int to = std::min(block + count - before, w.num_blocks());
            if (from < to) multiply_chunk(w, from, to - from, from_row(input, r.first), r.count, from_row(out, r.first), nullptr);
          }
        });
      });
}

}  // namespace lockstep::cpu
