// AVX-512 with VNNI and BF16 (Zen 4 and 5, Cooper Lake, Sapphire Rapids and later). The names are those of scalar.h.
#pragma once

#include <immintrin.h>

#include <cstdint>
#include <cstring>

namespace lockstep::cpu::LOCKSTEP_ISA {
namespace {

#if !defined(LOCKSTEP_ISA_AMX)  // amx.h adds to this and has a name of its own
constexpr const char* kIsaName = "avx512";
#endif
constexpr int kLanes = 16;
constexpr int kTileVectors = 2;
constexpr int kTileRows = 8;  // 16 sums: two vdpbf16ps a cycle at 6 cycles of latency want 12
constexpr int kIntTileRows = 6;
constexpr int kQueryRows = 6;  // with 4 vectors 24 sums: 10 loads for 24 products, where 8 x 2 has 10 for 16
constexpr int kQueryVectors = 4;
constexpr int kByteZero = 128;

#define LOCKSTEP_TILES(f) {f<1>, f<2>, f<3>, f<4>, f<5>, f<6>, f<7>, f<8>}
#define LOCKSTEP_INT_TILES(f) {f<1>, f<2>, f<3>, f<4>, f<5>, f<6>}
#define LOCKSTEP_INLINE static inline __attribute__((always_inline))

using Float = __m512;
using Int = __m512i;
using Pairs = __m512i;
using Bytes = __m512i;
using Mask = __mmask16;

template <class To, class From>
LOCKSTEP_INLINE To bit_cast(From from) {
  static_assert(sizeof(To) == sizeof(From), "same size");
  To to;
  memcpy(&to, &from, sizeof(to));
  return to;
}

// --- loads and stores ---
LOCKSTEP_INLINE __mmask16 first_lanes(int n) { return static_cast<__mmask16>((1u << n) - 1); }
LOCKSTEP_INLINE Float set1(float x) { return _mm512_set1_ps(x); }
LOCKSTEP_INLINE Float zero() { return _mm512_setzero_ps(); }
LOCKSTEP_INLINE Float load(const float* p) { return _mm512_loadu_ps(p); }
LOCKSTEP_INLINE void store(float* p, Float v) { _mm512_storeu_ps(p, v); }
LOCKSTEP_INLINE Float load_n(const float* p, int n, float fill) { return _mm512_mask_loadu_ps(set1(fill), first_lanes(n), p); }
LOCKSTEP_INLINE void store_n(float* p, Float v, int n) { _mm512_mask_storeu_ps(p, first_lanes(n), v); }

// --- arithmetic ---
LOCKSTEP_INLINE Float fma(Float a, Float b, Float c) { return _mm512_fmadd_ps(a, b, c); }
LOCKSTEP_INLINE Mask greater(Float a, Float b) { return _mm512_cmp_ps_mask(a, b, _CMP_GT_OQ); }
LOCKSTEP_INLINE Float select(Mask m, Float a, Float b) { return _mm512_mask_blend_ps(m, b, a); }
LOCKSTEP_INLINE Float max(Float a, Float b) { return _mm512_max_ps(a, b); }
LOCKSTEP_INLINE Float min(Float a, Float b) { return _mm512_min_ps(a, b); }
LOCKSTEP_INLINE Float abs(Float a) { return _mm512_abs_ps(a); }
LOCKSTEP_INLINE float reduce_add(Float v) {
  __m256 a = _mm256_add_ps(_mm512_castps512_ps256(v), _mm512_extractf32x8_ps(v, 1));
  __m128 b = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
  b = _mm_add_ps(b, _mm_movehl_ps(b, b));
  return _mm_cvtss_f32(_mm_add_ss(b, _mm_movehdup_ps(b)));
}
LOCKSTEP_INLINE float reduce_max(Float v) {
  __m256 a = _mm256_max_ps(_mm512_castps512_ps256(v), _mm512_extractf32x8_ps(v, 1));
  __m128 b = _mm_max_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
  b = _mm_max_ps(b, _mm_movehl_ps(b, b));
  return _mm_cvtss_f32(_mm_max_ss(b, _mm_movehdup_ps(b)));
}
// Lane i is the largest, or the sum, of the lanes of v[i]: pairs of vectors are interleaved and joined, 3 operations a vector.
#define LOCKSTEP_REDUCE_EACH(join, v)                                                                                                   \
  Float half[8], quarter[4];                                                                                                            \
  for (int i = 0; i < 8; i++) {                                                                                                         \
    const Float a = v[4 * (i % 4) + i / 4], b = v[4 * (i % 4) + i / 4 + 2];                                                             \
    half[i] = join(_mm512_unpacklo_ps(a, b), _mm512_unpackhi_ps(a, b));                                                                 \
  }                                                                                                                                     \
  for (int i = 0; i < 4; i++) {                                                                                                         \
    quarter[i] = join(_mm512_unpacklo_ps(half[i], half[i + 4]), _mm512_unpackhi_ps(half[i], half[i + 4]));                              \
  }                                                                                                                                     \
  for (int i = 0; i < 4; i += 2) {                                                                                                      \
    half[i / 2] = join(_mm512_shuffle_f32x4(quarter[i], quarter[i + 1], 0x88), _mm512_shuffle_f32x4(quarter[i], quarter[i + 1], 0xdd)); \
  }                                                                                                                                     \
  return join(_mm512_shuffle_f32x4(half[0], half[1], 0x88), _mm512_shuffle_f32x4(half[0], half[1], 0xdd))
LOCKSTEP_INLINE Float reduce_max_each(const Float* v) { LOCKSTEP_REDUCE_EACH(_mm512_max_ps, v); }
LOCKSTEP_INLINE Float reduce_add_each(const Float* v) { LOCKSTEP_REDUCE_EACH(_mm512_add_ps, v); }
LOCKSTEP_INLINE Float round_even(Float x) { return _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
LOCKSTEP_INLINE Int to_int(Float x) { return _mm512_cvtps_epi32(x); }
LOCKSTEP_INLINE Float to_float(Int x) { return _mm512_cvtepi32_ps(x); }
LOCKSTEP_INLINE Int set1_int(int32_t x) { return _mm512_set1_epi32(x); }
LOCKSTEP_INLINE Float times_pow2(Float x, Float n) { return _mm512_scalef_ps(x, n); }
LOCKSTEP_INLINE Float pow2(Int n) { return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_add_epi32(n, _mm512_set1_epi32(127)), 23)); }

// Halves of the products of unsigned lanes.
LOCKSTEP_INLINE void wide_product(Int a, Int b, Int* low, Int* high) {
  const __m512i even = _mm512_mul_epu32(a, b);
  const __m512i odd = _mm512_mul_epu32(_mm512_srli_epi64(a, 32), _mm512_srli_epi64(b, 32));
  *low = _mm512_mask_blend_epi32(0xaaaa, even, _mm512_slli_epi64(odd, 32));
  *high = _mm512_mask_blend_epi32(0xaaaa, _mm512_srli_epi64(even, 32), odd);
}

// --- half floats ---
LOCKSTEP_INLINE float half_to_float(uint16_t h) { return _cvtsh_ss(h); }
LOCKSTEP_INLINE Float load_half(const uint8_t* p) { return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p))); }

// --- bf16 ---
LOCKSTEP_INLINE uint16_t to_bf16(float x) {  // keeps subnormals, which the instruction below makes 0
  const uint32_t bits = bit_cast<uint32_t>(x);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return static_cast<uint16_t>((bits >> 16) | 0x40);
  return static_cast<uint16_t>((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}
LOCKSTEP_INLINE float from_bf16(uint16_t x) { return bit_cast<float>(static_cast<uint32_t>(x) << 16); }
LOCKSTEP_INLINE Float load_bf16(const uint16_t* p) {
  const __m256i half = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(half), 16));
}
LOCKSTEP_INLINE void store_bf16(uint16_t* p, Float v) {
  const __m256bh half = _mm512_cvtneps_pbh(v);
  memcpy(p, &half, sizeof(half));
}
LOCKSTEP_INLINE void store_bf16_two(uint16_t* p, Float a, Float b) {
  const __m512bh both = _mm512_cvtne2ps_pbh(b, a);
  memcpy(p, &both, sizeof(both));
}
LOCKSTEP_INLINE Pairs load_pairs(const void* p) { return _mm512_loadu_si512(p); }
// GCC 12 otherwise loads a vector again for every row that it is multiplied with.
LOCKSTEP_INLINE Pairs in_register(Pairs x) {
  asm("" : "+v"(x));
  return x;
}
LOCKSTEP_INLINE Pairs load_pairs_n(const void* p, int n) { return _mm512_maskz_loadu_epi32(first_lanes(n), p); }
LOCKSTEP_INLINE Pairs set1_pairs(const void* p) {
  int32_t x;
  memcpy(&x, p, 4);
  return _mm512_set1_epi32(x);
}
LOCKSTEP_INLINE Float dot_bf16(Float acc, Pairs a, Pairs b) { return _mm512_dpbf16_ps(acc, bit_cast<__m512bh>(a), bit_cast<__m512bh>(b)); }

// --- int8 and int4 ---
LOCKSTEP_INLINE Bytes load_bytes(const void* p) { return load_pairs(p); }
LOCKSTEP_INLINE void store_bytes(int8_t* p, Int v) { _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm512_cvtepi32_epi8(v)); }
template <int n>
LOCKSTEP_INLINE Int shift_add(Int a, Int b) {  // a * 2^n + b
  return _mm512_add_epi32(_mm512_slli_epi32(a, n), b);
}
LOCKSTEP_INLINE Bytes set1_bytes(const void* p) { return set1_pairs(p); }
LOCKSTEP_INLINE Int dot_u8s8(Int acc, Bytes w, Bytes a) { return _mm512_dpbusd_epi32(acc, w, a); }
LOCKSTEP_INLINE Int dot_u4s8(Int acc, Bytes w, Bytes a) { return _mm512_dpbusd_epi32(acc, w, a); }
LOCKSTEP_INLINE Bytes low_nibbles(Bytes w) { return _mm512_and_si512(w, _mm512_set1_epi8(15)); }
LOCKSTEP_INLINE Bytes high_nibbles(Bytes w) { return _mm512_and_si512(_mm512_srli_epi16(w, 4), _mm512_set1_epi8(15)); }
// nibbles | the bits of plane from bit `at` of each byte on, moved to bit 4, as far as mask has them
LOCKSTEP_INLINE Bytes with_bits(Bytes nibbles, Bytes plane, int at, int mask) {
  const Bytes moved = at < 4 ? _mm512_slli_epi16(plane, 4 - at) : _mm512_srli_epi16(plane, at - 4);
  return _mm512_ternarylogic_epi64(nibbles, moved, _mm512_set1_epi8(static_cast<char>(mask)), 0xf8);
}
LOCKSTEP_INLINE Bytes lookup(const uint8_t* table, Bytes nibbles) {
  return _mm512_shuffle_epi8(_mm512_broadcast_i32x4(_mm_loadu_si128(reinterpret_cast<const __m128i*>(table))), nibbles);
}
LOCKSTEP_INLINE Float load_u8(const uint8_t* p) {
  return _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))));
}
LOCKSTEP_INLINE Float load_s8(const uint8_t* p) {
  return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))));
}

// --- sum of values 0 … 1 in units of 2^-44, each rounded on its own; a NaN counts as 0 ---
struct FixedSum {
  __m512i sum = _mm512_setzero_si512();
  static inline __attribute__((always_inline)) __m512i fixed(__m256 e) {
    return _mm512_cvtps_epi64(_mm256_mul_ps(e, _mm256_set1_ps(17592186044416.0f)));
  }
  inline __attribute__((always_inline)) void add(Float e) {
    e = max(e, zero());
    sum = _mm512_add_epi64(sum, fixed(_mm512_castps512_ps256(e)));
    sum = _mm512_add_epi64(sum, fixed(_mm512_extractf32x8_ps(e, 1)));
  }
  uint64_t total() const {
    uint64_t parts[8];
    memcpy(parts, &sum, sizeof(parts));
    uint64_t all = 0;
    for (uint64_t part : parts) all += part;
    return all;
  }
};

}  // namespace
}  // namespace lockstep::cpu::LOCKSTEP_ISA
