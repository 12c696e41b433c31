// Products of rows of bf16 with weights of bf16 or bricks, on tensor cores: the weights are the 16 rows of a multiply_add and the rows of x
// its 8 columns, so that few rows waste little. Weights go from memory to registers, 16 bytes a lane, and are read once for all rows of a
// block; x, which all blocks read, comes from the caches. Bound: for a decode step's rows by the bytes of the weights.
//
// A sum's order is that of gemm.cuh, whatever the number of rows: a slice is a warp's. Products of more rows that are worth staging are
// gemm_tiles.cu's, with the same bits: a row's depend on the row alone.
#include <algorithm>

#include "cuda/families.h"
#include "cuda/gemm.cuh"

namespace lockstep::cuda {
namespace {

constexpr int kWarps = kSlices;
constexpr int kTileValues = kBrickRows * kColumns;

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

// A block makes 16 * tiles columns of 8 * row_tiles rows; of experts, of one row.
template <Bricks kind, int tiles, int row_tiles>
__global__ void __launch_bounds__(kWarps* kWarp, row_tiles == 1 ? 2 : 1) gemm_kernel(GemmArgs a) {
  __shared__ float parts[2][kWarps][kTileValues];
  const int lane = threadIdx.x % kWarp;
  const int warp = threadIdx.x / kWarp;
  const int warps = blockDim.x / kWarp;
  // Columns are the inner dimension of the grid, whose second one is too short for a vocabulary or for all rows of experts.
  const int tile_blocks = (tiles_down(a.n) + tiles - 1) / tiles;
  const int first_tile = blockIdx.x % tile_blocks * tiles;
  const int rows_of_block = a.expert_of == nullptr ? row_tiles * kColumns : 1;
  const int first_row = blockIdx.x / tile_blocks * rows_of_block;
  const int end_row = first_row + rows_of_block < a.rows ? first_row + rows_of_block : a.rows;
  const size_t expert = a.expert_of == nullptr ? 0 : a.expert_of[first_row];
  const uint16_t* x[row_tiles];
#pragma unroll
  for (int r = 0; r < row_tiles; r++) {
    const int row = first_row + r * kColumns + lane / 4;
    x[r] = row < end_row ? static_cast<const uint16_t*>(a.x) + static_cast<size_t>(row / a.rows_per_input) * a.ld_x : nullptr;
  }
  const auto tile_of = [&](int t) { return first_tile + t < tiles_down(a.n) ? first_tile + t : first_tile; };  // of none the first, again
  float sum[tiles][row_tiles][4] = {};
  const int bricks = bricks_across(a.k);
  // A warp of one tile reads a brick ahead; one of more has as many loads in flight without.
  constexpr bool reads_ahead = tiles == 1;
  Share<kind> next;
  if (reads_ahead) next.take(a, expert, first_tile, warp, lane);
  for (int brick = warp; brick < bricks; brick += warps) {
    Share<kind> share[tiles];
#pragma unroll
    for (int t = 0; t < tiles; t++) {
      if (!reads_ahead) share[t].take(a, expert, tile_of(t), brick, lane);
    }
    if (reads_ahead) {
      share[0] = next;
      if (brick + warps < bricks) next.take(a, expert, first_tile, brick + warps, lane);
    }
#pragma unroll
    for (int group = 0; group < kBrickGroups; group++) {
#pragma unroll
      for (int r = 0; r < row_tiles; r++) {
        const Words4 in = input_of<kIsSplit<kind>>(x[r], brick * kBrickCols + group * kBrickGroup, a.ld_x, lane);
        float total[4] = {};
        if (kHasLeast<kind>) sum_group(total, in);
#pragma unroll
        for (int t = 0; t < tiles; t++) multiply_group<kind>(sum[t][r], share[t], group, in, total);
      }
    }
  }
#pragma unroll
  for (int i = 0; i < tiles * row_tiles; i++) {
    const int tile = i / row_tiles;
    const int r = i % row_tiles;
    // Two buffers: who writes one has come past the barrier behind which the others read it the last time.
    float(&all)[kWarps][kTileValues] = parts[i % 2];
    for (int e = 0; e < 4; e++) all[warp][e * kWarp + lane] = sum[tile][r][e];
    __syncthreads();
    for (int value = threadIdx.x; value < kTileValues; value += blockDim.x) {
      const int of_lane = value % kWarp;
      const int e = value / kWarp;
      const int column = (first_tile + tile) * kBrickRows + e / 2 * 8 + of_lane / 4;
      const int row = first_row + r * kColumns + of_lane % 4 * 2 + e % 2;
      if (row >= end_row || column >= a.n) continue;
      float total = 0;
      for (int w = 0; w < warps; w++) total += all[w][value];
      a.out[static_cast<size_t>(row) * a.ld_out + column] = a.bias == nullptr ? total : total + a.bias[column];
    }
  }
}

template <Bricks kind, int tiles, int row_tiles>
Error launch_gemm(const GemmArgs& args, Stream stream) {
  const int tile_blocks = (tiles_down(args.n) + tiles - 1) / tiles;
  const int rows_of_block = args.expert_of == nullptr ? row_tiles * kColumns : 1;
  const int row_blocks = (args.rows + rows_of_block - 1) / rows_of_block;
  const int bricks = bricks_across(args.k);
  const int warps = std::clamp(bricks, 1, kWarps);  // others would have nothing to do
  return launch(gemm_kernel<kind, tiles, row_tiles>, {static_cast<unsigned>(tile_blocks * row_blocks), 1}, warps * kWarp, args, stream);
}

// The more rows, the more columns a block makes of what it reads of x, as far as there are registers.
template <Bricks kind>
Error gemm_of(const GemmArgs& args, Stream stream) {
  if (args.expert_of != nullptr || args.rows <= kColumns) return launch_gemm<kind, 1, 1>(args, stream);
  if (args.rows <= 2 * kColumns) return launch_gemm<kind, 2, 2>(args, stream);
  return launch_gemm < kind, kHasLeast<kind> ? 1 : 2, 4 > (args, stream);
}

// Where x goes through shared memory, by calculation for an H100; no choice of it changes a bit. Of few rows it is where the matrix is wide
// enough for its tiles to keep the memory busy: the kernel above has more of the weights on their way, a warp for each slice, but past 32
// rows reads them twice, and x for every 32 columns. Tiles of bf16 have more on their way than those of bricks. Wide tiles are worth it
// where there are enough of them for two thirds of the multiprocessors.
constexpr int kStagedRows = 17, kManyRows = kSmallTile + 1;
constexpr int kStagedWidth = 2048, kStagedWidthOfBricks = 4096;  // of more than 32 rows; of fewer twice as much
constexpr int kWideTiles = 88;

bool is_staged(const GemmArgs& args) {
  if (!gemm_has_tiles(args) || args.rows < kStagedRows) return false;
  const int width = args.bricks == Bricks::kNone ? kStagedWidth : kStagedWidthOfBricks;
  return args.rows >= kManyRows || args.n >= (args.rows > 4 * kColumns ? width : 2 * width);
}

bool is_wide(const GemmArgs& args) {
  const auto tiles = [](int count) { return (count + kWideTile - 1) / kWideTile; };
  return args.rows >= kManyRows && tiles(args.rows) * tiles(args.n) >= kWideTiles;
}

}  // namespace

Error gemm(const GemmArgs& args, Stream stream) {
  if (args.type == Type::kF32) return gemm_f32(args, stream);
  if (is_staged(args)) return gemm_tiles({args, is_wide(args)}, stream);
  if (args.bricks == Bricks::kNone) return gemm_of<Bricks::kNone>(args, stream);
  return with_kind(args.bricks, [&](auto kind) { return gemm_of<decltype(kind)::value>(args, stream); });
}

}  // namespace lockstep::cuda
