// A warp's product of 16 rows of the weights and 8 rows of x over a group of 32 columns, as all of our kernels for bf16 make it, so that a
// row of x has the same bits from each of them.
//
// Which k a lane holds is free as long as both sides agree: of a group a lane has eight neighbours (or twice four, where each 16 columns
// have a scale: kIsSplit), which are 16 bytes of x, and of bf16 weights, as they lie in a row. Weights are anything with
//   pair(half, group, i)      word i of the lane's eight values in row lane / 4 + 8 half
//   scale(half, group, which) that row's scale there, where there are scales: of a half of the group where it is split
//
// The order of a sum over k: bricks of 128 columns are in kSlices slices, brick b in slice b % kSlices; a slice's bricks follow each other,
// and in them groups: of bf16 weights each multiply_add adds to the sum, of bricks a group (of split ones half a group) is summed by
// itself, times its scale, then added. Then slices are added, in order, to 0.
#pragma once

#include "cuda/bricks.cuh"

namespace lockstep::cuda {

constexpr int kSlices = 8;
constexpr int kColumns = 8;  // rows of x in one multiply_add

template <Bricks kind>
constexpr bool kIsSplit = kind == Bricks::kInt6K;
template <Bricks kind>
constexpr bool kHasLeast = Brick<kind>::kHasLeast;
template <>
constexpr bool kHasLeast<Bricks::kNone> = false;

// How a product begins. Before what is earlier in the stream is done it may read weights, unless it is told there which.
__device__ inline void begin_product(const GemmArgs& a) {
  let_next_begin();
  if (a.expert_of != nullptr) wait_for_earlier();
}

// Not early where weights are made by what is earlier in the stream: they are read as what no kernel writes that runs beside this one.
inline Error launch_product(void (*kernel)(GemmArgs), Grid grid, int block, const GemmArgs& args, Stream stream, int shared_bytes = 0) {
  return launch_as(!args.w_is_new, kernel, grid, block, args, stream, shared_bytes);
}

// sum += w x over the 16 columns of one multiply_add, which is the first or the second of a group.
template <class Weights>
__device__ void multiply_half(float (&sum)[4], const Weights& w, int group, int which, const Words4& in) {
  const uint32_t words[4] = {w.pair(0, group, 2 * which), w.pair(1, group, 2 * which), w.pair(0, group, 2 * which + 1),
                             w.pair(1, group, 2 * which + 1)};
  multiply_add(sum, words, in.at[2 * which], in.at[2 * which + 1]);
}

__device__ inline void add_scaled(float (&sum)[4], const float (&part)[4], const Scale& low, const Scale& high) {
  for (int i = 0; i < 2; i++) {
    sum[i] += low.scale * part[i];
    sum[2 + i] += high.scale * part[2 + i];
  }
}

// The sums of x over a group, of the lane's two rows of x: values 0 and 1. A product with ones.
__device__ inline void sum_group(float (&total)[4], const Words4& in) {
  const uint32_t ones[4] = {kOnes, kOnes, kOnes, kOnes};
  for (int which = 0; which < 2; which++) multiply_add(total, ones, in.at[2 * which], in.at[2 * which + 1]);
}

// sum += w x over a group. total: see sum_group, where there are minimums.
template <Bricks kind, class Weights>
__device__ void multiply_group(float (&sum)[4], const Weights& w, int group, const Words4& in, const float (&total)[4]) {
  if constexpr (kind == Bricks::kNone) {
    for (int which = 0; which < 2; which++) multiply_half(sum, w, group, which, in);
  } else if constexpr (kIsSplit<kind>) {
    for (int which = 0; which < 2; which++) {
      float part[4] = {};
      multiply_half(part, w, group, which, in);
      add_scaled(sum, part, w.scale(0, group, which), w.scale(1, group, which));
    }
  } else {
    float part[4] = {};
    for (int which = 0; which < 2; which++) multiply_half(part, w, group, which, in);
    const Scale low = w.scale(0, group, 0);
    const Scale high = w.scale(1, group, 0);
    add_scaled(sum, part, low, high);
    if constexpr (kHasLeast<kind>) {
      for (int i = 0; i < 2; i++) {
        sum[i] += low.least * total[i];
        sum[2 + i] += high.least * total[2 + i];
      }
    }
  }
}

}  // namespace lockstep::cuda
