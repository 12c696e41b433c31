// Matrix products in float32, plain: a warp an output column, its lanes along K, up to 8 rows at a time. For few rows it is bound by the
// bytes of the weights, which are read once for each 8 rows in vectors of 16 bytes; for many rows it is not the kernel to take. A sum's
// order: each lane its vectors in order, then the butterfly; it does not depend on the number of rows.
#include "cuda/device.cuh"
#include "cuda/families.h"

namespace lockstep::cuda {
namespace {

constexpr int kWarps = 4;  // of a block: columns

struct alignas(16) Vector {
  float values[4];
};

// Multiplies the values of two vectors and adds the products to `sum`, in order.
__device__ float dot(const Vector& a, const Vector& b, float sum) {
  for (int i = 0; i < 4; i++) sum += a.values[i] * b.values[i];
  return sum;
}

template <int rows>
__global__ void gemm_kernel(GemmArgs a) {
  constexpr int kValues = 4;
  begin_early();
  const int lane = threadIdx.x % kWarp;
  // Columns are the inner dimension of the grid, whose second one is too short for a vocabulary or for all rows of experts.
  const int column_blocks = (a.n + kWarps - 1) / kWarps;
  const int column = blockIdx.x % column_blocks * kWarps + threadIdx.x / kWarp;
  const int first = blockIdx.x / column_blocks * rows;
  if (column >= a.n) return;  // a whole warp
  const size_t expert = a.expert_of == nullptr ? 0 : a.expert_of[first];
  const size_t vectors_of_w = a.ld_w / kValues;
  const Vector* w = static_cast<const Vector*>(a.w) + (expert * a.n + column) * vectors_of_w;
  const Vector* x[rows];
  for (int r = 0; r < rows; r++) {
    const int row = first + r < a.rows ? first + r : a.rows - 1;
    x[r] = static_cast<const Vector*>(a.x) + static_cast<size_t>(row / a.rows_per_input) * (a.ld_x / kValues);
  }
  float sum[rows] = {};
  const int vectors = (a.k + kValues - 1) / kValues;
  for (int i = lane; i < vectors; i += kWarp) {
    const Vector weights = w[i];
#pragma unroll
    for (int r = 0; r < rows; r++) sum[r] = dot(weights, x[r][i], sum[r]);
  }
#pragma unroll
  for (int r = 0; r < rows; r++) {
    const float total = warp_sum(sum[r]);
    if (lane == 0 && first + r < a.rows) store_product(a, first + r, column, total);
  }
}

template <int rows>
Error launch_gemm(const GemmArgs& args, Stream stream) {
  const int columns = (args.n + kWarps - 1) / kWarps;
  const int tiles = (args.rows + rows - 1) / rows;
  return launch_early(gemm_kernel<rows>, {static_cast<unsigned>(columns * tiles), 1}, kWarps * kWarp, args, stream);
}

}  // namespace

// Rows that a decode step has few of share a tile that is no larger than they need. Rows of different experts share no weights.
Error gemm_f32(const GemmArgs& args, Stream stream) {
  if (args.expert_of != nullptr || args.rows == 1) return launch_gemm<1>(args, stream);
  if (args.rows == 2) return launch_gemm<2>(args, stream);
  if (args.rows <= 4) return launch_gemm<4>(args, stream);
  return launch_gemm<8>(args, stream);
}

}  // namespace lockstep::cuda
