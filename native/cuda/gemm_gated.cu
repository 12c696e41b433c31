// The product of an MLP's gate and up, of few rows (gemm_rows.cuh), and its activation, in one kernel: a block makes 16 columns of the gate
// and the same of up, so that it has both factors of its results and no product goes to memory and back. The bits are those of gemm and
// activation one after the other: gemm's sums do not depend on the tiles of a block, and both call `activate`.
#include "cuda/activation.cuh"
#include "cuda/gemm_rows.cuh"

namespace lockstep::cuda {
namespace {

template <Bricks kind, int row_tiles, bool norms>
__global__ void __launch_bounds__(kGemmWarps* kWarp, row_tiles == 1 ? 2 : 1) gemm_gated_kernel(GemmArgs a) {
  __shared__ TileParts parts[2];
  const int half = a.n / 2;
  const int tiles = half / kBrickRows;  // of the gate, and of up
  const int tile = blockIdx.x % tiles;
  const BlockRows<row_tiles> rows = block_rows<row_tiles, norms>(a, blockIdx.x / tiles, threadIdx.x % kWarp);
  const int tile_of[2] = {tile, tiles + tile};
  float sum[2][row_tiles][4] = {};
  multiply_tiles<kind, norms>(a, rows, tile_of, sum);
#pragma unroll
  for (int r = 0; r < row_tiles; r++) {
    if (r > 0) __syncthreads();  // the row tile before has been read
    for (int t = 0; t < 2; t++) keep_part(parts[t], sum[t][r]);
    __syncthreads();
    for (int value = threadIdx.x; value < kTileValues; value += blockDim.x) {
      const int column = tile * kBrickRows + column_of_value(value);
      const int row = rows.first + r * kColumns + row_of_value(value);
      if (row < rows.end) store_gated(a, row, column, sum_of_parts(parts[0], value), sum_of_parts(parts[1], value));
    }
  }
}

template <Bricks kind>
Error gated_of(const GemmArgs& args, Stream stream) {
  const int tiles = args.n / (2 * kBrickRows);
  if (args.norm.weight != nullptr) return launch_blocks(gemm_gated_kernel<kind, 1, true>, args, tiles, 1, stream);
  if (args.expert_of != nullptr || args.rows <= kColumns) return launch_blocks(gemm_gated_kernel<kind, 1, false>, args, tiles, 1, stream);
  return launch_blocks(gemm_gated_kernel<kind, 2, false>, args, tiles, 2, stream);
}

}  // namespace

Error gemm_gated(const GemmArgs& args, Stream stream) {
  if (args.bricks == Bricks::kNone) return gated_of<Bricks::kNone>(args, stream);
  return with_kind(args.bricks, [&](auto kind) { return gated_of<decltype(kind)::value>(args, stream); });
}

}  // namespace lockstep::cuda
