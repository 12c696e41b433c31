// Products of few rows (gemm_rows.cuh), plain or added to what is there, and which kernel has which product. Those of more rows that are
// worth staging are gemm_tiles.cu's, with the same bits: a row's depend on the row alone.
#include "cuda/gemm_rows.cuh"

namespace lockstep::cuda {
namespace {

// A block makes 16 * tiles columns.
template <Bricks kind, int tiles, int row_tiles, bool norms>
__global__ void __launch_bounds__(kGemmWarps* kWarp, row_tiles == 1 ? 2 : 1) gemm_kernel(GemmArgs a) {
  __shared__ TileParts parts[2];
  // Columns are the inner dimension of the grid, whose second one is too short for a vocabulary or for all rows of experts.
  const int tile_blocks = (tiles_down(a.n) + tiles - 1) / tiles;
  const int first_tile = blockIdx.x % tile_blocks * tiles;
  const BlockRows<row_tiles> rows = block_rows<row_tiles, norms>(a, blockIdx.x / tile_blocks, threadIdx.x % kWarp);
  int tile_of[tiles];
#pragma unroll
  for (int t = 0; t < tiles; t++) tile_of[t] = first_tile + t < tiles_down(a.n) ? first_tile + t : first_tile;  // of none the first, again
  float sum[tiles][row_tiles][4] = {};
  multiply_tiles<kind, norms>(a, rows, tile_of, sum);
#pragma unroll
  for (int i = 0; i < tiles * row_tiles; i++) {
    const int tile = i / row_tiles;
    const int r = i % row_tiles;
    // Two buffers: who writes one has come past the barrier behind which the others read it the last time.
    TileParts& all = parts[i % 2];
    keep_part(all, sum[tile][r]);
    __syncthreads();
    for (int value = threadIdx.x; value < kTileValues; value += blockDim.x) {
      const int column = (first_tile + tile) * kBrickRows + column_of_value(value);
      const int row = rows.first + r * kColumns + row_of_value(value);
      if (row < rows.end && column < a.n) store_product(a, row, column, sum_of_parts(all, value));
    }
  }
}

template <Bricks kind, int tiles, int row_tiles, bool norms = false>
Error launch_gemm(const GemmArgs& args, Stream stream) {
  const int tile_blocks = (tiles_down(args.n) + tiles - 1) / tiles;
  return launch_blocks(gemm_kernel<kind, tiles, row_tiles, norms>, args, tile_blocks, row_tiles, stream);
}

// The more rows, the more columns a block makes of what it reads of x, as far as there are registers.
template <Bricks kind>
Error gemm_of(const GemmArgs& args, Stream stream) {
  if (args.norm.weight != nullptr) return launch_gemm<kind, 1, 1, true>(args, stream);
  if (args.expert_of != nullptr || args.rows <= kColumns) return launch_gemm<kind, 1, 1>(args, stream);
  if (args.rows <= 2 * kColumns) return launch_gemm<kind, 2, 2>(args, stream);
  return launch_gemm < kind, kHasLeast<kind> ? 1 : 2, 4 > (args, stream);
}

// Where x goes through shared memory, by calculation for an H100; no choice of it changes a bit. Of few rows it is where the matrix is wide
// enough for its tiles to keep the memory busy: the kernel above has more of the weights on their way, a warp for each slice, but past 32
// rows reads them twice, and x for every 32 columns. Tiles of bf16 have more on their way than those of bricks. What gates is there a tile
// of both factors in either kernel, and saves the activation's own: it is staged at any width. Wide tiles are worth it where there are
// enough of them for two thirds of the multiprocessors.
constexpr int kStagedRows = 17, kManyRows = kSmallTile + 1;
constexpr int kStagedWidth = 2048, kStagedWidthOfBricks = 4096;  // of more than 32 rows; of fewer twice as much
constexpr int kWideTiles = 88;

bool is_staged(const GemmArgs& args) {
  if (!gemm_has_tiles(args) || args.rows < kStagedRows) return false;
  const int width = args.bricks == Bricks::kNone ? kStagedWidth : kStagedWidthOfBricks;
  return args.gates || args.rows >= kManyRows || args.n >= (args.rows > 4 * kColumns ? width : 2 * width);
}

bool is_wide(const GemmArgs& args) {
  const auto tiles = [](int count) { return (count + kWideTile - 1) / kWideTile; };
  return args.rows >= kManyRows && tiles(args.rows) * tiles(args.n) >= kWideTiles;
}

}  // namespace

Error gemm(const GemmArgs& args, Stream stream) {
  if ((args.gates && !gemm_gates(args)) || (args.norm.weight != nullptr && !gemm_norms(args))) return kInvalidValue;
  if (args.type == Type::kF32) return gemm_f32(args, stream);
  if (is_staged(args)) return gemm_tiles({args, is_wide(args)}, stream);
  if (args.gates) return gemm_gated(args, stream);
  if (args.bricks == Bricks::kNone) return gemm_of<Bricks::kNone>(args, stream);
  return with_kind(args.bricks, [&](auto kind) { return gemm_of<decltype(kind)::value>(args, stream); });
}

}  // namespace lockstep::cuda
