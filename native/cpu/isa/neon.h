// Armv8.2 with the dot product (Neoverse N1, Cortex-A76, Apple M1 and later); with LOCKSTEP_ISA_NEON_BF16 also that of bf16 (Armv8.6:
// Neoverse V1 and N2, Apple M2 and later). The names are those of scalar.h. int8 weights are stored as they are: sdot takes both operands
// signed, and nibbles are positive in either reading. So of I8MM usdot has nothing to add; smmla, two rows by two, wants eight values of K
// side by side where the packed blocks have four, and interleaving them in registers takes back most of what it saves.
#pragma once

#include <arm_neon.h>

#include <cstdint>
#include <cstring>

namespace lockstep::cpu::LOCKSTEP_ISA {
namespace {

#if defined(LOCKSTEP_ISA_NEON_BF16)
constexpr const char* kIsaName = "neon_bf16";
#else
constexpr const char* kIsaName = "neon";
#endif
constexpr int kLanes = 4;
constexpr int kTileVectors = 4;
constexpr int kTileRows = 6;  // 24 sums, 4 vectors of weights and one of activations fill 29 of 32 registers
constexpr int kIntTileRows = 3;
constexpr int kQueryRows = 6;
constexpr int kQueryVectors = 4;
constexpr int kByteZero = 0;

#define LOCKSTEP_TILES(f) {f<1>, f<2>, f<3>, f<4>, f<5>, f<6>}
#define LOCKSTEP_INT_TILES(f) {f<1>, f<2>, f<3>}
#define LOCKSTEP_INLINE static inline __attribute__((always_inline))

using Float = float32x4_t;
using Int = int32x4_t;
using Pairs = uint32x4_t;
using Bytes = int8x16_t;
using Mask = uint32x4_t;

template <class To, class From>
LOCKSTEP_INLINE To bit_cast(From from) {
  static_assert(sizeof(To) == sizeof(From), "same size");
  To to;
  memcpy(&to, &from, sizeof(to));
  return to;
}

// --- loads and stores ---
LOCKSTEP_INLINE Float set1(float x) { return vdupq_n_f32(x); }
LOCKSTEP_INLINE Float zero() { return vdupq_n_f32(0.0f); }
LOCKSTEP_INLINE Float load(const float* p) { return vld1q_f32(p); }
LOCKSTEP_INLINE void store(float* p, Float v) { vst1q_f32(p, v); }
LOCKSTEP_INLINE Float load_n(const float* p, int n, float fill) {
  float lanes[kLanes] = {fill, fill, fill, fill};
  for (int i = 0; i < n; i++) lanes[i] = p[i];
  return load(lanes);
}
LOCKSTEP_INLINE void store_n(float* p, Float v, int n) {
  float lanes[kLanes];
  store(lanes, v);
  for (int i = 0; i < n; i++) p[i] = lanes[i];
}

// --- arithmetic; max and min by comparison, since fmax gives NaN when either is one ---
LOCKSTEP_INLINE Float fma(Float a, Float b, Float c) { return vfmaq_f32(c, a, b); }
LOCKSTEP_INLINE Mask greater(Float a, Float b) { return vcgtq_f32(a, b); }
LOCKSTEP_INLINE Float select(Mask m, Float a, Float b) { return vbslq_f32(m, a, b); }
LOCKSTEP_INLINE Float max(Float a, Float b) { return select(greater(a, b), a, b); }
LOCKSTEP_INLINE Float min(Float a, Float b) { return select(greater(b, a), a, b); }
LOCKSTEP_INLINE Float abs(Float a) { return vabsq_f32(a); }
LOCKSTEP_INLINE float reduce_add(Float v) {
  const float32x2_t pairs = vadd_f32(vget_low_f32(v), vget_high_f32(v));
  return vget_lane_f32(pairs, 0) + vget_lane_f32(pairs, 1);
}
LOCKSTEP_INLINE float reduce_max(Float v) { return vmaxvq_f32(v); }
// Lane i is the largest, or the sum, of the lanes of v[i].
LOCKSTEP_INLINE Float reduce_max_each(const Float* v) { return vpmaxq_f32(vpmaxq_f32(v[0], v[1]), vpmaxq_f32(v[2], v[3])); }
LOCKSTEP_INLINE Float reduce_add_each(const Float* v) { return vpaddq_f32(vpaddq_f32(v[0], v[1]), vpaddq_f32(v[2], v[3])); }
LOCKSTEP_INLINE Float round_even(Float x) { return vrndnq_f32(x); }
LOCKSTEP_INLINE Int to_int(Float x) { return vcvtq_s32_f32(x); }
LOCKSTEP_INLINE Float to_float(Int x) { return vcvtq_f32_s32(x); }
LOCKSTEP_INLINE Int set1_int(int32_t x) { return vdupq_n_s32(x); }
LOCKSTEP_INLINE Float pow2(Int n) { return vreinterpretq_f32_s32(vshlq_n_s32(vaddq_s32(n, vdupq_n_s32(127)), 23)); }
LOCKSTEP_INLINE Float times_pow2(Float x, Float n) { return x * pow2(to_int(n)); }

// Halves of the products of unsigned lanes.
LOCKSTEP_INLINE void wide_product(Int a, Int b, Int* low, Int* high) {
  const uint32x4_t x = vreinterpretq_u32_s32(a), y = vreinterpretq_u32_s32(b);
  const uint32x4_t lower = vreinterpretq_u32_u64(vmull_u32(vget_low_u32(x), vget_low_u32(y)));
  const uint32x4_t upper = vreinterpretq_u32_u64(vmull_high_u32(x, y));
  *low = vreinterpretq_s32_u32(vuzp1q_u32(lower, upper));
  *high = vreinterpretq_s32_u32(vuzp2q_u32(lower, upper));
}

// --- half floats ---
LOCKSTEP_INLINE float half_to_float(uint16_t h) { return vgetq_lane_f32(vcvt_f32_f16(vreinterpret_f16_u16(vdup_n_u16(h))), 0); }
LOCKSTEP_INLINE Float load_half(const uint8_t* p) { return vcvt_f32_f16(vreinterpret_f16_u8(vld1_u8(p))); }

// --- bf16 ---
LOCKSTEP_INLINE uint16_t to_bf16(float x) {
  const uint32_t bits = bit_cast<uint32_t>(x);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return static_cast<uint16_t>((bits >> 16) | 0x40);
  return static_cast<uint16_t>((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}
LOCKSTEP_INLINE float from_bf16(uint16_t x) { return bit_cast<float>(static_cast<uint32_t>(x) << 16); }
LOCKSTEP_INLINE Float load_bf16(const uint16_t* p) { return vreinterpretq_f32_u32(vshll_n_u16(vld1_u16(p), 16)); }
LOCKSTEP_INLINE Pairs load_pairs(const void* p) { return vreinterpretq_u32_u8(vld1q_u8(static_cast<const uint8_t*>(p))); }
LOCKSTEP_INLINE Pairs in_register(Pairs x) { return x; }
LOCKSTEP_INLINE Pairs load_pairs_n(const void* p, int n) {
  uint32_t lanes[kLanes] = {};
  memcpy(lanes, p, 4 * static_cast<size_t>(n));
  return vld1q_u32(lanes);
}
LOCKSTEP_INLINE Pairs set1_pairs(const void* p) {
  uint32_t x;
  memcpy(&x, p, 4);
  // GCC 12 writes a vector of the bf16 constant 1 as an fmov of half floats, which is another number.
  if (__builtin_constant_p(x)) asm("" : "+r"(x));
  return vdupq_n_u32(x);
}
#if defined(LOCKSTEP_ISA_NEON_BF16)
LOCKSTEP_INLINE void store_bf16(uint16_t* p, Float v) {
  const bfloat16x4_t half = vcvt_bf16_f32(v);
  memcpy(p, &half, sizeof(half));
}
// bfdot for every m: bfmmla adds four products to a sum and so rounds otherwise. The two products are added first, then to acc; both
// additions round to odd, and subnormals count as 0. (With FEAT_EBF16 a process may set FPCR.EBF, and bfdot then rounds once, to nearest;
// nothing here sets it, and Linux and macOS start with 0.)
LOCKSTEP_INLINE Float dot_bf16(Float acc, Pairs a, Pairs b) {
  return vbfdotq_f32(acc, bit_cast<bfloat16x8_t>(a), bit_cast<bfloat16x8_t>(b));
}
#else
LOCKSTEP_INLINE void store_bf16(uint16_t* p, Float v) {
  const uint32x4_t bits = vreinterpretq_u32_f32(v);
  const uint32x4_t nearest = vaddq_u32(vandq_u32(vshrq_n_u32(bits, 16), vdupq_n_u32(1)), vdupq_n_u32(0x7fff));
  const uint16x4_t quiet = vorr_u16(vshrn_n_u32(bits, 16), vdup_n_u16(0x40));
  vst1_u16(p, vbsl_u16(vmovn_u32(vceqq_f32(v, v)), vaddhn_u32(bits, nearest), quiet));
}
LOCKSTEP_INLINE Float dot_bf16(Float acc, Pairs a, Pairs b) {
  const uint32x4_t high = vdupq_n_u32(0xffff0000u);
  acc = fma(vreinterpretq_f32_u32(vshlq_n_u32(a, 16)), vreinterpretq_f32_u32(vshlq_n_u32(b, 16)), acc);
  return fma(vreinterpretq_f32_u32(vandq_u32(a, high)), vreinterpretq_f32_u32(vandq_u32(b, high)), acc);
}
#endif

LOCKSTEP_INLINE void store_bf16_two(uint16_t* p, Float a, Float b) {
  store_bf16(p, a);
  store_bf16(p + kLanes, b);
}

// --- int8 and int4 ---
LOCKSTEP_INLINE Bytes load_bytes(const void* p) { return vld1q_s8(static_cast<const int8_t*>(p)); }
LOCKSTEP_INLINE void store_bytes(int8_t* p, Int v) {
  const int16x4_t words = vmovn_s32(v);
  const int8x8_t bytes = vmovn_s16(vcombine_s16(words, words));
  memcpy(p, &bytes, kLanes);
}
template <int n>
LOCKSTEP_INLINE Int shift_add(Int a, Int b) {  // a * 2^n + b
  return vaddq_s32(vshlq_n_s32(a, n), b);
}
LOCKSTEP_INLINE Bytes set1_bytes(const void* p) { return vreinterpretq_s8_u32(set1_pairs(p)); }
LOCKSTEP_INLINE Int dot_u8s8(Int acc, Bytes w, Bytes a) { return vdotq_s32(acc, w, a); }
LOCKSTEP_INLINE Int dot_u4s8(Int acc, Bytes w, Bytes a) { return vdotq_s32(acc, w, a); }
LOCKSTEP_INLINE Bytes low_nibbles(Bytes w) { return vandq_s8(w, vdupq_n_s8(15)); }
LOCKSTEP_INLINE Bytes high_nibbles(Bytes w) { return vreinterpretq_s8_u8(vshrq_n_u8(vreinterpretq_u8_s8(w), 4)); }
// nibbles | the bits of plane from bit `at` of each byte on, moved to bit 4, as far as mask has them
LOCKSTEP_INLINE Bytes with_bits(Bytes nibbles, Bytes plane, int at, int mask) {
  const uint8x16_t moved = vshlq_u8(vreinterpretq_u8_s8(plane), vdupq_n_s8(static_cast<int8_t>(4 - at)));
  return vorrq_s8(nibbles, vandq_s8(vreinterpretq_s8_u8(moved), vdupq_n_s8(static_cast<int8_t>(mask))));
}
LOCKSTEP_INLINE Bytes lookup(const uint8_t* table, Bytes nibbles) {
  return vreinterpretq_s8_u8(vqtbl1q_u8(vld1q_u8(table), vreinterpretq_u8_s8(nibbles)));
}
LOCKSTEP_INLINE uint8x8_t load_lane_bytes(const uint8_t* p) {
  uint32_t bytes;
  memcpy(&bytes, p, kLanes);
  return vcreate_u8(bytes);
}
LOCKSTEP_INLINE Float load_u8(const uint8_t* p) { return vcvtq_f32_u32(vmovl_u16(vget_low_u16(vmovl_u8(load_lane_bytes(p))))); }
LOCKSTEP_INLINE Float load_s8(const uint8_t* p) {
  return vcvtq_f32_s32(vmovl_s16(vget_low_s16(vmovl_s8(vreinterpret_s8_u8(load_lane_bytes(p))))));
}

// --- sum of values 0 … 1 in units of 2^-44, each rounded on its own; a NaN counts as 0 ---
struct FixedSum {
  uint64x2_t sum = vdupq_n_u64(0);
  // The conversion gives 0 for a NaN and for what is below 0.
  static inline __attribute__((always_inline)) uint64x2_t fixed(float64x2_t e) { return vcvtnq_u64_f64(vmulq_n_f64(e, 17592186044416.0)); }
  inline __attribute__((always_inline)) void add(Float e) {
    sum = vaddq_u64(sum, fixed(vcvt_f64_f32(vget_low_f32(e))));
    sum = vaddq_u64(sum, fixed(vcvt_high_f64_f32(e)));
  }
  uint64_t total() const { return vaddvq_u64(sum); }
};

}  // namespace
}  // namespace lockstep::cpu::LOCKSTEP_ISA
