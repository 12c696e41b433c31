// Attention on tensor cores, over a paged cache of bf16: one routine for decode, prefill and what lies between, in two shapes
// (attention_few.cu, attention_many.cu). A block takes an item: query heads that read one KV head, of some slots of one sequence, as the
// rows of a tile; so that K and V are read once for all of them, 16 bytes at a time. Work is cut by the host (attention_plan.h).
//
// A row's bits depend on its own query, its keys and the shape of a head, on no other row and on no cut, since
//   * keys come in tiles of kKeys and these in pieces (attention_pieces.h), both by position alone;
//   * inside a piece tiles follow each other with a running maximum (Milakov, Gimelshein 2018; Dao 2023): the maximum is exact, and a sum
//     goes over the keys of a tile in the order of the tensor core, whichever warp of whichever shape has the row;
//   * pieces are joined in order (join), by the block that has them all or by the last of those that have one each;
//   * keys that a row does not see have the weight 0 and leave no trace. (K and V that are seen by none are not read.)
// As on the CPU with such a cache, q and the weights of the values are rounded to bf16, and the sum is that of the rounded weights.
#pragma once

#include "cuda/attention.cuh"
#include "cuda/attention_pieces.h"
#include "cuda/families.h"
#include "cuda/mma.cuh"

namespace lockstep::cuda {

constexpr int kAttentionWarps = 4;
constexpr int kAttentionThreads = kAttentionWarps * kWarp;

// A block's warps: `row_warps` of them have 16 rows each, and of the same rows the others have other columns of the output.
template <int dim, int row_warps>
struct AttentionTile {
  static constexpr int kRows = 16 * row_warps;
  static constexpr int kColumnWarps = kAttentionWarps / row_warps;
  static constexpr int kColumnPairs = (dim / 16 + kColumnWarps - 1) / kColumnWarps;  // of a warp: 16 columns each
  static constexpr int kKeys = dim > 128 ? 32 : 64;
  static constexpr int kLd = dim + 8;  // so that the rows of a matrix lie in different banks
  static constexpr int kStages = 2;
  static constexpr int kBlocksAtOnce = row_warps == 1 ? 3 : 2;  // of a multiprocessor: what a lane's registers are counted by
  static constexpr int kHalves = kRows * kLd + kStages * 2 * kKeys * kLd;
  static constexpr int kSharedBytes = kHalves * 2;
  static_assert(kShortestPiece % kKeys == 0 && kSharedBytes <= kMaxDynamicShared);

  // What a lane keeps of rows lane / 4 and lane / 4 + 8.
  struct Sums {
    float max[2];
    float sum[4];  // values 0 and 2; a product with ones
    float acc[2 * kColumnPairs][4];
  };

  static __device__ void clear(Sums* s) {
    for (int i = 0; i < 2; i++) s->max[i] = -INFINITY;
    for (int i = 0; i < 4; i++) s->sum[i] = 0;
#pragma unroll
    for (int n = 0; n < 2 * kColumnPairs; n++) {
      for (int i = 0; i < 4; i++) s->acc[n][i] = 0;
    }
  }
};

// The factors of what was before and of a piece with this maximum, of which `max` becomes the larger. A piece without keys has -infinity.
struct JoinFactors {
  float before, piece;
};
__device__ inline JoinFactors join(float* max, float piece_max) {
  const float largest = fmaxf(*max, piece_max);
  const float shift = largest == -INFINITY ? 0.0f : largest;
  const JoinFactors factors = {exp2f(*max - shift), exp2f(piece_max - shift)};
  *max = largest;
  return factors;
}
__device__ inline float joined(float before, float piece, JoinFactors f) { return fmaf(before, f.before, piece * f.piece); }

constexpr int kFour = 4;
struct alignas(16) Four {
  float at[kFour];
};

__device__ inline void store_two(const RowsOut& out, int row, int column, float x, float y) {
  const size_t at = static_cast<size_t>(row) * out.ld + column;
  if (out.f32 != nullptr) out.f32[at] = x, out.f32[at + 1] = y;
  if (out.bf16 != nullptr) *reinterpret_cast<uint32_t*>(out.bf16 + at) = pack_bf16(x, y);
}

// One block's work on one item for one unit: query heads first_head … of those that read kv_head, at most a tile's rows.
template <int dim, int row_warps>
class AttentionBlock {
  using T = AttentionTile<dim, row_warps>;
  using Sums = typename T::Sums;
  static constexpr int kRows = T::kRows, kKeys = T::kKeys, kLd = T::kLd;

 public:
  __device__ AttentionBlock(const AttentionTilesArgs& args, int units, const AttentionItem& item, int unit)
      : args_(args), a_(args.attention), item_(item), units_(units), unit_(unit) {
    const int splits = units_ / a_.kv.kv_heads;
    kv_head_ = unit / splits;
    const int of_kv_head = (a_.first_kv_head + kv_head_) * a_.group;
    const int first = of_kv_head > a_.first_head ? of_kv_head : a_.first_head;
    const int end = of_kv_head + a_.group < a_.first_head + a_.heads ? of_kv_head + a_.group : a_.first_head + a_.heads;
    head_ = first - a_.first_head + unit % splits * kRows;
    heads_ = end - a_.first_head - head_ < kRows ? end - a_.first_head - head_ : kRows;
    rows_ = heads_ * item.num_slots;
    table_ = a_.tables + static_cast<size_t>(a_.row_of[item.first_slot]) * a_.table_len;
    q_ = reinterpret_cast<uint16_t*>(dynamic_shared());
  }

  __device__ void run() {
    if (heads_ <= 0) return;  // of a KV head that this rank shares with others
    load_queries();
    const KeySpan first_slot = keys_of(a_, item_.first_slot);
    const KeySpan last_slot = keys_of(a_, item_.first_slot + item_.num_slots - 1);
    const int begin = max_of(first_slot.first, item_.first_key);
    end_ = min_of(last_slot.end, item_.end_key);
    seen_by_all_ = {last_slot.first, first_slot.end};
#pragma unroll
    for (int i = 0; i < 2; i++) span_[i] = keys_of(a_, slot_of(row(i) < rows_ ? row(i) : rows_ - 1));

    Sums piece, all;
    T::clear(&piece);
    T::clear(&all);
    const int last_tile = (end_ + kKeys - 1) / kKeys;
    fetch(begin / kKeys);
    end_copies();
    for (int tile = begin / kKeys; tile < last_tile; tile++) {
      if (tile + 1 < last_tile) fetch(tile + 1);
      end_copies();  // a group without copies too, so that all but the last one are always those up to this tile
      wait_for_copies<1>();
      __syncthreads();
      attend(tile, &piece);
      if (item_.part < 0 && (tile + 1 == last_tile || (tile + 1) * kKeys == piece_end(tile * kKeys))) {
        join_piece(piece, &all);
        T::clear(&piece);
      }
      __syncthreads();  // before the tile after the next takes its place
    }
    if (item_.part < 0) return write(all);
    keep(piece);
    if (is_last_of_parts()) join_parts();
  }

 private:
  static __device__ int max_of(int a, int b) { return a > b ? a : b; }
  static __device__ int min_of(int a, int b) { return a < b ? a : b; }
  static __device__ int lane() { return threadIdx.x % kWarp; }
  static __device__ int row_warp() { return threadIdx.x / kWarp % row_warps; }
  // The lane's rows of the tile.
  static __device__ int row(int i) { return row_warp() * 16 + lane() / 4 + 8 * i; }
  // The first column of pair i of the warp's; may lie behind the last of a head.
  static __device__ int column(int i) { return (threadIdx.x / kWarp / row_warps + i * T::kColumnWarps) * 16; }
  __device__ int slot_of(int row) const { return item_.first_slot + row / heads_; }
  __device__ int column_of_head(int row) const { return (head_ + row % heads_) * a_.kv.head_dim; }
  __device__ uint16_t* keys_at(int tile) const { return q_ + kRows * kLd + tile % T::kStages * 2 * kKeys * kLd; }

  __device__ void load_queries() const {
    for (int i = threadIdx.x; i < kRows * dim / 2; i += kAttentionThreads) {
      const int row = i / (dim / 2);
      const int d = i % (dim / 2) * 2;
      uint32_t two = 0;
      if (row < rows_ && d < a_.kv.head_dim) {
        const float* q = a_.q + static_cast<size_t>(slot_of(row)) * a_.ld_q + column_of_head(row) + d;
        two = pack_bf16(q[0], q[1]);
      }
      *reinterpret_cast<uint32_t*>(q_ + row * kLd + d) = two;
    }
  }

  // Begins to copy a tile of K and V: eight threads a key. Zeros stand for keys that none sees and columns that heads do not have.
  __device__ void fetch(int tile) const {
    constexpr int kThreadsOfKey = 8;
    constexpr int kKeysAtOnce = kAttentionThreads / kThreadsOfKey;
    const uint16_t* k = static_cast<const uint16_t*>(a_.kv.k);
    const uint16_t* v = static_cast<const uint16_t*>(a_.kv.v);
    uint16_t* to = keys_at(tile);
#pragma unroll
    for (int i = 0; i < kKeys / kKeysAtOnce; i++) {
      const int at = i * kKeysAtOnce + threadIdx.x / kThreadsOfKey;
      const int key = tile * kKeys + at;
      const bool is_seen = key < end_;
      const size_t from = is_seen ? place_of(a_.kv, table_, kv_head_, key) : 0;
      for (int d = threadIdx.x % kThreadsOfKey * 8; d < dim; d += kThreadsOfKey * 8) {
        const bool present = is_seen && d < a_.kv.head_dim;
        begin_copy(to + at * kLd + d, present ? k + from + d : k, present);
        begin_copy(to + (kKeys + at) * kLd + d, present ? v + from + d : v, present);
      }
    }
  }

  __device__ float score(float product) const {
    constexpr float kLog2e = 1.44269504088896340736f;  // powers are of 2
    if (a_.softcap > 0) return a_.softcap * tanhf(product * a_.scale / a_.softcap) * kLog2e;
    return product * (a_.scale * kLog2e);
  }

  __device__ void attend(int tile, Sums* s) const {
    const uint16_t* keys = keys_at(tile);
    const uint16_t* values = keys + kKeys * kLd;
    const uint16_t* query = q_ + (row_warp() * 16 + lane() % 16) * kLd + lane() / 16 * 8;
    float scores[kKeys / 8][4] = {};
#pragma unroll
    for (int d = 0; d < dim; d += 16) {
      uint32_t q[4];
      load_matrices(q, query + d);
#pragma unroll
      for (int n = 0; n < kKeys / 16; n++) {
        uint32_t k[4];
        load_matrices(k, keys + (n * 16 + lane() / 16 * 8 + lane() % 8) * kLd + d + lane() / 8 % 2 * 8);
        multiply_add(scores[2 * n], q, k[0], k[1]);
        multiply_add(scores[2 * n + 1], q, k[2], k[3]);
      }
    }
    const bool masks = tile * kKeys < seen_by_all_.first || (tile + 1) * kKeys > seen_by_all_.end;
    float largest[2] = {s->max[0], s->max[1]};
#pragma unroll
    for (int n = 0; n < kKeys / 8; n++) {
#pragma unroll
      for (int i = 0; i < 4; i++) {
        const int key = tile * kKeys + n * 8 + lane() % 4 * 2 + i % 2;
        const bool is_seen = !masks || (key >= span_[i / 2].first && key < span_[i / 2].end);
        scores[n][i] = is_seen ? score(scores[n][i]) : -INFINITY;
        largest[i / 2] = fmaxf(largest[i / 2], scores[n][i]);
      }
    }
    float shift[2];
#pragma unroll
    for (int i = 0; i < 2; i++) {
      largest[i] = fmaxf(largest[i], __shfl_xor_sync(0xffffffffu, largest[i], 1));
      largest[i] = fmaxf(largest[i], __shfl_xor_sync(0xffffffffu, largest[i], 2));
      shift[i] = largest[i] == -INFINITY ? 0.0f : largest[i];
      const float keep = exp2f(s->max[i] - shift[i]);
      s->max[i] = largest[i];
      s->sum[2 * i] *= keep;
#pragma unroll
      for (int n = 0; n < 2 * T::kColumnPairs; n++) {
        s->acc[n][2 * i] *= keep;
        s->acc[n][2 * i + 1] *= keep;
      }
    }
    constexpr uint32_t kOnes = 0x3f803f80u;
#pragma unroll
    for (int j = 0; j < kKeys / 16; j++) {
      uint32_t weights[4];
#pragma unroll
      for (int w = 0; w < 4; w++) {
        const float* two = scores[2 * j + w / 2] + w % 2 * 2;
        weights[w] = pack_bf16(exp2f(two[0] - shift[w % 2]), exp2f(two[1] - shift[w % 2]));
      }
      multiply_add(s->sum, weights, kOnes, kOnes);
#pragma unroll
      for (int i = 0; i < T::kColumnPairs; i++) {
        if (column(i) >= dim) continue;  // a whole warp
        uint32_t v[4];
        load_matrices_transposed(v, values + (j * 16 + lane() % 16) * kLd + column(i) + lane() / 16 * 8);
        multiply_add(s->acc[2 * i], weights, v[0], v[1]);
        multiply_add(s->acc[2 * i + 1], weights, v[2], v[3]);
      }
    }
  }

  static __device__ void join_piece(const Sums& piece, Sums* all) {
#pragma unroll
    for (int i = 0; i < 2; i++) {
      const JoinFactors f = join(&all->max[i], piece.max[i]);
      all->sum[2 * i] = joined(all->sum[2 * i], piece.sum[2 * i], f);
#pragma unroll
      for (int n = 0; n < 2 * T::kColumnPairs; n++) {
        all->acc[n][2 * i] = joined(all->acc[n][2 * i], piece.acc[n][2 * i], f);
        all->acc[n][2 * i + 1] = joined(all->acc[n][2 * i + 1], piece.acc[n][2 * i + 1], f);
      }
    }
  }

  // Calls take(i, row, column in the head, n, value of n) for every two values that the lane has of a row and a column that there are.
  template <class Take>
  __device__ void for_each_two(Take take) const {
#pragma unroll
    for (int i = 0; i < 2; i++) {
      if (row(i) >= rows_) continue;
#pragma unroll
      for (int n = 0; n < 2 * T::kColumnPairs; n++) {
        const int d = column(n / 2) + n % 2 * 8 + lane() % 4 * 2;
        if (d < a_.kv.head_dim) take(i, row(i), d, n);
      }
    }
  }

  __device__ void write(const Sums& all) const {
    const float inverse[2] = {1.0f / all.sum[0], 1.0f / all.sum[2]};
    for_each_two([&](int i, int row, int d, int n) {
      store_two(a_.out, slot_of(row), column_of_head(row) + d, all.acc[n][2 * i] * inverse[i], all.acc[n][2 * i + 1] * inverse[i]);
    });
    write_zeros();
  }

  // Behind the heads of the item's slots.
  __device__ void write_zeros() const {
    if (unit_ != 0) return;
    const int width = a_.heads * a_.kv.head_dim;
    const int behind = a_.out.ld - width;
    for (int i = threadIdx.x; i < behind * item_.num_slots; i += kAttentionThreads) {
      store_row_value(a_.out, item_.first_slot + i / behind, width + i % behind, 0.0f);
    }
  }

  // A part's results: [rows of a tile][maximum, sum], then [rows of a tile][head_dim].
  __device__ float* part_at(int part) const {
    return args_.parts + (static_cast<size_t>(part) * units_ + unit_) * kRows * (a_.kv.head_dim + 2);
  }

  __device__ void keep(const Sums& piece) const {
    float* part = part_at(item_.part);
    if (column(0) == 0 && lane() % 4 == 0) {
      for (int i = 0; i < 2; i++) {
        part[2 * row(i)] = piece.max[i];
        part[2 * row(i) + 1] = piece.sum[2 * i];
      }
    }
    float* acc = part + 2 * kRows;
    for_each_two([&](int i, int row, int d, int n) {
      float* to = acc + row * a_.kv.head_dim + d;
      to[0] = piece.acc[n][2 * i];
      to[1] = piece.acc[n][2 * i + 1];
    });
  }

  // Whether all other parts of these slots are there. The counter becomes 0 again.
  __device__ bool is_last_of_parts() const {
    __shared__ bool is_last;
    __threadfence();
    __syncthreads();
    if (threadIdx.x == 0) {
      unsigned* ended = args_.ended + static_cast<size_t>(item_.first_part) * units_ + unit_;
      is_last = atomicInc(ended, item_.num_parts - 1) == static_cast<unsigned>(item_.num_parts - 1);
    }
    __syncthreads();
    __threadfence();
    return is_last;
  }

  __device__ void join_parts() const {
    const int fours = a_.kv.head_dim / kFour;
    for (int i = threadIdx.x; i < rows_ * fours; i += kAttentionThreads) {
      const int row = i / fours;
      const int d = i % fours * kFour;
      float max = -INFINITY, sum = 0;
      float acc[kFour] = {};
#pragma unroll 16
      for (int p = 0; p < item_.num_parts; p++) {
        const float* part = part_at(item_.first_part + p);
        const Four piece = *reinterpret_cast<const Four*>(part + 2 * kRows + row * a_.kv.head_dim + d);
        const float piece_sum = part[2 * row + 1];
        const JoinFactors f = join(&max, part[2 * row]);
        sum = joined(sum, piece_sum, f);
        for (int j = 0; j < kFour; j++) acc[j] = joined(acc[j], piece.at[j], f);
      }
      const float inverse = 1.0f / sum;
      const int column = column_of_head(row) + d;
      store_two(a_.out, slot_of(row), column, acc[0] * inverse, acc[1] * inverse);
      store_two(a_.out, slot_of(row), column + 2, acc[2] * inverse, acc[3] * inverse);
    }
    write_zeros();
  }

  const AttentionTilesArgs& args_;
  const AttentionArgs& a_;
  const AttentionItem item_;
  const int units_, unit_;
  int kv_head_, head_, heads_, rows_;
  const int32_t* table_;
  uint16_t* q_;
  int end_;
  KeySpan seen_by_all_;
  KeySpan span_[2];  // of the lane's rows
};

struct AttentionLaunch {
  AttentionTilesArgs args;
  int units;
};

template <int dim, int row_warps>
__global__ void __launch_bounds__(kAttentionThreads, AttentionTile<dim, row_warps>::kBlocksAtOnce)
    attention_tiles_kernel(AttentionLaunch launched) {
  begin_early();
  const AttentionTilesArgs& args = launched.args;
  const int units = launched.units;
  const int count = *args.num_items * units;
  for (int i = blockIdx.x; i < count; i += gridDim.x) {
    AttentionBlock<dim, row_warps>(args, units, args.items[i / units], i % units).run();
    __syncthreads();  // before the next item's queries take the place of these
  }
}

template <int dim, int row_warps>
Error launch_tiles(const AttentionTilesArgs& args, int max_blocks, Stream stream) {
  using T = AttentionTile<dim, row_warps>;
  const AttentionLaunch launched = {args, attention_units(args.attention, T::kRows)};
  const int blocks = args.max_items * launched.units;
  const Grid grid = {static_cast<unsigned>(blocks < max_blocks ? blocks : max_blocks), 1};
  return launch_early(attention_tiles_kernel<dim, row_warps>, grid, kAttentionThreads, launched, stream, T::kSharedBytes);
}

// By the next larger width that there is a kernel for: columns that a head does not have are zeros in shared memory, which costs products
// but no bytes of the cache, and a kernel takes minutes to compile.
template <int row_warps>
Error launch_attention(const AttentionTilesArgs& args, int max_blocks, Stream stream) {
  const KvCache& kv = args.attention.kv;
  if (!attention_has_tiles(kv.type, kv.head_dim)) return kInvalidValue;
  if constexpr (row_warps != 2) {
    if (kv.head_dim <= 32) return launch_tiles<32, row_warps>(args, max_blocks, stream);
    if (kv.head_dim <= 64) return launch_tiles<64, row_warps>(args, max_blocks, stream);
    if (kv.head_dim <= 96) return launch_tiles<96, row_warps>(args, max_blocks, stream);
    if (kv.head_dim <= 128) return launch_tiles<128, row_warps>(args, max_blocks, stream);
  }
  if constexpr (row_warps != 4) return launch_tiles<256, row_warps>(args, max_blocks, stream);
  return kInvalidValue;
}

}  // namespace lockstep::cuda
