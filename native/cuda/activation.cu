// The activation of an MLP, gated or not. A block a row. Bound: the bytes of the rows.
#include "cuda/device.cuh"
#include "cuda/families.h"

namespace lockstep::cuda {
namespace {

constexpr int kThreads = 256;

__device__ float activate(Activation kind, float x) {
  switch (kind) {
    case Activation::kSilu:
      return x / (1.0f + expf(-x));
    case Activation::kGeluTanh:  // 0.5 x (1 + tanh(u)) = x sigmoid(2u), without the cancellation at negative x
      return x / (1.0f + expf(-1.59576912f * (x + 0.044715f * x * x * x)));
    case Activation::kGelu:
      return 0.5f * x * erfcf(-0.707106781f * x);
    case Activation::kRelu:
      return x > 0 ? x : 0.0f;
  }
  return x;
}

__global__ void activation_kernel(ActivationArgs a) {
  const float* in = a.in + static_cast<size_t>(blockIdx.x) * a.ld_in;
  for (int c = threadIdx.x; c < a.out.ld; c += blockDim.x) {
    float value = 0;
    if (c < a.n) value = a.gated ? activate(a.kind, in[c]) * in[a.n + c] : activate(a.kind, in[c]);
    store_row_value(a.out, blockIdx.x, c, value);
  }
}

}  // namespace

Error activation(const ActivationArgs& args, Stream stream) {
  return launch(activation_kernel, {static_cast<unsigned>(args.rows), 1}, kThreads, args, stream);
}

}  // namespace lockstep::cuda
