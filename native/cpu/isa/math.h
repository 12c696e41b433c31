// exp, tanh, erfc and the activations of one instruction set, written once over its vectors. They are our own so that a value does not
// depend on the C library, nor on its place in a vector: tails are loaded into whole vectors and go the same way.
#pragma once

#include "../kernels.h"
#include "isa.h"

namespace lockstep::cpu::LOCKSTEP_ISA {
namespace {

// exp(x), relative error below 1.2e-7 (2 units in the last place) for -87.3 < x < 88; exp(0) is exactly 1.
// Below -87.3 it is 0, above 88 it stays at exp(88) = 1.65e38. NaN gives NaN.
// x = n ln 2 + r with |r| <= ln 2 / 2; ln 2 in two parts (Cody and Waite 1980), then exp(r) by its Taylor polynomial of degree 7,
// whose error at |r| = 0.347 is 5e-9.
LOCKSTEP_INLINE Float exp(Float x) {
  const Mask tiny = greater(set1(-87.3f), x);
  const Float clamped = max(set1(-87.3f), min(set1(88.0f), x));
  const Float n = round_even(clamped * set1(1.44269504f));
  Float r = fma(n, set1(-0.693359375f), clamped);
  r = fma(n, set1(2.12194440e-4f), r);
  Float p = set1(1.0f / 5040);
  p = fma(p, r, set1(1.0f / 720));
  p = fma(p, r, set1(1.0f / 120));
  p = fma(p, r, set1(1.0f / 24));
  p = fma(p, r, set1(1.0f / 6));
  p = fma(p, r, set1(0.5f));
  p = fma(p * r, r, r);
  return select(tiny, zero(), (p + set1(1.0f)) * pow2(to_int(n)));
}

// 2^x, relative error below 1.2e-7 for -126.5 <= x < 127; below it is 0, exp2(0) is exactly 1. NaN gives NaN.
LOCKSTEP_INLINE Float exp2(Float x) {
  const Float clamped = max(set1(-127.0f), x);
  const Float n = round_even(clamped);
  const Float r = (clamped - n) * set1(0.693147181f);
  Float p = set1(1.0f / 5040);
  p = fma(p, r, set1(1.0f / 720));
  p = fma(p, r, set1(1.0f / 120));
  p = fma(p, r, set1(1.0f / 24));
  p = fma(p, r, set1(1.0f / 6));
  p = fma(p, r, set1(0.5f));
  p = fma(p * r, r, r);
  return select(greater(set1(-126.5f), x), zero(), (p + set1(1.0f)) * pow2(to_int(n)));
}

// 2^x for x <= 127 that is then rounded to 8 bits or so: relative error below 3e-6, exp2_coarse(0) is exactly 1. Below -126.5 it is 0 or
// subnormal, which rounding to bf16 makes 0. A minimax polynomial of degree 4 on [-1/2, 1/2] with the constant held at 1.
LOCKSTEP_INLINE Float exp2_coarse(Float x) {
  const Float clamped = max(set1(-127.0f), x);
  const Float n = round_even(clamped);
  const Float r = clamped - n;
  Float p = set1(9.58286e-3f);
  p = fma(p, r, set1(5.590643e-2f));
  p = fma(p, r, set1(0.24024099f));
  p = fma(p, r, set1(0.6931242f));
  return times_pow2(fma(p, r, set1(1.0f)), n);
}

// tanh(x), relative error below 3e-7. Small |x|: x + x^3 P(x^2), coefficients of Cephes (S. Moshier, tanhf); else 1 - 2 / (exp(2|x|) + 1).
LOCKSTEP_INLINE Float tanh(Float x) {
  const Float a = abs(x);
  const Float z = x * x;
  Float p = set1(-5.70498872745e-3f);
  p = fma(p, z, set1(2.06390887954e-2f));
  p = fma(p, z, set1(-5.37397155531e-2f));
  p = fma(p, z, set1(1.33314422036e-1f));
  p = fma(p, z, set1(-3.33332819422e-1f));
  const Float small = fma(p * z, x, x);
  const Float large = set1(1.0f) - set1(2.0f) / (exp(a + a) + set1(1.0f));
  const Float signed_large = select(greater(zero(), x), zero() - large, large);
  return select(greater(a, set1(0.625f)), signed_large, small);
}

// erfc(x) by the rational Chebyshev fit of Numerical Recipes ("erfcc", fractional error 1.2e-7).
LOCKSTEP_INLINE Float erfc(Float x) {
  const Float z = abs(x);
  const Float t = set1(1.0f) / fma(set1(0.5f), z, set1(1.0f));
  Float p = set1(0.17087277f);
  p = fma(p, t, set1(-0.82215223f));
  p = fma(p, t, set1(1.48851587f));
  p = fma(p, t, set1(-1.13520398f));
  p = fma(p, t, set1(0.27886807f));
  p = fma(p, t, set1(-0.18628806f));
  p = fma(p, t, set1(0.09678418f));
  p = fma(p, t, set1(0.37409196f));
  p = fma(p, t, set1(1.00002368f));
  p = fma(p, t, set1(-1.26551223f));
  const Float positive = t * exp(p - z * z);
  return select(greater(zero(), x), set1(2.0f) - positive, positive);
}

LOCKSTEP_INLINE Float sigmoid(Float x) { return set1(1.0f) / (set1(1.0f) + exp(zero() - x)); }

// 2u of GELU's fit 0.5 x (1 + tanh(u)) = x sigmoid(2u), which has no cancellation at negative x.
LOCKSTEP_INLINE Float gelu_logit(Float x) { return set1(1.59576912f) * fma(set1(0.044715f) * x * x, x, x); }

LOCKSTEP_INLINE Float activate(Activation kind, Float x) {
  switch (kind) {
    case Activation::kSilu:
      return x * sigmoid(x);
    case Activation::kGeluTanh:
      return x * sigmoid(gelu_logit(x));
    case Activation::kGelu:
      return set1(0.5f) * x * erfc(x * set1(-0.707106781f));
    case Activation::kRelu:
      return max(x, zero());
  }
  return x;
}

// x sigmoid(logit) that is then rounded to bf16: relative error below 1e-5.
LOCKSTEP_INLINE Float gate_coarse(Float x, Float logit) {
  return x / (set1(1.0f) + exp2_coarse(min(set1(126.0f), logit * set1(-1.44269504f))));
}

// activate(kind, x) that is then rounded to bf16. Of a step of many tokens that saves 1 %.
LOCKSTEP_INLINE Float activate_coarse(Activation kind, Float x) {
  if (kind == Activation::kSilu) return gate_coarse(x, x);
  if (kind == Activation::kGeluTanh) return gate_coarse(x, gelu_logit(x));
  return activate(kind, x);
}

}  // namespace
}  // namespace lockstep::cpu::LOCKSTEP_ISA
