// The activation of an MLP, gated or not. A block a row. Bound: the bytes of the rows.
#include "cuda/activation.cuh"
#include "cuda/families.h"

namespace lockstep::cuda {
namespace {

constexpr int kThreads = 256;

__global__ void activation_kernel(ActivationArgs a) {
  begin_early();
  const float* in = a.in + static_cast<size_t>(blockIdx.x) * a.ld_in;
  for (int c = threadIdx.x; c < a.out.ld; c += blockDim.x) {
    float value = 0;
    if (c < a.n) value = a.gated ? activate(a.kind, in[c]) * in[a.n + c] : activate(a.kind, in[c]);
    store_row_value(a.out, blockIdx.x, c, value);
  }
}

}  // namespace

Error activation(const ActivationArgs& args, Stream stream) {
  return launch_early(activation_kernel, {static_cast<unsigned>(args.rows), 1}, kThreads, args, stream);
}

}  // namespace lockstep::cuda
