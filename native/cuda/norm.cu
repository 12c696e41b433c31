// RMS norm (Zhang, Sennrich 2019) and layer norm (Ba et al. 2016) of rows, the residual add, and pooling, which sums normed rows. A block a
// row. Bound: the bytes of the rows, read twice (the second time from L1).
#include "cuda/device.cuh"
#include "cuda/families.h"

namespace lockstep::cuda {
namespace {

__global__ void norm_kernel(NormArgs a) {
  begin_early();
  const int i = blockIdx.x;
  float* x = a.x + static_cast<size_t>(a.row_of == nullptr ? i : a.row_of[i]) * a.ld_x;
  const NormScale scale = norm_scale(x, a.n, a.norm.eps, a.norm.layer_norm);
  for (int c = threadIdx.x; c < a.out.ld; c += blockDim.x) {
    const float y = c < a.n ? normed(a.norm, scale, x[c], c) : 0.0f;
    store_row_value(a.out, i, c, y);
    if (a.replaces && c < a.n) x[c] = y;
  }
}

__global__ void add_kernel(AddArgs a) {
  let_next_begin();
  const float* y = a.y + static_cast<size_t>(blockIdx.x) * a.ld;
  float* x = a.x + static_cast<size_t>(blockIdx.x) * a.ld;
  if (a.norm.weight == nullptr) {
    for (int c = threadIdx.x; c < a.n; c += blockDim.x) x[c] += y[c];
    return;
  }
  const NormScale scale = norm_scale(y, a.n, a.norm.eps, a.norm.layer_norm);
  for (int c = threadIdx.x; c < a.n; c += blockDim.x) x[c] += normed(a.norm, scale, y[c], c);
}

__global__ void pool_kernel(PoolArgs a) {
  const PoolEntry entry = a.entries[blockIdx.x];
  float* pooled = a.pooled + static_cast<size_t>(entry.row) * a.ld;
  for (int s = 0; s < entry.num_slots; s++) {
    const float* x = a.x + static_cast<size_t>(entry.first_slot + s) * a.ld;
    const NormScale scale = norm_scale(x, a.n, a.norm.eps, a.norm.layer_norm);
    const bool adds = s > 0 || entry.adds != 0;
    for (int c = threadIdx.x; c < a.n; c += blockDim.x) pooled[c] = (adds ? pooled[c] : 0.0f) + normed(a.norm, scale, x[c], c);
  }
}

}  // namespace

Error norm(const NormArgs& args, Stream stream) {
  return launch_early(norm_kernel, {static_cast<unsigned>(args.rows), 1}, kNormThreads, args, stream);
}
// Not early: it is what follows a collective of NCCL's, and a recording may have more before it then than one kernel.
Error add(const AddArgs& args, Stream stream) {
  return launch(add_kernel, {static_cast<unsigned>(args.rows), 1}, kNormThreads, args, stream);
}
Error pool(const PoolArgs& args, Stream stream) {
  return launch(pool_kernel, {static_cast<unsigned>(args.num_entries), 1}, kNormThreads, args, stream);
}

}  // namespace lockstep::cuda
