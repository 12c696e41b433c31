// The epilogue of the matrix products: bias, activation, gate, residual add, on the way from a tile to its place in out.
#include <type_traits>

#include "families.h"
#include "isa/isa.h"
#include "isa/math.h"
#include "isa/partial.h"

namespace lockstep::cpu::LOCKSTEP_ISA {
namespace {

constexpr int kVectors = kBlockRows / kLanes;

// Vectors of bias for the block; zeros where there is none.
struct Bias {
  Float at[kVectors];
  Bias(const GemmOut& out, int block) {
    for (int v = 0; v < kVectors; v++) {
      at[v] = out.bias == nullptr ? zero() : load(out.bias + static_cast<size_t>(block) * kBlockRows + v * kLanes);
    }
  }
};

// Values of a vector that exist; all of them where the block is whole.
template <bool whole>
LOCKSTEP_INLINE int lanes_of(int left) {
  return whole || left > kLanes ? kLanes : left;
}

template <class Value>
LOCKSTEP_INLINE Float activate_for(Activation kind, Float x) {
  return std::is_same_v<Value, float> ? activate(kind, x) : activate_coarse(kind, x);
}

// y: [32] of one row; dst: where the block's first value goes; count: values of the block that exist.
template <Epilogue epilogue, bool whole, class Value>
LOCKSTEP_INLINE void store_row(const float* y, const Bias& bias, int count, Activation activation, float weight, Value* dst) {
  if (epilogue == Epilogue::kGated) {
    for (int v = 0; v < kVectors / 2; v++) {
      const Float gate = load(y + v * kLanes) + bias.at[v];
      const Float up = load(y + (kVectors / 2 + v) * kLanes) + bias.at[kVectors / 2 + v];
      const int lanes = lanes_of<whole>(count - v * kLanes);
      if (lanes > 0) store_first(dst + v * kLanes, activate_for<Value>(activation, gate) * up, lanes);
    }
    return;
  }
  for (int v = 0; v < kVectors; v++) {
    const int lanes = lanes_of<whole>(count - v * kLanes);
    if (lanes <= 0) break;
    Float value = load(y + v * kLanes) + bias.at[v];
    if (epilogue == Epilogue::kAct) value = activate_for<Value>(activation, value);
    if constexpr (epilogue == Epilogue::kAdd) value = load_first(dst + v * kLanes, lanes) + value * set1(weight);
    store_first(dst + v * kLanes, value, lanes);
  }
}

template <Epilogue epilogue, bool whole, class Value>
void store_rows(const float* y, int tile_rows, int row_first, int block, int count, const GemmOut& out, Value* to) {
  constexpr int kWidth = epilogue == Epilogue::kGated ? kBlockRows / 2 : kBlockRows;
  const Bias bias(out, block);
  Value* const first = to + static_cast<size_t>(block) * kWidth;
  for (int r = 0; r < tile_rows; r++) {
    const int m = row_first + r;
    const size_t row = static_cast<size_t>(out.out_rows == nullptr ? m : out.out_rows[m]);
    const float weight = epilogue == Epilogue::kAdd && out.weight != nullptr ? out.weight[m] : 1.0f;
    store_row<epilogue, whole>(y + r * kBlockRows, bias, count, out.activation, weight, first + row * out.ld);
  }
}

template <Epilogue epilogue, class Value>
void store_block(const float* y, int tile_rows, int row_first, int block, int rows, const GemmOut& out, Value* to) {
  constexpr bool kGated = epilogue == Epilogue::kGated;
  constexpr int kWidth = kGated ? kBlockRows / 2 : kBlockRows;
  const int left = (kGated ? rows / 2 : rows) - block * kWidth;
  if (left >= kWidth) return store_rows<epilogue, true>(y, tile_rows, row_first, block, kWidth, out, to);
  store_rows<epilogue, false>(y, tile_rows, row_first, block, left, out, to);
}

}  // namespace

void store_tile(const float* y, int tile_rows, int row_first, int block, int rows, const GemmOut& out) {
  switch (out.epilogue) {
    case Epilogue::kStore:
      return store_block<Epilogue::kStore>(y, tile_rows, row_first, block, rows, out, out.out);
    case Epilogue::kAdd:
      return store_block<Epilogue::kAdd>(y, tile_rows, row_first, block, rows, out, out.out);
    case Epilogue::kGated:
      if (out.bf16 != nullptr) return store_block<Epilogue::kGated>(y, tile_rows, row_first, block, rows, out, out.bf16);
      return store_block<Epilogue::kGated>(y, tile_rows, row_first, block, rows, out, out.out);
    case Epilogue::kAct:
      if (out.bf16 != nullptr) return store_block<Epilogue::kAct>(y, tile_rows, row_first, block, rows, out, out.bf16);
      return store_block<Epilogue::kAct>(y, tile_rows, row_first, block, rows, out, out.out);
  }
}

}  // namespace lockstep::cpu::LOCKSTEP_ISA
