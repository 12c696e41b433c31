// Activations into what a format multiplies with, one row at a time: a value's code depends on its own row (bf16: on itself;
// int8: on its group of 32) and on nothing else.
#include <cstring>

#include "families.h"
#include "isa/isa.h"

namespace lockstep::cpu::LOCKSTEP_ISA {

namespace {

constexpr float kMostCode = 127 * 128;
constexpr float kFineRatio = 8;
constexpr int kParts = kGroup / kSumGroup;

// The 32 values of group g, zeros behind the k-th of the row; `tail` has room for them.
const float* group_of(const float* x, int k, int g, float* tail) {
  const int left = k - g * kGroup;
  if (left >= kGroup) return x + g * kGroup;
  memset(tail, 0, sizeof(float) * kGroup);
  if (left > 0) memcpy(tail, x + g * kGroup, sizeof(float) * static_cast<size_t>(left));
  return tail;
}

// Lane by lane: the largest magnitude of a group, and its squares, which are added up before they join those of the row.
LOCKSTEP_INLINE Float look_at(const float* group, Float* sum_squares) {
  Float most = zero();
  Float squares = zero();
  for (int i = 0; i < kGroup; i += kLanes) {
    const Float v = load(group + i);
    most = max(abs(v), most);
    squares = fma(v, v, squares);
  }
  *sum_squares = *sum_squares + squares;
  return most;
}

// Codes of a group, and in each lane a part of the sum of each 16 of them: of whole numbers, exact.
template <bool fine>
LOCKSTEP_INLINE void to_codes(const float* group, Float inverse, int8_t* q, Float* totals) {
  if (!fine) memset(q + kGroup, 0, kGroup);
  for (int part = 0; part < kParts; part++) {
    Float total = zero();
    for (int i = part * kSumGroup; i < (part + 1) * kSumGroup; i += kLanes) {
      const Float value = min(set1(127.0f), max(load(group + i) * inverse, set1(-127.0f)));
      const Float high = round_even(value);
      total = fma(high, set1(128.0f), total);
      store_bytes(q + i, to_int(high));
      if (!fine) continue;
      const Float low = round_even((value - high) * set1(128.0f));
      total = total + low;
      store_bytes(q + kGroup + i, to_int(low));
    }
    totals[part] = total;
  }
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
  Float sum_squares = zero();  // groups in order
  for (int first = 0; first < groups; first += kLanes) {
    const int n = groups - first < kLanes ? groups - first : kLanes;
    Float most[kLanes];
    for (int g = 0; g < kLanes; g++) most[g] = g < n ? look_at(group_of(x, k, first + g, tail), &sum_squares) : zero();
    store_n(scale + first, reduce_max_each(most) * set1(1.0f / kMostCode), n);
  }
  const float ordinary = kFineRatio / kMostCode * __builtin_sqrtf(reduce_add(sum_squares) / static_cast<float>(k));
  uint64_t bits = 0;
  constexpr int kTogether = kLanes / kParts;  // groups whose sums are found together
  for (int first = 0; first < groups; first += kTogether) {
    const int n = groups - first < kTogether ? groups - first : kTogether;
    const Float scales = load_n(scale + first, n, 0.0f);
    float inverse[kLanes];
    store(inverse, select(greater(scales, zero()), set1(1.0f) / (set1(128.0f) * scales), zero()));
    Float totals[kLanes];
    for (int g = 0; g < kTogether; g++) {
      Float* to = totals + kParts * g;
      if (g >= n) {
        for (int part = 0; part < kParts; part++) to[part] = zero();
        continue;
      }
      const float* group = group_of(x, k, first + g, tail);
      int8_t* codes = q + 2 * (first + g) * kGroup;
      if (scale[first + g] > ordinary) {
        bits |= uint64_t{1} << ((first + g) % 64);
        to_codes<true>(group, set1(inverse[g]), codes, to);
      } else {
        to_codes<false>(group, set1(inverse[g]), codes, to);
      }
    }
    const Int sums = to_int(reduce_add_each(totals));
    if (n == kTogether) {
      memcpy(sum + kParts * first, &sums, sizeof(sums));
    } else {
      memcpy(sum + kParts * first, &sums, sizeof(int32_t) * static_cast<size_t>(kParts * n));
    }
    if ((first + kTogether) % 64 != 0 && first + kTogether < groups) continue;
    fine[first / 64] = bits;
    bits = 0;
  }
}

}  // namespace lockstep::cpu::LOCKSTEP_ISA
