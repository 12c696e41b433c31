// A rank's weights: which blocks of which matrix are here, packed for the kernels, and the vectors beside them.
// Planning (what goes where) and packing (reading, converting) are in weights.cpp and pack_weights.cpp; multiplying is the backend's.
#pragma once

#include <deque>
#include <string>
#include <vector>

#include "common/model_spec.h"
#include "common/source_files.h"
#include "common/status.h"
#include "cpu/arena.h"
#include "cpu/kernels.h"
#include "cpu/threads.h"

namespace lockstep::cpu {

// Consecutive blocks of one tensor (of gate and up for a gated matrix).
struct Segment {
  Packed packed;                // blocks of this rank
  int first_row = 0;            // row of the whole tensor that is the first here
  int out_first = 0;            // column of the result that takes it
  const float* bias = nullptr;  // of the first packed row; null: none
  int num_blocks() const { return (packed.rows + kBlockRows - 1) / kBlockRows; }
};

// What is multiplied in one operation: q, k and v are three segments of one matrix.
struct Matrix {
  std::vector<Segment> segments;
  int cols = 0;
  bool gated = false;
  unsigned input_kinds = 0;  // bit of each InputKind that the whole matrix reads, on whatever rank
  int num_blocks() const;
};

struct LayerWeights {
  const float *attn_norm = nullptr, *attn_norm_bias = nullptr, *post_attn_norm = nullptr;
  const float *mlp_norm = nullptr, *mlp_norm_bias = nullptr, *post_mlp_norm = nullptr;
  const float *q_norm = nullptr, *k_norm = nullptr;
  Matrix qkv, o;
  Matrix gate_up, down;  // dense
  Matrix router;         // whole on every rank
  std::vector<Matrix> expert_gate_up, expert_down;
};

struct Weights {
  Arena arena;
  std::deque<std::vector<float>> vectors;
  std::vector<LayerWeights> layers;
  Matrix embed;  // empty when tied: rows are read from the head
  Matrix head;
  Matrix positions, types;
  const float *final_norm = nullptr, *final_norm_bias = nullptr;
};

inline unsigned kind_bit(InputKind kind) { return 1U << static_cast<unsigned>(kind); }
inline int round_up(int n, int unit) { return (n + unit - 1) / unit * unit; }

// Columns of the qkv result: q, then k, then v, each begun at a whole block.
struct QkvColumns {
  int k = 0, v = 0, end = 0;
};
QkvColumns qkv_columns(int q_rows, int kv_rows);

// Where the blocks may lie packed already, and what came of it.
struct PackedSource {
  std::string path;     // "": nowhere
  bool used = false;    // the blocks are from there
  std::string problem;  // why not, where there is a file
};

// Reads, cuts and packs; `threads` are those that will read the result, so that memory is touched first by its reader.
Status load_weights(const ModelSpec& spec, const RankShard& shard, const WeightMap& map, const Kernels& kernels, Threads* threads,
                    PackedSource* packed, Weights* out);

// --- between weights.cpp and pack_weights.cpp ---

// Rows of one tensor, or of gate and up interleaved, that become one Segment.
struct PackJob {
  const WeightTensor* tensor;
  const WeightTensor* up;  // null unless gated: blocks hold 16 rows of `tensor` and 16 of `up`
  int first_row;           // of the tensor
  int num_rows;            // gated: of each of the two
  Range cols;
  Format format;
  uint8_t* data;  // set once the arena is there
};
Status pack(const std::vector<PackJob>& jobs, const SourceFiles& files, const Kernels& kernels, Threads* threads);
// num_rows as the kernels count them.
inline int packed_rows(const PackJob& job) { return job.up != nullptr ? 2 * job.num_rows : job.num_rows; }
inline int packed_blocks(const PackJob& job) { return (job.num_rows + (job.up != nullptr ? 15 : 31)) / (job.up != nullptr ? 16 : 32); }

}  // namespace lockstep::cpu
