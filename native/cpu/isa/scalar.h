// The portable instruction set: four lanes of the compiler's own vectors (SSE2 or NEON where there is one). It defines the names
// that every isa header defines and that the kernels are written in; avx512.h and avx2.h have the same list.
#pragma once

#include <cstdint>
#include <cstring>

namespace lockstep::cpu::LOCKSTEP_ISA {
namespace {

constexpr const char* kIsaName = "scalar";
constexpr int kLanes = 4;
constexpr int kTileVectors = 2;  // weight vectors of a gemm tile
constexpr int kTileRows = 4;     // most activation rows of a bf16 or f32 tile
constexpr int kIntTileRows = 4;  // the same of an int8 or int4 tile, which needs twice the accumulators
constexpr int kByteZero = 128;   // the byte of a packed int8 weight that stands for 0: 128 where dot_u8s8 takes weights as unsigned, else 0
constexpr int kQueryRows = 4;    // most query rows of an attention tile
constexpr int kQueryVectors = 2;  // vectors of keys or of head dims in it

typedef float Float __attribute__((vector_size(16)));
typedef int32_t Int __attribute__((vector_size(16)));
typedef uint32_t Bits __attribute__((vector_size(16)));
typedef Bits Pairs;  // two bf16 a lane
typedef Bits Bytes;  // four bytes a lane
typedef Int Mask;

#define LOCKSTEP_TILES(f) {f<1>, f<2>, f<3>, f<4>}
#define LOCKSTEP_INT_TILES(f) {f<1>, f<2>, f<3>, f<4>}
#define LOCKSTEP_INLINE static inline __attribute__((always_inline))

template <class To, class From>
LOCKSTEP_INLINE To bit_cast(From from) {
  static_assert(sizeof(To) == sizeof(From), "same size");
  To to;
  memcpy(&to, &from, sizeof(to));
  return to;
}

// --- loads and stores; _n touches the first n < kLanes values only ---
LOCKSTEP_INLINE Float set1(float x) { return Float{x, x, x, x}; }
LOCKSTEP_INLINE Float zero() { return Float{}; }
LOCKSTEP_INLINE Float load(const float* p) {
  Float v;
  memcpy(&v, p, sizeof(v));
  return v;
}
LOCKSTEP_INLINE void store(float* p, Float v) { memcpy(p, &v, sizeof(v)); }
LOCKSTEP_INLINE Float load_n(const float* p, int n, float fill) {
  Float v = set1(fill);
  for (int i = 0; i < n; i++) v[i] = p[i];
  return v;
}
LOCKSTEP_INLINE void store_n(float* p, Float v, int n) {
  for (int i = 0; i < n; i++) p[i] = v[i];
}

// --- arithmetic; a NaN in the first operand of max and min gives the second, a NaN in the second stays ---
LOCKSTEP_INLINE Float fma(Float a, Float b, Float c) { return a * b + c; }
LOCKSTEP_INLINE Mask greater(Float a, Float b) { return a > b; }
LOCKSTEP_INLINE Float select(Mask m, Float a, Float b) { return m ? a : b; }
LOCKSTEP_INLINE Float max(Float a, Float b) { return select(greater(a, b), a, b); }
LOCKSTEP_INLINE Float min(Float a, Float b) { return select(greater(b, a), a, b); }
LOCKSTEP_INLINE Float abs(Float a) { return bit_cast<Float>(bit_cast<Bits>(a) & 0x7fffffffu); }
LOCKSTEP_INLINE float reduce_add(Float v) { return (v[0] + v[2]) + (v[1] + v[3]); }
LOCKSTEP_INLINE float reduce_max(Float v) {
  const float a = v[0] > v[2] ? v[0] : v[2];
  const float b = v[1] > v[3] ? v[1] : v[3];
  return a > b ? a : b;
}
// Lane i is the largest, or the sum, of the lanes of v[i].
LOCKSTEP_INLINE Float reduce_max_each(const Float* v) {
  return Float{reduce_max(v[0]), reduce_max(v[1]), reduce_max(v[2]), reduce_max(v[3])};
}
LOCKSTEP_INLINE Float reduce_add_each(const Float* v) {
  return Float{reduce_add(v[0]), reduce_add(v[1]), reduce_add(v[2]), reduce_add(v[3])};
}
LOCKSTEP_INLINE Float round_even(Float x) { return (x + 12582912.0f) - 12582912.0f; }  // |x| < 2^22
LOCKSTEP_INLINE Int to_int(Float x) { return __builtin_convertvector(x, Int); }        // x is whole
LOCKSTEP_INLINE Float to_float(Int x) { return __builtin_convertvector(x, Float); }
LOCKSTEP_INLINE Int set1_int(int32_t x) { return Int{x, x, x, x}; }
LOCKSTEP_INLINE Float pow2(Int n) { return bit_cast<Float>((n + 127) << 23); }  // -127 (gives 0) … 127
// x * 2^n for whole n from -127 (gives 0) to 127
LOCKSTEP_INLINE Float times_pow2(Float x, Float n) { return x * pow2(to_int(n)); }

// Halves of the products of unsigned lanes.
LOCKSTEP_INLINE void wide_product(Int a, Int b, Int* low, Int* high) {
  for (int i = 0; i < kLanes; i++) {
    const uint64_t product = static_cast<uint64_t>(static_cast<uint32_t>(a[i])) * static_cast<uint32_t>(b[i]);
    (*low)[i] = static_cast<int32_t>(product);
    (*high)[i] = static_cast<int32_t>(product >> 32);
  }
}

// --- half floats ---
LOCKSTEP_INLINE float half_to_float(uint16_t h) {
  const uint32_t sign = static_cast<uint32_t>(h & 0x8000) << 16;
  const uint32_t rest = h & 0x7fff;
  if (rest >= 0x7c00) return bit_cast<float>(sign | 0x7f800000u | ((rest & 0x3ff) << 13));
  // The exponent is rebiased by a multiplication, which is exact and takes subnormals along.
  const float magnitude = bit_cast<float>(rest << 13) * bit_cast<float>(0x77800000u);
  return bit_cast<float>(bit_cast<uint32_t>(magnitude) | sign);
}
LOCKSTEP_INLINE Float load_half(const uint8_t* p) {
  Float v{};
  for (int i = 0; i < kLanes; i++) {
    uint16_t h;
    memcpy(&h, p + 2 * i, 2);
    v[i] = half_to_float(h);
  }
  return v;
}

// --- bf16 ---
LOCKSTEP_INLINE uint16_t to_bf16(float x) {  // nearest even; NaN stays NaN
  const uint32_t bits = bit_cast<uint32_t>(x);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return static_cast<uint16_t>((bits >> 16) | 0x40);
  return static_cast<uint16_t>((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}
LOCKSTEP_INLINE float from_bf16(uint16_t x) { return bit_cast<float>(static_cast<uint32_t>(x) << 16); }
LOCKSTEP_INLINE Float load_bf16(const uint16_t* p) {
  Float v{};
  for (int i = 0; i < kLanes; i++) v[i] = from_bf16(p[i]);
  return v;
}
LOCKSTEP_INLINE void store_bf16(uint16_t* p, Float v) {
  for (int i = 0; i < kLanes; i++) p[i] = to_bf16(v[i]);
}
// kLanes values of a, then of b
LOCKSTEP_INLINE void store_bf16_two(uint16_t* p, Float a, Float b) {
  store_bf16(p, a);
  store_bf16(p + kLanes, b);
}
LOCKSTEP_INLINE Pairs load_pairs(const void* p) {
  Pairs v;
  memcpy(&v, p, sizeof(v));
  return v;
}
// x, which the compiler then keeps in a register over its uses
LOCKSTEP_INLINE Pairs in_register(Pairs x) { return x; }
LOCKSTEP_INLINE Pairs load_pairs_n(const void* p, int n) {
  Pairs v{};
  memcpy(&v, p, 4 * static_cast<size_t>(n));
  return v;
}
LOCKSTEP_INLINE Pairs set1_pairs(const void* p) {
  uint32_t x;
  memcpy(&x, p, 4);
  return Pairs{x, x, x, x};
}
// acc + a.low * b.low + a.high * b.high in each lane
LOCKSTEP_INLINE Float dot_bf16(Float acc, Pairs a, Pairs b) {
  acc = acc + bit_cast<Float>(a << 16) * bit_cast<Float>(b << 16);
  return acc + bit_cast<Float>(a & 0xffff0000u) * bit_cast<Float>(b & 0xffff0000u);
}

// --- int8 and int4: four unsigned weight bytes times four signed activation bytes, added to the lane ---
LOCKSTEP_INLINE Bytes load_bytes(const void* p) { return load_pairs(p); }
LOCKSTEP_INLINE void store_bytes(int8_t* p, Int v) {  // values -128 … 127
  for (int i = 0; i < kLanes; i++) p[i] = static_cast<int8_t>(v[i]);
}
template <int n>
LOCKSTEP_INLINE Int shift_add(Int a, Int b) {  // a * 2^n + b
  return a * (1 << n) + b;
}
LOCKSTEP_INLINE Bytes set1_bytes(const void* p) { return set1_pairs(p); }
typedef int16_t Shorts __attribute__((vector_size(16)));
// u8 * s8 fits 16 bits, whose products are cheap everywhere; two lie in a lane.
LOCKSTEP_INLINE Int add_products(Int acc, Bits w, Int a) {
  const Int both = bit_cast<Int>(bit_cast<Shorts>(w) * bit_cast<Shorts>(a));
  return acc + ((both << 16) >> 16) + (both >> 16);
}
LOCKSTEP_INLINE Int dot_u8s8(Int acc, Bytes w, Bytes a) {
  const Shorts s = bit_cast<Shorts>(a);
  acc = add_products(acc, w & 0x00ff00ffu, bit_cast<Int>((s << 8) >> 8));
  return add_products(acc, (w >> 8) & 0x00ff00ffu, bit_cast<Int>(s >> 8));
}
LOCKSTEP_INLINE Int dot_u4s8(Int acc, Bytes w, Bytes a) { return dot_u8s8(acc, w, a); }  // weights of up to 6 bits
LOCKSTEP_INLINE Bytes low_nibbles(Bytes w) { return w & 0x0f0f0f0fu; }
LOCKSTEP_INLINE Bytes high_nibbles(Bytes w) { return (w >> 4) & 0x0f0f0f0fu; }
// nibbles | the bits of plane from bit `at` of each byte on, moved to bit 4, as far as mask has them
LOCKSTEP_INLINE Bytes with_bits(Bytes nibbles, Bytes plane, int at, int mask) {
  const Bytes moved = at < 4 ? plane << static_cast<unsigned>(4 - at) : plane >> static_cast<unsigned>(at - 4);
  return nibbles | (moved & static_cast<uint32_t>(mask * 0x01010101));
}
LOCKSTEP_INLINE Bytes lookup(const uint8_t* table, Bytes nibbles) {  // table[16]
  uint8_t bytes[sizeof(Bytes)];
  memcpy(bytes, &nibbles, sizeof(bytes));
  for (uint8_t& b : bytes) b = table[b];
  return load_bytes(bytes);
}
LOCKSTEP_INLINE Float load_u8(const uint8_t* p) {
  Float v{};
  for (int i = 0; i < kLanes; i++) v[i] = static_cast<float>(p[i]);
  return v;
}
LOCKSTEP_INLINE Float load_s8(const uint8_t* p) {  // int8
  Float v{};
  for (int i = 0; i < kLanes; i++) v[i] = static_cast<float>(static_cast<int8_t>(p[i]));
  return v;
}

// --- sum of values 0 … 1 in units of 2^-44, each rounded on its own; a NaN counts as 0 ---
struct FixedSum {
  uint64_t sum = 0;
  void add(Float e) {
    for (int i = 0; i < kLanes; i++) {
      if (e[i] > 0.0f) sum += static_cast<uint64_t>(static_cast<double>(e[i]) * 17592186044416.0 + 0.5);
    }
  }
  uint64_t total() const { return sum; }
};

}  // namespace
}  // namespace lockstep::cpu::LOCKSTEP_ISA
