// What native/cuda/mma.cuh has, on the processor: a part of emulate.h, which includes it.
#pragma once

#include <cstdint>

namespace lockstep::test {

void multiply_in_warp(float* d, const uint32_t* a, uint32_t b0, uint32_t b1);
void load_in_warp(uint32_t* words, const void* row, bool transposed);
// A copy is done when it is waited for and not before, so that a kernel that does not wait is found out.
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

}  // namespace lockstep::cuda
