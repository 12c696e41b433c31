// Weights that are in no file, for measurements of shapes: normal enough, and the same from every program that counts as this one does
// (scripts/gpu-check-torch.py). Bound: the bytes that are written.
#include "cuda/device.cuh"
#include "cuda/families.h"
#include "cuda/generated.h"

namespace lockstep::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kRowsMax = 1 << 16;  // of a grid's second dimension

__global__ void generate_kernel(GenerateArgs a) {
  const int column = blockIdx.x * blockDim.x + threadIdx.x;
  if (column >= a.ld) return;
  for (int row = blockIdx.y; row < a.rows; row += gridDim.y) {
    const uint64_t at = static_cast<uint64_t>(a.first_row + row) * a.total_cols + a.first_col + column;
    const float value = column < a.cols ? generated_value(a.key, at) : 0.0f;
    const size_t to = static_cast<size_t>(row) * a.ld + column;
    if (a.type == Type::kF32) {
      static_cast<float*>(a.out)[to] = value;
    } else {
      static_cast<uint16_t*>(a.out)[to] = float_to_bf16(value);
    }
  }
}

}  // namespace

Error generate(const GenerateArgs& args, Stream stream) {
  const unsigned blocks = (args.ld + kThreads - 1) / kThreads;
  const unsigned rows = args.rows < kRowsMax ? args.rows : kRowsMax - 1;
  return launch(generate_kernel, {blocks, rows}, kThreads, args, stream);
}

}  // namespace lockstep::cuda
