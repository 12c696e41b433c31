// AVX2 with FMA and F16C (Haswell, Zen 1 and later); with LOCKSTEP_ISA_AVXVNNI also its dot product of bytes (Alder Lake and later
// desktops, which have no AVX-512). The names are those of scalar.h.
#pragma once

#include <immintrin.h>

#include <cstdint>
#include <cstring>

namespace lockstep::cpu::LOCKSTEP_ISA {
namespace {

#if defined(LOCKSTEP_ISA_AVXVNNI)
constexpr const char* kIsaName = "avxvnni";
constexpr int kByteZero = 128;
#else
constexpr const char* kIsaName = "avx2";
constexpr int kByteZero = 0;
#endif
constexpr int kLanes = 8;
constexpr int kTileVectors = 2;
constexpr int kTileRows = 4;  // 8 sums and the halves of weights and activations fill 16 registers; 5 rows were slower
constexpr int kIntTileRows = 4;
constexpr int kQueryRows = 4;
constexpr int kQueryVectors = 2;

#define LOCKSTEP_TILES(f) {f<1>, f<2>, f<3>, f<4>}
#define LOCKSTEP_INT_TILES(f) {f<1>, f<2>, f<3>, f<4>}
#define LOCKSTEP_INLINE static inline __attribute__((always_inline))

using Float = __m256;
using Int = __m256i;
using Pairs = __m256i;
using Bytes = __m256i;
using Mask = __m256;

template <class To, class From>
LOCKSTEP_INLINE To bit_cast(From from) {
  static_assert(sizeof(To) == sizeof(From), "same size");
  To to;
  memcpy(&to, &from, sizeof(to));
  return to;
}

// --- loads and stores ---
LOCKSTEP_INLINE __m256i first_lanes(int n) { return _mm256_cmpgt_epi32(_mm256_set1_epi32(n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7)); }
LOCKSTEP_INLINE Float set1(float x) { return _mm256_set1_ps(x); }
LOCKSTEP_INLINE Float zero() { return _mm256_setzero_ps(); }
LOCKSTEP_INLINE Float load(const float* p) { return _mm256_loadu_ps(p); }
LOCKSTEP_INLINE void store(float* p, Float v) { _mm256_storeu_ps(p, v); }
LOCKSTEP_INLINE Float load_n(const float* p, int n, float fill) {
  const __m256i lanes = first_lanes(n);
  return _mm256_blendv_ps(set1(fill), _mm256_maskload_ps(p, lanes), _mm256_castsi256_ps(lanes));
}
LOCKSTEP_INLINE void store_n(float* p, Float v, int n) { _mm256_maskstore_ps(p, first_lanes(n), v); }

// --- arithmetic ---
LOCKSTEP_INLINE Float fma(Float a, Float b, Float c) { return _mm256_fmadd_ps(a, b, c); }
LOCKSTEP_INLINE Mask greater(Float a, Float b) { return _mm256_cmp_ps(a, b, _CMP_GT_OQ); }
LOCKSTEP_INLINE Float select(Mask m, Float a, Float b) { return _mm256_blendv_ps(b, a, m); }
LOCKSTEP_INLINE Float max(Float a, Float b) { return _mm256_max_ps(a, b); }
LOCKSTEP_INLINE Float min(Float a, Float b) { return _mm256_min_ps(a, b); }
LOCKSTEP_INLINE Float abs(Float a) { return _mm256_andnot_ps(set1(-0.0f), a); }
LOCKSTEP_INLINE float reduce_add(Float v) {
  __m128 b = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
  b = _mm_add_ps(b, _mm_movehl_ps(b, b));
  return _mm_cvtss_f32(_mm_add_ss(b, _mm_movehdup_ps(b)));
}
LOCKSTEP_INLINE float reduce_max(Float v) {
  __m128 b = _mm_max_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
  b = _mm_max_ps(b, _mm_movehl_ps(b, b));
  return _mm_cvtss_f32(_mm_max_ss(b, _mm_movehdup_ps(b)));
}
// Lane i is the largest, or the sum, of the lanes of v[i]: pairs of vectors are interleaved and joined, 3 operations a vector.
#define LOCKSTEP_REDUCE_EACH(join, v)                                                                   \
  Float half[4];                                                                                        \
  for (int i = 0; i < 4; i++) {                                                                         \
    const Float a = v[4 * (i % 2) + i / 2], b = v[4 * (i % 2) + i / 2 + 2];                             \
    half[i] = join(_mm256_unpacklo_ps(a, b), _mm256_unpackhi_ps(a, b));                                 \
  }                                                                                                     \
  for (int i = 0; i < 2; i++) {                                                                         \
    half[i] = join(_mm256_unpacklo_ps(half[i], half[i + 2]), _mm256_unpackhi_ps(half[i], half[i + 2])); \
  }                                                                                                     \
  return join(_mm256_permute2f128_ps(half[0], half[1], 0x20), _mm256_permute2f128_ps(half[0], half[1], 0x31))
LOCKSTEP_INLINE Float reduce_max_each(const Float* v) { LOCKSTEP_REDUCE_EACH(_mm256_max_ps, v); }
LOCKSTEP_INLINE Float reduce_add_each(const Float* v) { LOCKSTEP_REDUCE_EACH(_mm256_add_ps, v); }
LOCKSTEP_INLINE Float round_even(Float x) { return _mm256_round_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
LOCKSTEP_INLINE Int to_int(Float x) { return _mm256_cvtps_epi32(x); }
LOCKSTEP_INLINE Float to_float(Int x) { return _mm256_cvtepi32_ps(x); }
LOCKSTEP_INLINE Int set1_int(int32_t x) { return _mm256_set1_epi32(x); }
LOCKSTEP_INLINE Float pow2(Int n) { return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(n, _mm256_set1_epi32(127)), 23)); }
LOCKSTEP_INLINE Float times_pow2(Float x, Float n) { return x * pow2(to_int(n)); }

// Halves of the products of unsigned lanes.
LOCKSTEP_INLINE void wide_product(Int a, Int b, Int* low, Int* high) {
  const __m256i even = _mm256_mul_epu32(a, b);
  const __m256i odd = _mm256_mul_epu32(_mm256_srli_epi64(a, 32), _mm256_srli_epi64(b, 32));
  *low = _mm256_blend_epi32(even, _mm256_slli_epi64(odd, 32), 0xaa);
  *high = _mm256_blend_epi32(_mm256_srli_epi64(even, 32), odd, 0xaa);
}

// --- half floats ---
LOCKSTEP_INLINE float half_to_float(uint16_t h) { return _cvtsh_ss(h); }
LOCKSTEP_INLINE Float load_half(const uint8_t* p) { return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))); }

// --- bf16 ---
LOCKSTEP_INLINE uint16_t to_bf16(float x) {
  const uint32_t bits = bit_cast<uint32_t>(x);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return static_cast<uint16_t>((bits >> 16) | 0x40);
  return static_cast<uint16_t>((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}
LOCKSTEP_INLINE float from_bf16(uint16_t x) { return bit_cast<float>(static_cast<uint32_t>(x) << 16); }
LOCKSTEP_INLINE Float load_bf16(const uint16_t* p) {
  const __m128i half = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(half), 16));
}
LOCKSTEP_INLINE void store_bf16(uint16_t* p, Float v) {
  const __m256i bits = _mm256_castps_si256(v);
  const __m256i odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
  const __m256i rounded = _mm256_srli_epi32(_mm256_add_epi32(_mm256_add_epi32(bits, _mm256_set1_epi32(0x7fff)), odd), 16);
  const __m256i quiet = _mm256_or_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(0x40));
  const __m256i nan = _mm256_castps_si256(_mm256_cmp_ps(v, v, _CMP_UNORD_Q));
  const __m256i words = _mm256_blendv_epi8(rounded, quiet, nan);
  const __m256i packed = _mm256_permute4x64_epi64(_mm256_packus_epi32(words, words), 0x08);
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm256_castsi256_si128(packed));
}
LOCKSTEP_INLINE void store_bf16_two(uint16_t* p, Float a, Float b) {
  store_bf16(p, a);
  store_bf16(p + kLanes, b);
}
LOCKSTEP_INLINE Pairs load_pairs(const void* p) { return _mm256_loadu_si256(static_cast<const __m256i*>(p)); }
LOCKSTEP_INLINE Pairs in_register(Pairs x) { return x; }
LOCKSTEP_INLINE Pairs load_pairs_n(const void* p, int n) { return _mm256_maskload_epi32(static_cast<const int*>(p), first_lanes(n)); }
LOCKSTEP_INLINE Pairs set1_pairs(const void* p) {
  int32_t x;
  memcpy(&x, p, 4);
  return _mm256_set1_epi32(x);
}
LOCKSTEP_INLINE Float dot_bf16(Float acc, Pairs a, Pairs b) {
  const __m256i high = _mm256_set1_epi32(static_cast<int>(0xffff0000u));
  acc = fma(_mm256_castsi256_ps(_mm256_slli_epi32(a, 16)), _mm256_castsi256_ps(_mm256_slli_epi32(b, 16)), acc);
  return fma(_mm256_castsi256_ps(_mm256_and_si256(a, high)), _mm256_castsi256_ps(_mm256_and_si256(b, high)), acc);
}

// --- int8 and int4 ---
LOCKSTEP_INLINE Bytes load_bytes(const void* p) { return load_pairs(p); }
LOCKSTEP_INLINE void store_bytes(int8_t* p, Int v) {
  const __m128i words = _mm_packs_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
  _mm_storel_epi64(reinterpret_cast<__m128i*>(p), _mm_packs_epi16(words, words));
}
template <int n>
LOCKSTEP_INLINE Int shift_add(Int a, Int b) {  // a * 2^n + b
  return _mm256_add_epi32(_mm256_slli_epi32(a, n), b);
}
LOCKSTEP_INLINE Bytes set1_bytes(const void* p) { return set1_pairs(p); }
#if defined(LOCKSTEP_ISA_AVXVNNI)
LOCKSTEP_INLINE Int dot_u8s8(Int acc, Bytes w, Bytes a) { return _mm256_dpbusd_avx_epi32(acc, w, a); }
LOCKSTEP_INLINE Int dot_u4s8(Int acc, Bytes w, Bytes a) { return _mm256_dpbusd_avx_epi32(acc, w, a); }
#else
LOCKSTEP_INLINE Int dot_u4s8(Int acc, Bytes w, Bytes a) {  // 63 * 127 * 2 cannot saturate 16 bits
  return _mm256_add_epi32(acc, _mm256_madd_epi16(_mm256_maddubs_epi16(w, a), _mm256_set1_epi16(1)));
}
// Weights lie signed (kByteZero is 0), and their sign goes over to the activation: 128 * 127 * 2 = 32,512 cannot saturate, where
// 255 * 127 * 2 would. Even and odd bytes as 16-bit numbers took half as many instructions again.
LOCKSTEP_INLINE Int dot_u8s8(Int acc, Bytes w, Bytes a) { return dot_u4s8(acc, _mm256_abs_epi8(w), _mm256_sign_epi8(a, w)); }
#endif
LOCKSTEP_INLINE Bytes low_nibbles(Bytes w) { return _mm256_and_si256(w, _mm256_set1_epi8(15)); }
LOCKSTEP_INLINE Bytes high_nibbles(Bytes w) { return _mm256_and_si256(_mm256_srli_epi16(w, 4), _mm256_set1_epi8(15)); }
// nibbles | the bits of plane from bit `at` of each byte on, moved to bit 4, as far as mask has them
LOCKSTEP_INLINE Bytes with_bits(Bytes nibbles, Bytes plane, int at, int mask) {
  const Bytes moved = at < 4 ? _mm256_slli_epi16(plane, 4 - at) : _mm256_srli_epi16(plane, at - 4);
  return _mm256_or_si256(nibbles, _mm256_and_si256(moved, _mm256_set1_epi8(static_cast<char>(mask))));
}
LOCKSTEP_INLINE Bytes lookup(const uint8_t* table, Bytes nibbles) {
  return _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i*>(table))), nibbles);
}
LOCKSTEP_INLINE Float load_u8(const uint8_t* p) {
  return _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p))));
}
LOCKSTEP_INLINE Float load_s8(const uint8_t* p) {
  return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p))));
}

// --- sum of values 0 … 1 in units of 2^-44, each rounded on its own; a NaN counts as 0 ---
struct FixedSum {
  __m256i sum = _mm256_setzero_si256();
  // Adding 2^52 leaves a whole number below 2^52 in the low bits of a double, rounded to nearest.
  static inline __attribute__((always_inline)) __m256i fixed(__m128 e) {
    const __m256d magic = _mm256_set1_pd(4503599627370496.0);
    const __m256d scaled = _mm256_mul_pd(_mm256_cvtps_pd(e), _mm256_set1_pd(17592186044416.0));
    return _mm256_xor_si256(_mm256_castpd_si256(_mm256_add_pd(scaled, magic)), _mm256_castpd_si256(magic));
  }
  inline __attribute__((always_inline)) void add(Float e) {
    e = max(e, zero());
    sum = _mm256_add_epi64(sum, fixed(_mm256_castps256_ps128(e)));
    sum = _mm256_add_epi64(sum, fixed(_mm256_extractf128_ps(e, 1)));
  }
  uint64_t total() const {
    uint64_t parts[4];
    memcpy(parts, &sum, sizeof(parts));
    return parts[0] + parts[1] + parts[2] + parts[3];
  }
};

}  // namespace
}  // namespace lockstep::cpu::LOCKSTEP_ISA
