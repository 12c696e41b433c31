// Activations into what a format multiplies with, one row at a time: a value's code depends on its own row (bf16: on itself;
// int8: on its group of 32 and the row's mean square) and on nothing else.
#include <cstring>

#include "families.h"
#include "isa/isa.h"

namespace lockstep::cpu::LOCKSTEP_ISA {

namespace {

constexpr float kMostCode = 127;
constexpr float kMostOutlier = 127 * 128;
constexpr float kOutlierRatio = 7;
constexpr int kHalves = kGroup / kHalfGroup;
constexpr int kQuad = 4;

LOCKSTEP_INLINE float inverse_of(float scale) { return scale > 0 ? 1.0f / scale : 0.0f; }

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

// scale[groups] = max|x| / 127; returns the sum of the squares, groups in order.
LOCKSTEP_INLINE float find_scales(const float* x, int k, int groups, float* scale) {
  float tail[kGroup];
  const Float unit = set1(1.0f / kMostCode);
  Float sum_squares = zero();
  int g = 0;
  for (; (g + kLanes) * kGroup <= k; g += kLanes) {
    Float most[kLanes];
#pragma GCC unroll 16
    for (int i = 0; i < kLanes; i++) most[i] = look_at(x + (g + i) * kGroup, &sum_squares);
    store(scale + g, reduce_max_each(most) * unit);
  }
  for (; g < groups; g++) scale[g] = reduce_max(look_at(group_of(x, k, g, tail), &sum_squares)) * (1.0f / kMostCode);
  return reduce_add(sum_squares);
}

// Codes of a group, and in each lane a part of the sum of each half: of whole numbers, exact.
LOCKSTEP_INLINE void to_codes(const float* group, Float inverse, int8_t* codes, Float* totals) {
  for (int half = 0; half < kHalves; half++) {
    Float total = zero();
    for (int i = half * kHalfGroup; i < (half + 1) * kHalfGroup; i += kLanes) {
      const Float value = round_even(min(set1(kMostCode), max(load(group + i) * inverse, set1(-kMostCode))));
      total = total + value;
      store_bytes(codes + i, to_int(value));
    }
    totals[half] = total;
  }
}

// Codes and sums of all groups by their scales.
LOCKSTEP_INLINE void find_codes(const float* x, int k, int groups, const Int8Row& out) {
  float tail[kGroup];
  constexpr int kTogether = kLanes / kHalves;  // groups whose sums are found together
  int g = 0;
  for (; (g + kTogether) * kGroup <= k; g += kTogether) {
    float inverse[kTogether];
    int32_t sums[kLanes];
    Float totals[kLanes];
    for (int i = 0; i < kTogether; i++) inverse[i] = inverse_of(out.scale[g + i]);
#pragma GCC unroll 8
    for (int i = 0; i < kTogether; i++) {
      to_codes(x + (g + i) * kGroup, set1(inverse[i]), out.codes + (g + i) * kGroup, totals + kHalves * i);
    }
    const Int all = to_int(reduce_add_each(totals));
    memcpy(sums, &all, sizeof(sums));
    for (int i = 0; i < kTogether; i++) {
      out.first_sum[g + i] = -sums[kHalves * i];
      out.sum[g + i] = -sums[kHalves * i] - sums[kHalves * i + 1];
    }
  }
  for (; g < groups; g++) {
    Float totals[kHalves];
    to_codes(group_of(x, k, g, tail), set1(inverse_of(out.scale[g])), out.codes + g * kGroup, totals);
    out.first_sum[g] = -static_cast<int32_t>(reduce_add(totals[0]));
    out.sum[g] = -static_cast<int32_t>(reduce_add(totals[1])) + out.first_sum[g];
  }
}

// Which four neighbours of a group have its outlier, and the scale that the others can do with.
LOCKSTEP_INLINE int find_outlier(const float* group, float* scale) {
  float most = -1;  // of four
  float rest = 0;   // of all others
  int vector = 0;
  for (int i = 0; i < kGroup / kQuad; i++) {
    float here = 0;
    for (int j = 0; j < kQuad; j++) {
      const float value = __builtin_fabsf(group[i * kQuad + j]);
      here = value > here ? value : here;
    }
    const float less = here < most ? here : most;
    rest = less > rest ? less : rest;
    vector = here > most ? i : vector;
    most = here > most ? here : most;
  }
  const float least = most * (kMostCode / kMostOutlier);
  *scale = (rest > least ? rest : least) * (1.0f / kMostCode);
  return vector;
}

// Codes of 15 bits in place of the four of 8. Returns by how much their sum grows.
LOCKSTEP_INLINE int widen(const float* four, float scale, int8_t* codes, Outlier* outlier) {
  const float inverse = 1.0f / scale;
  int more = 0;
  for (int j = 0; j < kQuad; j++) {
    const float value = four[j] * inverse;
    const float high_end = value < kMostOutlier ? value : kMostOutlier;  // a NaN too
    const float within = high_end > -kMostOutlier ? high_end : -kMostOutlier;
    const int code = static_cast<int>(__builtin_rintf(within));
    const int high = (code + 64) >> 7;
    more += code - codes[j];
    outlier->high[j] = static_cast<int8_t>(high);
    codes[j] = static_cast<int8_t>(code - 128 * high);
  }
  return more;
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

// code = round(x / scale) in int8, scale = max|x| / 127 of the group. Where a group's largest value is more than 7 times the root mean
// square of the row, the four neighbours with that value have 15 bits, and the scale is that of the 28 others. Few groups have such an
// outlier (6 % of those of a 135M model), and without it the error of all others beside an outlier is half of the whole: with q4_1 weights
// that model's log-probabilities were off by 0.031 on average and once the likeliest token changed where it led by 0.63; now they are off
// by 0.019. With 15 bits for every value it is 0.004, at twice the products. A row that has no outlier in a group gets the same bits beside
// one that has: sums of codes are whole numbers. An infinity makes its group's products NaN; a NaN becomes some code.
void row_to_int8(const float* x, int k, int k_padded, uint8_t* row) {
  const Int8Row out(row, Int8Layout(k_padded));
  const int groups = k_padded / kGroup;
  float tail[kGroup];
  const float squares = find_scales(x, k, groups, out.scale);
  const float ordinary = kOutlierRatio / kMostCode * __builtin_sqrtf(squares / static_cast<float>(k));
  memset(out.has_outlier, 0, static_cast<size_t>(groups + 63) / 64 * sizeof(uint64_t));
  memset(out.outlier, 0, static_cast<size_t>(groups) * sizeof(Outlier));
  for (int g = 0; g < groups; g++) {
    if (!(out.scale[g] > ordinary)) continue;
    out.has_outlier[g / 64] |= uint64_t{1} << (g % 64);
    out.outlier[g].vector = find_outlier(group_of(x, k, g, tail), &out.scale[g]);
  }
  find_codes(x, k, groups, out);
  for (int word = 0; word * 64 < groups; word++) {
    for (uint64_t left = out.has_outlier[word]; left != 0; left &= left - 1) {
      const int g = word * 64 + __builtin_ctzll(left);
      const int at = out.outlier[g].vector * kQuad;
      const int more = widen(group_of(x, k, g, tail) + at, out.scale[g], out.codes + g * kGroup + at, &out.outlier[g]);
      out.sum[g] -= more;
      if (at < kHalfGroup) out.first_sum[g] -= more;
    }
  }
}

}  // namespace lockstep::cpu::LOCKSTEP_ISA
