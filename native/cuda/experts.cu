// Layers of experts: which experts a token goes to, a warp a token, and the sum of what they made of it, in the order of the experts.
#include "cuda/device.cuh"
#include "cuda/families.h"

namespace lockstep::cuda {
namespace {

constexpr int kThreads = 128;
constexpr int kTaken = -1;  // no probability is below 0

// The best of a warp's candidates, on every lane; ties go to the lower expert.
__device__ void warp_best(float* value, int* expert) {
  for (int mask = kWarp / 2; mask > 0; mask /= 2) {
    const float other = __shfl_xor_sync(0xffffffffu, *value, mask);
    const int other_expert = __shfl_xor_sync(0xffffffffu, *expert, mask);
    if (other > *value || (other == *value && other_expert < *expert)) {
      *value = other;
      *expert = other_expert;
    }
  }
}

__global__ void route_kernel(RouteArgs a) {
  __shared__ float share[kMaxExperts];
  __shared__ int32_t chosen[kMaxExperts];
  begin_early();
  const int lane = threadIdx.x;
  const float* logits = a.logits + static_cast<size_t>(blockIdx.x) * a.ld;
  float max = -INFINITY;
  int ignored = 0;
  for (int e = lane; e < a.experts; e += kWarp) max = fmaxf(max, logits[e]);
  warp_best(&max, &ignored);
  float sum = 0;
  for (int e = lane; e < a.experts; e += kWarp) {
    share[e] = expf(logits[e] - max);
    sum += share[e];
  }
  sum = warp_sum(sum);
  float total = 0;
  for (int i = 0; i < a.top_k; i++) {
    float best = kTaken;
    int expert = a.experts;
    for (int e = lane; e < a.experts; e += kWarp) {
      if (share[e] > best) {
        best = share[e];
        expert = e;
      }
    }
    warp_best(&best, &expert);
    total += best / sum;
    // The expert's place is behind those chosen before that have lower numbers; those with higher ones move up.
    if (lane == 0) {
      int at = i;
      for (; at > 0 && chosen[at - 1] > expert; at--) {
        chosen[at] = chosen[at - 1];
        a.weight_of[static_cast<size_t>(blockIdx.x) * a.top_k + at] = a.weight_of[static_cast<size_t>(blockIdx.x) * a.top_k + at - 1];
      }
      chosen[at] = expert;
      a.weight_of[static_cast<size_t>(blockIdx.x) * a.top_k + at] = best / sum;
      share[expert] = kTaken;
    }
    __syncthreads();
  }
  for (int i = lane; i < a.top_k; i += kWarp) {
    const size_t at = static_cast<size_t>(blockIdx.x) * a.top_k + i;
    a.expert_of[at] = chosen[i];
    if (a.normalize) a.weight_of[at] /= total;
  }
}

__global__ void combine_kernel(CombineArgs a) {
  begin_early();
  const size_t row = blockIdx.x;
  for (int c = threadIdx.x; c < a.n; c += blockDim.x) {
    float sum = 0;
    for (int j = 0; j < a.top_k; j++) sum += a.weight_of[row * a.top_k + j] * a.parts[(row * a.top_k + j) * a.ld + c];
    a.y[row * a.ld + c] = sum;
  }
}

}  // namespace

Error route(const RouteArgs& args, Stream stream) {
  return launch_early(route_kernel, {static_cast<unsigned>(args.rows), 1}, kWarp, args, stream);
}
Error combine(const CombineArgs& args, Stream stream) {
  return launch_early(combine_kernel, {static_cast<unsigned>(args.rows), 1}, kThreads, args, stream);
}

}  // namespace lockstep::cuda
