// What gemm.cu and gemm_gated.cu share: products of rows of bf16 with weights of bf16 or bricks, on tensor cores: the weights are the 16
// rows of a multiply_add and the rows of x its 8 columns, so that few rows waste little. Weights go from memory to registers, 16 bytes a
// lane, and are read once for all rows of a block; x, which all blocks read, comes from the caches. Bound: for a decode step's rows by the
// bytes of the weights.
//
// A sum's order is that of gemm.cuh, whatever the number of rows: a slice is a warp's. Where a product norms, every block does so with all
// rows, by as many threads as norm.cu and so in the same order, and multiplies from shared memory what norm.cu would have written.
#pragma once

#include <algorithm>

#include "cuda/families.h"
#include "cuda/gemm.cuh"

namespace lockstep::cuda {

constexpr int kGemmWarps = kSlices;
constexpr int kTileValues = kBrickRows * kColumns;
static_assert(kGemmWarps * kWarp == kNormThreads && kMaxNormedRows <= kColumns);
static_assert(kMaxNormedValues * 2 + 2 * kGemmWarps * kTileValues * 4 < kMaxDynamicShared, "beside the parts of sums");

// A lane's share of 16 rows and 128 columns of the weights: Brick's members, and where it lies.
template <Bricks kind>
struct Share : Brick<kind> {
  __device__ void take(const GemmArgs& a, size_t expert, int tile, int brick, int lane) {
    const uint8_t* tiles = static_cast<const uint8_t*>(a.w) + tile_bytes(kind, a.k) * (expert * tiles_down(a.n) + tile);
    this->load(tiles + brick_bytes(kind) * brick, lane);
  }
};

template <>
struct Share<Bricks::kNone> {
  Words4 words[2][kBrickGroups];
  __device__ void take(const GemmArgs& a, size_t expert, int tile, int brick, int lane) {
    for (int half = 0; half < 2; half++) {
      const int row = tile * kBrickRows + half * 8 + lane / 4;
      const uint16_t* from = static_cast<const uint16_t*>(a.w) + (expert * a.n + row) * a.ld_w;
      for (int group = 0; group < kBrickGroups; group++) {
        const int column = brick * kBrickCols + group * kBrickGroup + lane % 4 * 8;
        words[half][group] = row < a.n && column < a.ld_w ? load_once(reinterpret_cast<const Words4*>(from + column)) : Words4{};
      }
    }
  }
  __device__ uint32_t pair(int half, int group, int i) const { return words[half][group].at[i]; }
};

// A lane's eight values of a row of x in the group that begins at `column`; zeros where there is no row.
template <bool is_split>
__device__ Words4 input_of(const uint16_t* x, int column, int ld, int lane) {
  Words4 words{};
  if (x == nullptr) return words;
  if constexpr (is_split) {
    for (int i = 0; i < 2; i++) {
      const int at = column + i * 16 + lane % 4 * 4;
      if (at >= ld) break;
      const Words2 part = *reinterpret_cast<const Words2*>(x + at);
      words.at[2 * i] = part.at[0];
      words.at[2 * i + 1] = part.at[1];
    }
  } else if (column + lane % 4 * 8 < ld) {
    words = *reinterpret_cast<const Words4*>(x + column + lane % 4 * 8);
  }
  return words;
}

// The rows of a block and where a lane reads them.
template <int row_tiles>
struct BlockRows {
  int first, end;
  const uint16_t* x[row_tiles];  // of the lane's row of each row tile; null: there is none
};

// A block makes columns of 8 * row_tiles rows; of experts, of one row.
LOCKSTEP_ANYWHERE inline int rows_of_block(const GemmArgs& a, int row_tiles) { return a.expert_of == nullptr ? row_tiles * kColumns : 1; }

template <int row_tiles, bool norms>
__device__ BlockRows<row_tiles> block_rows(const GemmArgs& a, int block, int lane) {
  BlockRows<row_tiles> rows;
  const void* x = norms ? dynamic_shared() : a.x;
  const int count = rows_of_block(a, row_tiles);
  rows.first = block * count;
  rows.end = rows.first + count < a.rows ? rows.first + count : a.rows;
#pragma unroll
  for (int r = 0; r < row_tiles; r++) {
    const int row = rows.first + r * kColumns + lane / 4;
    rows.x[r] = row < rows.end ? static_cast<const uint16_t*>(x) + static_cast<size_t>(row / a.rows_per_input) * a.ld_x : nullptr;
  }
  return rows;
}

// By the whole block, the norms of all rows into shared memory.
__device__ inline void norm_rows(const GemmArgs& a) {
  const RowsOut normed = {nullptr, reinterpret_cast<uint16_t*>(dynamic_shared()), a.ld_x};
  for (int row = 0; row < a.rows; row++)
    store_normed(normed, row, a.norm, static_cast<const float*>(a.x) + static_cast<size_t>(row) * a.ld_x, a.k);
  __syncthreads();
}

// A warp's part of sum[t][r]: of tile tile_of[t] of the weights with row tile r of the block. Its first bricks are on their way before it
// waits for what is earlier in the stream.
template <Bricks kind, bool norms, int tiles, int row_tiles>
__device__ void multiply_tiles(const GemmArgs& a, const BlockRows<row_tiles>& rows, const int (&tile_of)[tiles],
                               float (&sum)[tiles][row_tiles][4]) {
  // A warp of one tile reads a brick ahead; one of more has as many loads in flight without.
  constexpr bool reads_ahead = tiles == 1;
  const int lane = threadIdx.x % kWarp;
  const int warp = threadIdx.x / kWarp;
  const int warps = blockDim.x / kWarp;
  const int bricks = bricks_across(a.k);
  begin_product(a);
  const size_t expert = a.expert_of == nullptr ? 0 : a.expert_of[rows.first];
  Share<kind> share[tiles], next;
  const auto take_all = [&](int brick) {
#pragma unroll
    for (int t = 0; t < tiles; t++) share[t].take(a, expert, tile_of[t], brick, lane);
  };
  if (warp < bricks) take_all(warp);
  if (reads_ahead && warp + warps < bricks) next.take(a, expert, tile_of[0], warp + warps, lane);
  wait_for_earlier();
  if (norms) norm_rows(a);
  for (int brick = warp; brick < bricks; brick += warps) {
#pragma unroll
    for (int group = 0; group < kBrickGroups; group++) {
#pragma unroll
      for (int r = 0; r < row_tiles; r++) {
        const Words4 in = input_of<kIsSplit<kind>>(rows.x[r], brick * kBrickCols + group * kBrickGroup, a.ld_x, lane);
        float total[4] = {};
        if (kHasLeast<kind>) sum_group(total, in);
#pragma unroll
        for (int t = 0; t < tiles; t++) multiply_group<kind>(sum[t][r], share[t], group, in, total);
      }
    }
    const int behind = brick + warps;
    if (behind >= bricks) break;
    if (reads_ahead) {
      share[0] = next;
      if (behind + warps < bricks) next.take(a, expert, tile_of[0], behind + warps, lane);
    } else {
      take_all(behind);
    }
  }
}

// What the warps of a block have of one tile and row tile.
using TileParts = float[kGemmWarps][kTileValues];

__device__ inline void keep_part(TileParts& all, const float (&sum)[4]) {
  for (int e = 0; e < 4; e++) all[threadIdx.x / kWarp][e * kWarp + threadIdx.x % kWarp] = sum[e];
}

// Of a tile's values the one at `value`: its column in the tile, its row in the row tile, and its sum over the warps, in order.
__device__ inline int column_of_value(int value) { return value / kWarp / 2 * 8 + value % kWarp / 4; }
__device__ inline int row_of_value(int value) { return value % kWarp % 4 * 2 + value / kWarp % 2; }
__device__ inline float sum_of_parts(const TileParts& all, int value) {
  float total = 0;
  for (int w = 0; w < static_cast<int>(blockDim.x) / kWarp; w++) total += all[w][value];
  return total;
}

// So many blocks for each block of rows, of as many warps as have something to do: for a norm all.
inline Error launch_blocks(void (*kernel)(GemmArgs), const GemmArgs& args, int tile_blocks, int row_tiles, Stream stream) {
  const int rows = rows_of_block(args, row_tiles);
  const int row_blocks = (args.rows + rows - 1) / rows;
  const bool norms = args.norm.weight != nullptr;
  const int warps = norms ? kGemmWarps : std::clamp(bricks_across(args.k), 1, kGemmWarps);
  const int shared_bytes = norms ? args.rows * args.ld_x * static_cast<int>(type_bytes(Type::kBf16)) : 0;
  return launch_product(kernel, {static_cast<unsigned>(tile_blocks * row_blocks), 1}, warps * kWarp, args, stream, shared_bytes);
}

}  // namespace lockstep::cuda
