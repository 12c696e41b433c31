// Activations into what a format multiplies with, one row at a time: a value's code depends on its own row (bf16: on itself;
// int8: on its group of 32) and on nothing else.
#include <cstring>

#include "families.h"
#include "isa/isa.h"

namespace lockstep::cpu::LOCKSTEP_ISA {

constexpr float kMostCode = 127 * 128;

void row_to_bf16(const float* x, int k, int k_padded, uint16_t* out) {
  int i = 0;
  for (; i + kLanes <= k; i += kLanes) store_bf16(out + i, load(x + i));
  for (; i < k_padded; i += kLanes) {
    const int n = k - i < 0 ? 0 : k - i < kLanes ? k - i : kLanes;
    store_bf16(out + i, load_n(x + i, n, 0.0f));
  }
}

// code = round(x * 16256 / max|x|) = 128 * high + low with both in int8, scale = max|x| / 16256: 15 bits, in two dot products. Codes of
// 8 bits cost half as much and moved the log-probabilities of a 135M model with q4_1 weights by 0.031 on average, and once changed the
// likeliest token where it led by 0.63; those of 15 bits move them less than bf16 does. An infinity makes its group's products NaN; a
// NaN becomes some code.
void row_to_int8_pair(const float* x, int k, int k_padded, int8_t* q, float* scale, int32_t* sum) {
  for (int g = 0; g < k_padded / kGroup; g++) {
    const float* group = x + g * kGroup;
    float tail[kGroup] = {};
    const int left = k - g * kGroup;
    if (left < kGroup) {
      if (left > 0) memcpy(tail, group, sizeof(float) * static_cast<size_t>(left));
      group = tail;
    }
    Float most = zero();
    for (int i = 0; i < kGroup; i += kLanes) most = max(abs(load(group + i)), most);
    const float largest = reduce_max(most);
    scale[g] = largest * (1.0f / kMostCode);
    const Float inverse = set1(largest > 0.0f ? kMostCode / largest : 0.0f);
    for (int part = 0; part < kGroup; part += kSumGroup) {
      Float total = zero();  // of whole numbers, exact
      for (int i = part; i < part + kSumGroup; i += kLanes) {
        const Float code = round_even(min(set1(kMostCode), max(load(group + i) * inverse, set1(-kMostCode))));
        total = total + code;
        const Float high = round_even(code * set1(1.0f / 128.0f));
        store_bytes(q + 2 * g * kGroup + i, to_int(high));
        store_bytes(q + (2 * g + 1) * kGroup + i, to_int(fma(high, set1(-128.0f), code)));
      }
      sum[(g * kGroup + part) / kSumGroup] = static_cast<int32_t>(reduce_add(total));
    }
  }
}

}  // namespace lockstep::cpu::LOCKSTEP_ISA
