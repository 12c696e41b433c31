// Activations into what a format multiplies with, one row at a time: a value's code depends on its own row (bf16: on itself;
// int8: on its group of 32) and on nothing else.
#include <cstring>

#include "families.h"
#include "isa/isa.h"

namespace lockstep::cpu::LOCKSTEP_ISA {

namespace {

constexpr float kMostCode = 127 * 128;
constexpr float kFineRatio = 8;

// The 32 values of group g, zeros behind the k-th of the row; `tail` has room for them.
const float* group_of(const float* x, int k, int g, float* tail) {
  const int left = k - g * kGroup;
  if (left >= kGroup) return x + g * kGroup;
  memset(tail, 0, sizeof(float) * kGroup);
  if (left > 0) memcpy(tail, x + g * kGroup, sizeof(float) * static_cast<size_t>(left));
  return tail;
}

}  // namespace

void row_to_bf16(const float* x, int k, int k_padded, uint16_t* out) {
  int i = 0;
  for (; i + kLanes <= k; i += kLanes) store_bf16(out + i, load(x + i));
  for (; i < k_padded; i += kLanes) {
    const int n = k - i < 0 ? 0 : k - i < kLanes ? k - i : kLanes;
    store_bf16(out + i, load_n(x + i, n, 0.0f));
  }
}

// code = round(x * 127 / max|x|) in int8, scale = max|x| / 127. Where a group's largest value is more than 8 times the root mean square of
// the row, code = round(x * 16256 / max|x|) / 128 in two int8 halves: such a group is "fine". Few groups are (5 % of those of a 135M
// model), and without it the error of all others beside an outlier is half of the whole: with q4_1 weights that model's log-probabilities
// were off by 0.031 on average and once the likeliest token changed where it led by 0.63; now they are off by 0.017. With all groups fine
// it is 0.004, at twice the products. Codes are stored times 128, as Input says. An infinity makes its group's products NaN; a NaN
// becomes some code.
void row_to_int8_pair(const float* x, int k, int k_padded, int8_t* q, float* scale, int32_t* sum, uint64_t* fine) {
  const int groups = k_padded / kGroup;
  float tail[kGroup];
  Float sum_squares = zero();  // groups in order, lane by lane
  for (int g = 0; g < groups; g++) {
    const float* group = group_of(x, k, g, tail);
    Float most = zero();
    for (int i = 0; i < kGroup; i += kLanes) {
      const Float v = load(group + i);
      most = max(abs(v), most);
      sum_squares = fma(v, v, sum_squares);
    }
    scale[g] = reduce_max(most) * (1.0f / kMostCode);
  }
  const float ordinary = kFineRatio / kMostCode * __builtin_sqrtf(reduce_add(sum_squares) / static_cast<float>(k));
  for (int w = 0; w < fine_words(k_padded); w++) fine[w] = 0;
  for (int g = 0; g < groups; g++) {
    const float* group = group_of(x, k, g, tail);
    const bool is_fine = scale[g] > ordinary;
    fine[g / 64] |= static_cast<uint64_t>(is_fine) << (g % 64);
    const Float inverse = set1(scale[g] > 0.0f ? 1.0f / (128.0f * scale[g]) : 0.0f);
    for (int part = 0; part < kGroup; part += kSumGroup) {
      Float total = zero();  // of whole numbers, exact
      for (int i = part; i < part + kSumGroup; i += kLanes) {
        const Float value = min(set1(127.0f), max(load(group + i) * inverse, set1(-127.0f)));
        const Float high = round_even(value);
        const Float low = is_fine ? round_even((value - high) * set1(128.0f)) : zero();
        total = total + fma(high, set1(128.0f), low);
        store_bytes(q + 2 * g * kGroup + i, to_int(high));
        store_bytes(q + (2 * g + 1) * kGroup + i, to_int(low));
      }
      sum[(g * kGroup + part) / kSumGroup] = static_cast<int32_t>(reduce_add(total));
    }
  }
}

}  // namespace lockstep::cpu::LOCKSTEP_ISA
