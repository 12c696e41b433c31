// The activation of one value, the same in whichever kernel, and a value of a product that gates.
#pragma once

#include "cuda/device.cuh"

namespace lockstep::cuda {

__device__ inline float activate(Activation kind, float x) {
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

// From the sums of the gate's column and of up's.
__device__ inline void store_gated(const GemmArgs& a, int row, int column, float gate, float up) {
  const float factor = activate(a.activation, with_bias(a, column, gate));
  store_row_value(a.gated, row, column, factor * with_bias(a, a.n / 2 + column, up));
}

}  // namespace lockstep::cuda
