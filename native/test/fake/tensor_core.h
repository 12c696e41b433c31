// What native/cuda/mma.cuh has, on the processor: a part of emulate.h, which includes it.
#pragma once

#include <cstdint>

#include "common/quant/float_formats.h"

namespace lockstep::test {

void multiply_in_warp(float* d, const uint32_t* a, uint32_t b0, uint32_t b1);
void load_in_warp(uint32_t* words, const void* row, bool transposed);
// A copy reads when it is begun, and is done when it is waited for and not before, so that a kernel that begins it too early, or does not
// wait, is found out.
void put_copy(void* to, const void* from, bool present);
void end_copy_group();
void finish_copies(int pending);
// Those of a block that has ended without waiting.
void forget_copies();

}  // namespace lockstep::test

namespace lockstep::cuda {

inline void multiply_add(float (&d)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) { test::multiply_in_warp(d, a, b0, b1); }
inline void load_matrices(uint32_t (&words)[4], const void* row) { test::load_in_warp(words, row, false); }
inline void load_matrices_transposed(uint32_t (&words)[4], const void* row) { test::load_in_warp(words, row, true); }
inline void begin_copy(void* shared, const void* global, bool present) { test::put_copy(shared, global, present); }
inline void end_copies() { test::end_copy_group(); }
template <int pending>
void wait_for_copies() {
  test::finish_copies(pending);
}

// What native/cuda/bricks.cuh has beside it.
inline float half_to_float(uint16_t bits) { return quant::half_to_float(bits); }
inline uint32_t multiply_add_halves(uint32_t a, uint32_t b, uint32_t c) {
  uint32_t words = 0;
  for (int half = 0; half < 2; half++) {
    const auto value = [half](uint32_t word) {
      return static_cast<double>(quant::bf16_to_float(static_cast<uint16_t>(word >> 16 * half)));
    };
    // Of bf16 the product is exact, and of what kernels give it the sum too.
    const float sum = static_cast<float>(value(a) * value(b) + value(c));
    words |= static_cast<uint32_t>(quant::float_to_bf16(sum)) << 16 * half;
  }
  return words;
}

}  // namespace lockstep::cuda
