// Norms of one row and the residual add. Sums run over four vectors of partial sums in a fixed pattern that depends on n alone.
#include "families.h"
#include "isa/isa.h"

namespace lockstep::cpu::LOCKSTEP_ISA {
namespace {

constexpr int kSums = 4;

// Sum of (x - shift)^2, or of x when `squares` is false. Lanes past n count as `shift` or 0, and so add nothing.
template <bool squares>
float sum_of(const float* x, int n, float shift) {
  Float sums[kSums] = {zero(), zero(), zero(), zero()};
  const Float center = set1(shift);
  const auto add = [&](Float v, int s) {
    const Float d = v - center;
    sums[s] = squares ? fma(d, d, sums[s]) : sums[s] + v;
  };
  int i = 0;
  for (; i + kSums * kLanes <= n; i += kSums * kLanes) {
    for (int s = 0; s < kSums; s++) add(load(x + i + s * kLanes), s);
  }
  for (int s = 0; s < kSums; s++, i += kLanes) {  // constant indices: in registers
    if (i < n) add(i + kLanes <= n ? load(x + i) : load_n(x + i, n - i, shift), s);
  }
  return reduce_add((sums[0] + sums[1]) + (sums[2] + sums[3]));
}

float inverse_root(float x) { return 1.0f / __builtin_sqrtf(x); }

}  // namespace

// out = x / sqrt(mean(x^2) + eps) * (weight + offset). Zhang and Sennrich 2019.
void rms_norm(const float* x, const float* weight, float weight_offset, float eps, int n, float* out) {
  const float squares = sum_of<true>(x, n, 0.0f);
  const Float factor = set1(inverse_root(squares / static_cast<float>(n) + eps));
  const Float offset = set1(weight_offset);
  int i = 0;
  for (; i + kLanes <= n; i += kLanes) store(out + i, load(x + i) * factor * (load(weight + i) + offset));
  if (i < n) store_n(out + i, load_n(x + i, n - i, 0.0f) * factor * (load_n(weight + i, n - i, 0.0f) + offset), n - i);
}

// out = (x - mean) / sqrt(variance + eps) * weight + bias; bias may be null. Ba et al. 2016.
void layer_norm(const float* x, const float* weight, const float* bias, float eps, int n, float* out) {
  const float mean = sum_of<false>(x, n, 0.0f) / static_cast<float>(n);
  const float variance = sum_of<true>(x, n, mean) / static_cast<float>(n);
  const Float factor = set1(inverse_root(variance + eps));
  const Float center = set1(mean);
  for (int i = 0; i < n; i += kLanes) {
    const int left = n - i < kLanes ? n - i : kLanes;
    const Float shift = bias == nullptr ? zero() : load_n(bias + i, left, 0.0f);
    store_n(out + i, fma((load_n(x + i, left, 0.0f) - center) * factor, load_n(weight + i, left, 0.0f), shift), left);
  }
}

void add_row(const float* x, int n, float* out) {
  int i = 0;
  for (; i + kLanes <= n; i += kLanes) store(out + i, load(out + i) + load(x + i));
  if (i < n) store_n(out + i, load_n(out + i, n - i, 0.0f) + load_n(x + i, n - i, 0.0f), n - i);
}

}  // namespace lockstep::cpu::LOCKSTEP_ISA
