// The epilogue of the matrix products: bias, activation, gate, residual add, on the way from a tile to its place in out.
#include "families.h"
#include "isa/isa.h"
#include "isa/math.h"

namespace lockstep::cpu::LOCKSTEP_ISA {
namespace {

Float bias_at(const GemmOut& out, int block, int lane) {
  return out.bias == nullptr ? zero() : load(out.bias + static_cast<size_t>(block) * kBlockRows + lane);
}

// y: [32] of one row; dst: where the block's first value goes; count: values of the block that exist.
void store_row(const float* y, int block, int count, float weight, const GemmOut& out, float* dst) {
  for (int i = 0; i < count; i += kLanes) {
    const int n = count - i < kLanes ? count - i : kLanes;
    Float v = load(y + i) + bias_at(out, block, i);
    if (out.epilogue == Epilogue::kAct) v = activate(out.activation, v);
    if (out.epilogue == Epilogue::kAdd) v = load_n(dst + i, n, 0.0f) + v * set1(weight);
    if (n == kLanes) {
      store(dst + i, v);
    } else {
      store_n(dst + i, v, n);
    }
  }
}

void store_gated_row(const float* y, int block, int count, const GemmOut& out, float* dst) {
  constexpr int kHalf = kBlockRows / 2;
  for (int i = 0; i < count; i += kLanes) {
    const Float gate = load(y + i) + bias_at(out, block, i);
    const Float up = load(y + kHalf + i) + bias_at(out, block, kHalf + i);
    store_n(dst + i, activate(out.activation, gate) * up, count - i < kLanes ? count - i : kLanes);
  }
}

}  // namespace

void store_tile(const float* y, int tile_rows, int row_first, int block, int rows, const GemmOut& out) {
  const bool gated = out.epilogue == Epilogue::kGated;
  const int width = gated ? kBlockRows / 2 : kBlockRows;
  const int left = (gated ? rows / 2 : rows) - block * width;
  const int count = left < width ? left : width;
  for (int r = 0; r < tile_rows; r++) {
    const int m = row_first + r;
    const size_t row = static_cast<size_t>(out.out_rows == nullptr ? m : out.out_rows[m]);
    float* dst = out.out + row * out.ld + static_cast<size_t>(block) * width;
    if (gated) {
      store_gated_row(y + r * kBlockRows, block, count, out, dst);
    } else {
      store_row(y + r * kBlockRows, block, count, out.weight == nullptr ? 1.0f : out.weight[m], out, dst);
    }
  }
}

}  // namespace lockstep::cpu::LOCKSTEP_ISA
