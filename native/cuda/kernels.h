// The CUDA kernels as one table: a function a family, each in a file of its own (embedding.cu, norm.cu, …), with one struct of arguments.
// Plain C++: the callers, and the tests that stand in for a device, are compiled without CUDA.
//
// Every pointer is device memory; matrices are row-major; a row stride ("ld") is in elements and a multiple of kAlign, and the elements of
// a row between its width and its stride are zeros, so that kernels read whole vectors. Sums are float32, in an order that the shape of one
// row alone decides: the same bits whatever the number of rows. A call only puts work into the stream; its Error is that of the launch.
//
// The first of each family is the plain one. It stays when faster ones come, as their reference, and as what tests without a device run.
#pragma once

#include <cstddef>
#include <cstdint>

#include "common/activation.h"
#include "common/philox.h"
#include "cuda/bricks.h"
#include "cuda/runtime.h"

namespace lockstep::cuda {

enum class Type : uint8_t { kF32, kBf16 };
constexpr size_t type_bytes(Type type) { return type == Type::kF32 ? 4 : 2; }
constexpr int kAlign = 8;          // 16 bytes of bf16
constexpr int kMaxHeadDim = 256;   // a lane of a warp holds head_dim / 32 values
constexpr int kMaxExperts = 1024;  // what one block routes

// Rows of floats, or the same rows in both types: what matrices of either type read. A null pointer is not written.
struct RowsOut {
  float* f32;
  uint16_t* bf16;
  int ld;
};

struct NormWeights {
  const float* weight;  // [n]
  const float* bias;    // [n] or null
  float weight_offset, eps;
  bool layer_norm;  // else RMS norm
};

// out[i] = table[id - first_row], zeros where that is another rank's row. The id is ids[i], or where that is negative what the sequence
// row -1 - ids[i] sampled last.
struct EmbedArgs {
  const int32_t* ids;   // [rows]
  const int32_t* last;  // [sequence rows]
  const void* table;    // [table_rows, ld] of `type`
  Type type;
  int ld, first_row, table_rows;
  int rows, n;
  float* out;  // [rows, ld_out]
  int ld_out;
  Bricks bricks = Bricks::kNone;  // else the table's, and `type` and `ld` are none
};

// x = embedding * scale [+ types[type of the token]] [+ positions[position + offset]]
struct AddEmbeddingArgs {
  const float* embedding;  // [rows, ld]
  float* x;                // [rows, ld]
  int rows, n, ld;
  float scale;
  const void* types;        // [.., ld_types] or null
  const int32_t* type_of;   // [rows]
  const void* positions;    // [.., ld_positions] or null
  const int32_t* position;  // [rows]
  int position_offset;
  Type types_type, positions_type;
  int ld_types, ld_positions;
};

// out[i] = norm(x[row_of ? row_of[i] : i]); with `replaces`, x's row too becomes that.
struct NormArgs {
  float* x;               // [.., ld_x]
  const int32_t* row_of;  // [rows] or null
  int rows, n, ld_x;
  NormWeights norm;
  bool replaces;
  RowsOut out;
};

// x[i] += y[i], or norm(y[i]) where norm.weight is not null.
struct AddArgs {
  const float* y;  // [rows, ld]
  float* x;        // [rows, ld]
  int rows, n, ld;
  NormWeights norm;
};

// out[i][c] = generated_value(key, (first_row + i) * total_cols + first_col + c), zeros behind the row: see generated.h.
struct GenerateArgs {
  void* out;  // [rows, ld] of `type`
  Type type;
  int rows, cols, ld;
  int first_row, first_col, total_cols;  // of the whole tensor
  uint64_t key;
};

// out[r] = w[expert_of ? expert_of[r] : 0] x[r / rows_per_input] + bias. x and w have one type; or w is bricks, and x is bf16. With `adds`
// out[r] += that; with `gates`, which gemm_gates says where it may, gated[r][c] = act(p[c]) * p[n / 2 + c] where p is that, and out is not
// written: gate's rows and up's are one matrix. Where norm.weight is not null, which gemm_norms says where it may be, x is float rows and
// w multiplies their norm. The bits are those of `norm`, `gemm` and then `add` or `activation`.
struct GemmArgs {
  const void* x;  // [.., ld_x] of `type`; of float where it is normed
  const void* w;  // [experts, n, ld_w], or for each expert tiles_down(n) tiles of bricks
  Type type;
  const float* bias;         // [n] or null
  const int32_t* expert_of;  // [rows] or null
  int rows_per_input;        // 1, or the experts of a token
  int rows, n, k, ld_x, ld_w;
  float* out;  // [rows, ld_out]
  int ld_out;
  Bricks bricks = Bricks::kNone;
  bool w_is_new = false;  // made by work that is before this in the stream: else w may be read ahead of that
  bool adds = false, gates = false;
  Activation activation{};
  RowsOut gated{};  // [rows, n / 2]
  NormWeights norm{};
};
// Gate and up must be whole tiles.
constexpr bool gemm_gates(const GemmArgs& a) { return a.type == Type::kBf16 && a.n % (2 * kBrickRows) == 0; }

// Every block norms all rows for itself and keeps them in shared memory, as bf16: so many of them, and so many values.
constexpr int kMaxNormedRows = 8, kMaxNormedValues = 32 << 10;
constexpr bool gemm_norms(const GemmArgs& a) {
  return a.type == Type::kBf16 && a.expert_of == nullptr && a.rows_per_input == 1 && a.rows <= kMaxNormedRows &&
         a.rows * a.ld_x <= kMaxNormedValues;
}

// `gemm` again, the same bits, in tiles of the output that a block makes by way of shared memory (gemm_tiles.cu).
struct GemmTilesArgs {
  GemmArgs gemm;
  bool is_wide;  // tiles of kWideTile columns and rows, of bricks of fewer rows; else of kSmallTile
};
constexpr int kWideTile = 128, kSmallTile = 64;
constexpr bool gemm_has_tiles(const GemmArgs& a) {
  return a.type == Type::kBf16 && a.expert_of == nullptr && a.rows_per_input == 1 && a.norm.weight == nullptr;
}

// The same product of many rows of bf16 as only compute capability 9.0 can make it, with other bits than `gemm` (gemm_wide.cu); `adds` and
// `gates` as there: in tiles of so many rows and columns, by at most so many blocks, one for each multiprocessor.
struct GemmWideArgs {
  GemmArgs gemm;
  int max_blocks;
};
constexpr int kWideProductRows = 128, kWideProductColumns = 256;
LOCKSTEP_ANYWHERE constexpr int wide_tiles(const GemmArgs& a) {
  return (a.rows + kWideProductRows - 1) / kWideProductRows * ((a.n + kWideProductColumns - 1) / kWideProductColumns);
}
// Of bricks: of what they are as bf16.
constexpr bool gemm_has_wide(const GemmArgs& a) { return gemm_has_tiles(a) && (!a.gates || gemm_gates(a)) && a.k > 0; }
constexpr bool can_gemm_wide(const DeviceInfo& device) { return device.major == 9 && device.minor == 0; }

// Bricks as rows of bf16, rounded: out[i] = row i.
struct DequantizeArgs {
  const void* w;  // tiles of bricks, from the first row's on
  Bricks bricks;
  int rows, cols;
  uint16_t* out;  // [rows, ld]
  int ld;
};

// K and V of one layer: [blocks, kv_heads, block_size, head_dim] each.
struct KvCache {
  void* k;
  void* v;
  Type type;
  int kv_heads, block_size, head_dim;
};

// The cosine and sine of position * inverse frequency, times attention_factor.
struct RopeTableArgs {
  const int32_t* position;  // [slots]
  int slots, half;
  const float* inverse_frequencies;  // [half]
  float attention_factor;
  float *cosines, *sines;  // [slots, half]
};

// Per slot: normed and turned q in place, k (normed and turned) and v into the cache.
struct RopeAppendArgs {
  float* qkv;  // [slots, ld]: q heads, then k heads, then v heads
  int slots, ld, heads;
  KvCache kv;
  const int32_t* position;  // [slots]
  const int32_t* row_of;    // [slots] row of the block tables
  const int32_t* tables;    // [rows, table_len]
  int table_len;
  bool normed;
  float weight_offset, eps;
  const float *q_norm, *k_norm;  // [head_dim]
  const float *cosines, *sines;  // [slots, rotary_dim / 2], of rope_table
  int rotary_dim;                // 0: no rotation
};

// One query head and slot sees keys max(0, position - window + 1) … position (window 0: all before it); with `sees_all` those behind it
// too, up to position + window - 1 and before end_of[slot].
struct AttentionArgs {
  const float* q;  // [slots, ld_q]
  int slots, ld_q, heads;
  int first_head, first_kv_head, group;  // query head h reads KV head (first_head + h) / group - first_kv_head
  KvCache kv;
  const int32_t* position;  // [slots]
  const int32_t* end_of;    // [slots] keys of the slot's sequence
  const int32_t* row_of;    // [slots]
  const int32_t* tables;    // [rows, table_len]
  int table_len;
  bool sees_all;
  int window;
  float scale, softcap;  // softcap 0: none
  RowsOut out;           // [slots, heads * head_dim]
};

// Attention in tiles on tensor cores: over a cache of bf16 whose heads are of a multiple of 8 values.
constexpr bool attention_has_tiles(Type type, int head_dim) {
  return type == Type::kBf16 && head_dim % kAlign == 0 && head_dim <= kMaxHeadDim;
}
constexpr int kFewRows = 16;  // of a tile: slots times the query heads of a KV head
constexpr int many_rows(int head_dim) { return head_dim > 128 ? 32 : 64; }

// Some slots of one sequence, at following positions, over pieces of its keys (attention_pieces.h), all of them or one.
struct AttentionItem {
  int32_t first_slot, num_slots;
  int32_t first_key, end_key;     // of the pieces
  int32_t part;                   // which of the step's parts it is, where it has one of several pieces; -1: it has all of them
  int32_t first_part, num_parts;  // of these slots
};

// `attention` again, of the slots that items have; `sees_all`'s keys as there. Each item is done for every unit: a KV head and of the query
// heads that read it as many as a tile has rows.
struct AttentionTilesArgs {
  AttentionArgs attention;
  const AttentionItem* items;  // [max_items]
  const int32_t* num_items;    // [1]
  int max_items;
  float* parts;     // [parts, units, kFewRows, head_dim + 2]
  uint32_t* ended;  // [parts, units] zeros, and zeros again afterwards
};
constexpr int attention_units(const AttentionArgs& a, int rows) { return a.kv.kv_heads * ((a.group + rows - 1) / rows); }

// out[i][c] = act(in[i][c]) * in[i][n + c], or act(in[i][c]) where it is not gated.
struct ActivationArgs {
  const float* in;  // [rows, ld_in]
  int rows, n, ld_in;
  Activation kind;
  bool gated;
  RowsOut out;
};

// The top_k of softmax(logits[i]), in the order of the experts; ties go to the lower expert.
struct RouteArgs {
  const float* logits;  // [rows, ld]
  int rows, experts, top_k, ld;
  bool normalize;      // the chosen weights are made to sum to 1
  int32_t* expert_of;  // [rows, top_k]
  float* weight_of;    // [rows, top_k]
};

// y[i] = sum over j, in order, of weight_of[i][j] * parts[i * top_k + j]
struct CombineArgs {
  const float* parts;  // [rows * top_k, ld]
  const float* weight_of;
  int rows, n, top_k, ld;
  float* y;  // [rows, ld]
};

// pooled[row] = [pooled[row] +] sum over the slots, in order, of norm(x[slot])
struct PoolEntry {
  int32_t row, first_slot, num_slots, adds;
};
struct PoolArgs {
  const PoolEntry* entries;  // [num_entries]
  int num_entries;
  const float* x;  // [.., ld]
  int n, ld;
  NormWeights norm;
  float* pooled;  // [rows, ld]
};

// Ranks that read each other's memory: at most so many.
constexpr int kMaxPeers = 8;
// Blocks of a kernel that meets those of other devices. All of them must run at once: fewer than any device has multiprocessors.
constexpr int kPeerBlocks = 32;
// Values of PeerLinks::stop.
constexpr uint32_t kPeerStopped = 1;  // the host's
constexpr uint32_t kPeerLate = 2;     // a block's that has waited for too long

struct PeerLinks {
  int rank, world;
  uint32_t*
      arrived[kMaxPeers];  // of each rank, in its memory: [kMaxPeers, kPeerBlocks] the last meeting that a block of a rank has come to
  uint32_t* met;           // [kPeerBlocks] the last meeting of each block of this rank
  uint32_t* stop;          // pinned; not 0: nobody is waited for any more
  uint64_t timeout_ns;
};

// x[i] becomes the sum over ranks of part[i], in rank order; or with `adds` x[i] + [norm of] that sum. Then out[i] = next norm of x[i],
// where its weight is not null. The ranks make the same calls in the same order.
struct PeerJoinArgs {
  PeerLinks links;
  float* part[kMaxPeers];  // of each rank: [rows, ld]. With two_shots some rows become their sums
  bool two_shots;
  bool adds;
  int rows, n, ld;
  float* x;    // [rows, ld]
  float* sum;  // [rows, ld] scratch, used where there is a norm of the sum
  NormWeights norm, next;
  RowsOut out;
};

// whole[r] = part[r], `count` values each, a multiple of 4.
struct PeerGatherArgs {
  PeerLinks links;
  const float* part[kMaxPeers];
  size_t count;
  float* whole;
};

// logits[i] = cap * tanh(logits[i] * scale / cap); cap 0: scaled alone. In place.
struct FinishLogitsArgs {
  float* logits;  // [rows, ld]
  int rows, n, ld;
  float scale, softcap;
};

constexpr int kSampleTile = 1024;     // ids of a block
constexpr int kDepthBins = 256;       // of the distance from a row's maximum
constexpr int kSampledTopMax = 1024;  // most of the best that a device tells of a row; for more its logits go to the host
constexpr int32_t kNoCandidate = -1;

// What is asked of a row of logits. The rules are those of common/sampler.h, and so is the id.
struct SampleRow {
  int32_t row;        // of the sequence
  int32_t keeps;      // 1: `last` takes the id
  int32_t draws;      // 0: scored_id is scored and nothing is sampled
  int32_t scored_id;  // what is scored without a draw
  int32_t is_forced;  // the id, or the sampler's reason for none, is scored_id, whatever the logits are
  int32_t is_restricted;
  int32_t mask;            // which of the masks; -1: every id may come
  float temperature;       // 0: the likeliest
  int32_t top_k;           // 0: off
  float top_p, log_min_p;  // 1, -infinity: off
  float presence, frequency, repetition;
  int32_t num_tokens;  // of the row's history that penalties look at; 0: there are none
  int32_t prompt_len;
  int32_t first_bias, num_bias;  // in extras: ids, then as many values
  PhiloxKey key;
  uint32_t choice, position;
  int32_t num_top;            // best logits to tell; -1: the row is not scored
  int32_t first_id, num_ids;  // in extras: with ids, their logits are told in the place of the best
};

struct SampleResult {
  int32_t id;    // or kNotNumbers, kNothingAllowed
  int32_t rank;  // 1: the likeliest; of the raw logits, as all below
  float value;   // the logit of the id (of id 0 where there is none)
  float max;
  uint64_t sum;  // of exp(logit - max), in units of 2^-44
};

// What the kernels of a call leave for each other.
struct SampleTile {
  uint64_t raw, key;  // the best of the tile, of the raw logits and of those that are sampled from: sample.cuh
  double score;       // the winner of the tile
  int32_t winner;
};
struct SampleState {
  float max;
  int32_t best;
  uint64_t cut;     // the worst candidate
  int32_t is_open;  // the id is still to be raced for
};
struct DepthBin {
  uint64_t mass;
  uint32_t count;
};

struct SampleArgs {
  const float* logits;  // [world, part_rows, ld] the ranks' parts of the vocabulary: see join_vocabulary
  int world, part_rows, ld, vocab;
  int count;
  bool edits, narrows, races, scores;  // whether any row has a mask, a bias or penalties; a top_k or top_p; a temperature; is scored
  const SampleRow* rows;               // [count]
  const int32_t* extras;
  const uint32_t* masks;  // [.., mask_words] a bit an id
  int mask_words;
  const int32_t* history;  // [rows, history_len] the tokens of each sequence
  int history_len;
  uint32_t* seen;         // [count, vocab] zeros between calls
  float* edited;          // [count, vocab]
  SampleTile* tiles;      // [count, tiles]
  SampleState* states;    // [count]
  DepthBin* bins;         // [count, kDepthBins]
  uint32_t* tickets;      // [count] zeros between calls
  SampleResult* results;  // [count]
  int32_t* top_ids;       // [count, max_top]
  float* top_values;
  int max_top;
  int32_t* last;  // [rows] the id that each sequence sampled last
};

// history[row_of[i]][position[i]] = the id of slot i, where row_of[i] is not negative.
struct NoteTokensArgs {
  const int32_t *ids, *last;         // as EmbedArgs
  const int32_t *row_of, *position;  // [slots]
  int slots;
  int32_t* history;
  int history_len;
};

struct Kernels {
  Error (*embed)(const EmbedArgs&, Stream);
  Error (*add_embedding)(const AddEmbeddingArgs&, Stream);
  Error (*norm)(const NormArgs&, Stream);
  Error (*add)(const AddArgs&, Stream);
  Error (*gemm)(const GemmArgs&, Stream);
  Error (*gemm_tiles)(const GemmTilesArgs&, Stream);  // `gemm` takes it where it is worth it
  Error (*gemm_wide)(const GemmWideArgs&, Stream);    // of devices that can_gemm_wide() alone
  Error (*dequantize)(const DequantizeArgs&, Stream);
  Error (*rope_table)(const RopeTableArgs&, Stream);
  Error (*rope_append)(const RopeAppendArgs&, Stream);
  Error (*attention)(const AttentionArgs&, Stream);
  Error (*attention_few)(const AttentionTilesArgs&, Stream);   // items of at most kFewRows rows, or of one slot
  Error (*attention_many)(const AttentionTilesArgs&, Stream);  // of at most many_rows, or of one slot, and of all pieces
  Error (*activation)(const ActivationArgs&, Stream);
  Error (*route)(const RouteArgs&, Stream);
  Error (*combine)(const CombineArgs&, Stream);
  Error (*pool)(const PoolArgs&, Stream);
  Error (*generate)(const GenerateArgs&, Stream);
  Error (*peer_join)(const PeerJoinArgs&, Stream);
  Error (*peer_gather)(const PeerGatherArgs&, Stream);
  Error (*finish_logits)(const FinishLogitsArgs&, Stream);
  Error (*note_tokens)(const NoteTokensArgs&, Stream);
  Error (*sample)(const SampleArgs&, Stream);
};

// The table of what is linked: compiled by nvcc, or by tests for the processor.
const Kernels& kernels();

}  // namespace lockstep::cuda
