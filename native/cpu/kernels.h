// The CPU kernels as one table of functions for each instruction set (isa), chosen by cpuid at run time (dispatch.cpp).
// Everything above this header is written once; everything below is compiled once for each isa, into its own namespace.
//
// Sameness (every kernel, every isa): an output element is summed in an order that depends on the shape of the weights alone,
// never on the number of rows m, on the tile, on the thread or on which blocks a call covers. K is never split by who computes.
// One arithmetic for a format whatever m is. Activations are rounded or quantised from their own row alone.
#pragma once

#include <cstddef>
#include <cstdint>

#include "../common/activation.h"
#include "../common/noise_layout.h"

namespace lockstep::cpu {

constexpr int kBlockRows = 32;     // rows of a packed weight block: each lane owns one output row, so no horizontal sums
constexpr int kGroup = 32;         // values along K that share a scale in q8_0, q4_0, q4_1 and in quantised activations
constexpr int kHalfGroup = 16;     // values along K that share a scale in q6_K
constexpr int kSuperBlock = 256;   // values along K of a super-block of q4_K, q5_K and q6_K
constexpr int kKeyTile = 16;       // keys that a KV tile interleaves; --block-size is a multiple of it
constexpr int kPiece = 256;        // context positions of one attention piece, counted from position 0
constexpr int kMaxHeadDim = 256;   // head_dim is even and at most this
constexpr int kFixedExpBits = 44;  // exp(0) is 2^44 in fixed point: a sum over 2^20 logits stays below 2^64

enum class Format : uint8_t { kF32, kBf16, kQ8_0, kQ4_0, kQ4_1, kQ5_0, kQ5_1, kIq4Nl, kQ4_K, kQ5_K, kQ6_K };
enum class KvType : uint8_t { kF32, kBf16, kInt8 };

// What a format multiplies with. f32 weights: float rows. bf16: bf16 rows. The quantised ones: int8 rows.
enum class InputKind : uint8_t { kF32, kBf16, kInt8 };
inline InputKind input_kind(Format f) {
  return f == Format::kF32 ? InputKind::kF32 : f == Format::kBf16 ? InputKind::kBf16 : InputKind::kInt8;
}

// Values along K that a quantised format keeps together: a matrix may be cut along K at multiples of it.
inline int quant_block(Format f) { return f == Format::kQ4_K || f == Format::kQ5_K || f == Format::kQ6_K ? kSuperBlock : kGroup; }

// Four neighbours of a group of int8 activations with 15 bits, since one of them is an outlier. Their low bytes lie among the codes.
struct Outlier {
  int8_t high[4];
  int32_t vector;  // of the group's eight: k = 4 * vector … 4 * vector + 3
};

// Where the parts of a row of int8 activations begin, in bytes. A row is one piece of memory: a tile has a register for each row's address,
// and none for each part of each row. value = scale of its group of 32 * (code + 128 * its high byte, where it has one).
struct Int8Layout {
  size_t has_outlier;  // [(k_padded / 32 + 63) / 64] uint64_t, a bit a group; the codes are before it: [k_padded] int8_t
  size_t scale;        // [k_padded / 32] float
  size_t sum;          // [k_padded / 32] int32_t, minus the sum of a group's values over its scale
  size_t first_sum;    // [k_padded / 32] int32_t, the same of its first half
  size_t outlier;      // [k_padded / 32] Outlier, zeros where the bit is not set
  size_t bytes;        // from one row to the next, whole cache lines

  explicit inline __attribute__((always_inline)) Int8Layout(int k_padded) {
    const size_t groups = static_cast<size_t>(k_padded) / kGroup;
    has_outlier = groups * kGroup;
    scale = has_outlier + (groups + 63) / 64 * sizeof(uint64_t);
    sum = scale + groups * sizeof(float);
    first_sum = sum + groups * sizeof(int32_t);
    outlier = first_sum + groups * sizeof(int32_t);
    bytes = (outlier + groups * sizeof(Outlier) + 63) / 64 * 64;
  }
};

// One of them.
struct Int8Row {
  int8_t* codes;
  uint64_t* has_outlier;
  float* scale;
  int32_t* sum;
  int32_t* first_sum;
  Outlier* outlier;

  inline __attribute__((always_inline)) Int8Row(uint8_t* row, const Int8Layout& at)
      : codes(reinterpret_cast<int8_t*>(row)),
        has_outlier(reinterpret_cast<uint64_t*>(row + at.has_outlier)),
        scale(reinterpret_cast<float*>(row + at.scale)),
        sum(reinterpret_cast<int32_t*>(row + at.sum)),
        first_sum(reinterpret_cast<int32_t*>(row + at.first_sum)),
        outlier(reinterpret_cast<Outlier*>(row + at.outlier)) {}
};

// m rows of K activations, prepared once and read by every matrix that takes them. Only the members of the kinds asked for are set.
// K is padded with zeros to a multiple of 32: k_padded.
struct Input {
  int k_padded;
  const float* f32;      // [m, k_padded]
  const uint16_t* bf16;  // [m, k_padded]
  uint8_t* int8;         // [m, Int8Layout(k_padded).bytes]
};

// Consecutive 32-row blocks of one packed matrix, all of one format. The last block may have fewer rows; its tail is zero.
struct Packed {
  Format format;
  int rows;
  int cols;                       // K, as in the checkpoint
  const uint8_t* data;            // [ceil(rows / 32)] blocks of packed_block_bytes(format, cols)
  const uint8_t* then = nullptr;  // what is read after the last block of a call, to be fetched ahead; null: the block after it
};

enum class Epilogue : uint8_t {
  kStore,  // out[m, row] = y + bias
  kAdd,    // out[m, row] += (y + bias) * (weight ? weight[m] : 1)         residual add; experts with their router weight
  kGated,  // blocks hold 16 gate rows and 16 up rows: out[m, row/2] = act(gate + bias) * (up + bias), 16 values a block.
           // Where the gated size is no multiple of 16, the last block still has up at row 16; rows = 2 * gated size
  kAct,    // out[m, row] = act(y + bias)
};

struct GemmOut {
  Epilogue epilogue;
  Activation activation;
  const float* bias;         // by packed row, padded to whole blocks; null: none
  float* out;                // row-major
  size_t ld;                 // values from one row of out to the next
  const int32_t* in_rows;    // null, or row of Input that is m-th (experts)
  const int32_t* out_rows;   // null, or row of out that takes the m-th
  const float* weight;       // null, or [m]
  uint16_t* bf16 = nullptr;  // not null: where kGated and kAct store instead of out, rounded to bf16
};

// K and V of one layer and one KV head lie in tiles of 16 tokens:
//   f32   K [head_dim][16], V [16][head_dim]
//   bf16  K [head_dim/2][16][2], V [8][head_dim][2]
//   int8  K [ceil(head_dim/4)][16][4], V [4][head_dim][4] of bytes as the isa's dot product takes them (round(x / scale) + 0 or 128)
// A KV block is block_size/16 K tiles, then as many V tiles; for int8 then the scales of each 16 tokens, [16] of K and [16] of V, bf16.
// Slots that were never written must hold finite values (zeros): where rows share a tile, keys behind a row weigh exactly 0.
constexpr size_t kTileScaleBytes = 2 * kKeyTile * 2;
static inline size_t kv_tile_bytes(KvType type, int head_dim) {
  const size_t dims = static_cast<size_t>(type == KvType::kInt8 ? (head_dim + 3) / 4 * 4 : head_dim);
  return kKeyTile * dims * (type == KvType::kF32 ? 4 : type == KvType::kBf16 ? 2 : 1);
}
// Bytes of one KV head's part of a block of block_size tokens.
static inline size_t kv_block_bytes(KvType type, int head_dim, int block_size) {
  const size_t tile = 2 * kv_tile_bytes(type, head_dim) + (type == KvType::kInt8 ? kTileScaleBytes : 0);
  return static_cast<size_t>(block_size / kKeyTile) * tile;
}

struct KvView {
  KvType type;
  int head_dim;
  int block_size;
  uint8_t* base;         // of this layer and KV head
  size_t block_stride;   // bytes from one block to the next
  const int32_t* table;  // [blocks of the sequence]
};

// Attention of consecutive queries of one sequence that share a KV head, over one piece of its context.
// Query row r of head h sits at position pos0 + r and sees keys max(0, pos - window + 1) … pos (window 0: all); with `end`, those behind
// it too: up to pos + window - 1, and before `end`.
struct AttentionArgs {
  KvView kv;
  const float* q;       // [rows, heads, head_dim] with strides below; RoPE applied, not scaled
  size_t q_row_stride;  // values
  size_t q_head_stride;
  int rows;
  int heads;  // query heads of this KV head
  int pos0;
  int window;  // 0: none
  int end;     // 0: causal
  float scale;
  float softcap;  // 0: none
  int piece;      // keys piece*kPiece … min((piece+1)*kPiece, end or pos0 + rows) - 1
  // Results, unnormalised, with scores in units of log2: maximum, sum of 2^(score - max), and sum of 2^(score - max) * V. A row that sees
  // no key of the piece gets -inf, 0, 0.
  float* max;     // [rows, heads]
  float* sum;     // [rows, heads]
  float* acc;     // [rows, heads, head_dim]
  void* scratch;  // attention_scratch_bytes(rows * heads, head_dim)
};

// Results of `pieces` pieces of the same queries, and where what they come to goes.
struct MergeArgs {
  const float* max;  // [pieces, rows, heads] as attention leaves them; `stride` query rows from one piece to the next
  const float* sum;  // the same
  const float* acc;  // [pieces, rows, heads, head_dim], the same
  size_t stride;
  int pieces;
  int rows;
  int heads;
  int head_dim;
  float* out;      // [rows, heads, head_dim]
  uint16_t* bf16;  // not null: in the place of out, rounded
  size_t ld;       // values from one row of the result to the next
};

struct Kernels {
  const char* name;  // "amx", "avx512", "avxvnni", "avx2", "neon_bf16", "neon", "scalar"

  // --- weights ---
  size_t (*packed_block_bytes)(Format, int cols);
  // num_rows <= 32 rows of cols floats, rows[i] each (null: a row of zeros); into dst. kF32 and kBf16 (round to nearest even).
  void (*pack_float)(Format, const float* const* rows, int num_rows, int cols, uint8_t* dst);
  // The same for the quantised formats from the GGUF block bytes of each row, losing no bit. cols is a multiple of quant_block(format).
  void (*pack_blocks)(Format, const uint8_t* const* rows, int num_rows, int cols, uint8_t* dst);
  // Floats of the same rows into GGUF blocks of q8_0, q4_0 or q4_1, blocks[i] for rows[i] (quantisation on load). Bytes do not depend on
  // the instruction set.
  void (*quantize_blocks)(Format, const float* const* rows, int num_rows, int cols, uint8_t* const* blocks);
  // One row of a packed block back to float (the tied embedding). row < 32.
  void (*unpack_row)(Format, const uint8_t* block, int row, int cols, float* dst);

  // --- activations: one row each, so that any thread may do any row ---
  void (*to_bf16)(const float* x, int k, int k_padded, uint16_t* out);
  void (*to_int8)(const float* x, int k, int k_padded, uint8_t* out);  // a row of Int8Layout(k_padded)
  void (*rms_norm)(const float* x, const float* weight, float weight_offset, float eps, int n, float* out);
  void (*layer_norm)(const float* x, const float* weight, const float* bias, float eps, int n, float* out);
  void (*add)(const float* x, int n, float* out);  // out += x
  // Turns pairs (i, i + rotary_dim/2) of one head in place; cos and sin hold rotary_dim/2 values of the row's position.
  void (*rope)(float* head, const float* cos, const float* sin, int rotary_dim);

  // --- matrix products: every weight is read once for all m rows; blocks [first, first + count) of w ---
  void (*gemm)(const Packed& w, int first, int count, const Input& in, int m, const GemmOut& out);

  // --- attention ---
  // Writes K and V of one token and KV head into slot pos % block_size of block table[pos / block_size].
  void (*kv_append)(const KvView& kv, int pos, const float* k, const float* v);
  size_t (*attention_scratch_bytes)(int query_rows, int head_dim);
  void (*attention)(const AttentionArgs& args);
  // Joins the pieces of every query row and head, in the order of the context, and normalises.
  void (*attention_merge)(const MergeArgs& args);

  // --- vocabulary: n logits with ids first_id … ; ties take the lowest id ---
  void (*softcap)(float* logits, int n, float cap);
  void (*argmax)(const float* logits, int n, float* value, int32_t* index);
  // Sum of exp(l - max) in units of 2^-kFixedExpBits: integers, so that no order of summing exists. NaN and l << max count as 0.
  uint64_t (*sum_exp)(const float* logits, int n, float max);
  // exp(l - max) of one logit in the same fixed point.
  uint64_t (*fixed_exp)(float logit, float max);
  // words[kGumbelTile] of a tile of ids: those of gumbel_word (common/gumbel.h), which are the same on every instruction set.
  void (*gumbel_words)(PhiloxKey key, uint32_t position, uint32_t choice, uint32_t tile, uint32_t* words);
};

// The best table that this CPU runs, or the one named by `wanted` (null: best) when it can run it, else null.
const Kernels* kernels_for(const char* wanted);
// Names of the tables that this CPU can run, best first; ends with null. Static.
const char* const* available_isas();

}  // namespace lockstep::cpu
