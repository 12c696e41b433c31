// Reading bricks (bricks.h): one weight, or a warp's share of one brick as what multiply_add takes. There the codes are whole numbers, or
// e4m3 values, which bf16 holds exactly, and the scales, in float32, are for the sums.
#pragma once

#include <type_traits>

#include "cuda/mma.cuh"

namespace lockstep::cuda {

struct alignas(16) Words4 {
  uint32_t at[4];
};
struct alignas(8) Words2 {
  uint32_t at[2];
};

#ifdef __CUDACC__
// Of what a kernel reads a single time: it takes no place in L1.
__device__ inline Words4 load_once(const Words4* from) {
  Words4 words;
  asm("ld.global.nc.L1::no_allocate.v4.u32 {%0,%1,%2,%3}, [%4];"
      : "=r"(words.at[0]), "=r"(words.at[1]), "=r"(words.at[2]), "=r"(words.at[3])
      : "l"(from));
  return words;
}
// Asks for the line of 128 bytes that this is in, which takes it from memory to L2.
__device__ inline void warm_line(const uint8_t* at) { asm volatile("prefetch.global.L2 [%0];" ::"l"(at)); }
// Two products of bf16 and their sums, each rounded once.
__device__ inline uint32_t multiply_add_halves(uint32_t a, uint32_t b, uint32_t c) {
  uint32_t d;
  asm("fma.rn.bf16x2 %0, %1, %2, %3;" : "=r"(d) : "r"(a), "r"(b), "r"(c));
  return d;
}
__device__ inline float half_to_float(uint16_t bits) {
  float x;
  asm("cvt.f32.f16 %0, %1;" : "=f"(x) : "h"(bits));
  return x;
}

#else
inline Words4 load_once(const Words4* from) { return *from; }
inline void warm_line(const uint8_t*) {}
#endif

// Constants of bf16, twice in a word.
constexpr uint32_t kOnes = 0x3f803f80;
constexpr uint32_t k128 = 0x43004300;       // the last bit of 128 … 255 is 1: a code of 7 bits goes into the lower ones
constexpr uint32_t kMinus128 = 0xc300c300;  // with the lowest bit of the exponent: -256
constexpr uint32_t kMinus160 = 0xc320c320;
constexpr uint32_t k2To120 = 0x7b807b80;  // from e4m3's exponents to bf16's

struct Scale {
  float scale, least;
};

__device__ inline Scale scale_of_halves(uint32_t word) { return {half_to_float(word & 0xffff), half_to_float(word >> 16)}; }

// Of word pair `i` of eight codes of 4 bits, 0 … 15.
__device__ inline uint32_t codes_of_4(uint32_t word, int i) { return (word >> (4 * i)) & 0x000f000f; }
// Signed bytes 0 and 2 of a word.
__device__ inline uint32_t halves_of_int8(uint32_t word) {
  return multiply_add_halves((word & 0x007f007f) | k128, kOnes, (word & 0x00800080) | kMinus128);
}
__device__ inline uint32_t halves_of_fp8(uint32_t word) {
  return multiply_add_halves((word & 0x007f007f) << 4 | (word & 0x00800080) << 8, k2To120, 0x80008000);
}

// A lane's share of a brick: load() reads it all, then pairs() gives the eight codes of a group in one of its rows (half 0: row lane / 4;
// 1: that and 8) as pairs of bf16, and scale() the row's scale there: of columns 0 … 15 of the group and 16 … 31, which are one but for
// kInt6K.
template <Bricks kind>
struct Brick;

// --- those with codes of 4 bits ---

struct Codes4 {
  Words4 codes[2];
  __device__ void load_codes(const uint8_t* brick, int lane) {
    for (int half = 0; half < 2; half++) codes[half] = load_once(reinterpret_cast<const Words4*>(brick) + half * kWarp + lane);
  }
  __device__ uint32_t pair(int half, int group, int i) const {
    return multiply_add_halves(codes_of_4(codes[half].at[group], i) | k128, kOnes, kMinus128);
  }
};

template <>
struct Brick<Bricks::kInt4> : Codes4 {
  static constexpr bool kHasLeast = true;
  Words4 scales[2];
  __device__ void load(const uint8_t* brick, int lane) {
    load_codes(brick, lane);
    for (int half = 0; half < 2; half++)
      scales[half] = load_once(reinterpret_cast<const Words4*>(brick + kCodes4Bytes) + half * 8 + lane / 4);
  }
  __device__ Scale scale(int half, int group, int) const { return scale_of_halves(scales[half].at[group]); }
};

template <>
struct Brick<Bricks::kInt4Wide> : Codes4 {
  static constexpr bool kHasLeast = true;
  uint32_t scales[2];
  __device__ void load(const uint8_t* brick, int lane) {
    load_codes(brick, lane);
    for (int half = 0; half < 2; half++) scales[half] = reinterpret_cast<const uint32_t*>(brick + kCodes4Bytes)[half * 8 + lane / 4];
  }
  __device__ Scale scale(int half, int, int) const { return scale_of_halves(scales[half]); }
};

// Words and factors behind the codes of a K-quant.
struct FactorsK {
  uint32_t words[2];
  Words2 factors[2];
  __device__ void load_factors(const uint8_t* scales, int lane) {
    for (int half = 0; half < 2; half++) {
      words[half] = reinterpret_cast<const uint32_t*>(scales)[half * 8 + lane / 4];
      factors[half] = reinterpret_cast<const Words2*>(scales + kRowWordsBytes)[half * 8 + lane / 4];
    }
  }
  __device__ unsigned factor(int half, int group, int which) const {
    return factors[half].at[group / 2] >> (group % 2 * 16 + which * 8) & 0xff;
  }
};

template <>
struct Brick<Bricks::kInt4K> : FactorsK, Codes4 {
  static constexpr bool kHasLeast = true;
  __device__ void load(const uint8_t* brick, int lane) {
    load_codes(brick, lane);
    load_factors(brick + kCodes4Bytes, lane);
  }
  __device__ Scale scale(int half, int group, int) const {
    const Scale word = scale_of_halves(words[half]);
    return {word.scale * static_cast<float>(factor(half, group, 0)), word.least * static_cast<float>(factor(half, group, 1))};
  }
};

// --- 6 and 8 bits ---

template <>
struct Brick<Bricks::kInt6K> : FactorsK {
  static constexpr bool kHasLeast = false;
  Words4 low[2];
  Words2 high[2];
  __device__ void load(const uint8_t* brick, int lane) {
    for (int half = 0; half < 2; half++) {
      low[half] = load_once(reinterpret_cast<const Words4*>(brick) + half * kWarp + lane);
      high[half] = reinterpret_cast<const Words2*>(brick + kCodes4Bytes)[half * kWarp + lane];
    }
    load_factors(brick + kCodes4Bytes + kCodes2Bytes, lane);
  }
  __device__ uint32_t pair(int half, int group, int i) const {
    const uint32_t upper = (high[half].at[group / 2] >> (8 * (group % 2) + 2 * i) & 0x00030003) << 4;
    return multiply_add_halves(codes_of_4(low[half].at[group], i) | upper | k128, kOnes, kMinus160);
  }
  __device__ Scale scale(int half, int group, int which) const {
    const int factor = static_cast<int8_t>(this->factor(half, group, which));
    return {half_to_float(words[half] & 0xffff) * static_cast<float>(factor), 0};
  }
};

struct Codes8 {
  Words4 codes[2][2];  // [pair of groups][half]
  __device__ void load_codes(const uint8_t* brick, int lane) {
    for (int i = 0; i < 4; i++) codes[i / 2][i % 2] = load_once(reinterpret_cast<const Words4*>(brick) + i * kWarp + lane);
  }
  __device__ uint32_t bytes(int half, int group, int i) const { return codes[group / 2][half].at[group % 2 * 2 + i / 2] >> (i % 2 * 8); }
};

template <>
struct Brick<Bricks::kInt8> : Codes8 {
  static constexpr bool kHasLeast = false;
  Words2 scales[2];
  __device__ void load(const uint8_t* brick, int lane) {
    load_codes(brick, lane);
    for (int half = 0; half < 2; half++) scales[half] = reinterpret_cast<const Words2*>(brick + kCodes8Bytes)[half * 8 + lane / 4];
  }
  __device__ uint32_t pair(int half, int group, int i) const { return halves_of_int8(bytes(half, group, i)); }
  __device__ Scale scale(int half, int group, int) const {
    return {half_to_float(scales[half].at[group / 2] >> (group % 2 * 16) & 0xffff), 0};
  }
};

template <>
struct Brick<Bricks::kFp8> : Codes8 {
  static constexpr bool kHasLeast = false;
  float scales[2];
  __device__ void load(const uint8_t* brick, int lane) {
    load_codes(brick, lane);
    for (int half = 0; half < 2; half++) scales[half] = reinterpret_cast<const float*>(brick + kCodes8Bytes)[half * 8 + lane / 4];
  }
  __device__ uint32_t pair(int half, int group, int i) const { return halves_of_fp8(bytes(half, group, i)); }
  __device__ Scale scale(int half, int, int) const { return {scales[half], 0}; }
};

// Calls use(column of the brick, weight there, weight of the next) for the 32 columns of one of a lane's rows; half as above.
template <Bricks kind, class Use>
__device__ void each_pair(const Brick<kind>& share, int lane, int half, Use use) {
#pragma unroll
  for (int group = 0; group < kBrickGroups; group++) {
#pragma unroll
    for (int i = 0; i < 4; i++) {
      const int in_group = kind == Bricks::kInt6K ? i / 2 * 16 + lane % 4 * 4 + i % 2 * 2 : lane % 4 * 8 + 2 * i;
      const uint32_t pair = share.pair(half, group, i);
      const Scale scale = share.scale(half, group, i / 2);
      const float low = bf16_to_float(static_cast<uint16_t>(pair & 0xffff));
      const float high = bf16_to_float(static_cast<uint16_t>(pair >> 16));
      use(group * kBrickGroup + in_group, scale.scale * low + scale.least, scale.scale * high + scale.least);
    }
  }
}

// run(the kind as a constant)
template <class Run>
Error with_kind(Bricks kind, Run run) {
  switch (kind) {
    case Bricks::kInt4:
      return run(std::integral_constant<Bricks, Bricks::kInt4>());
    case Bricks::kInt4Wide:
      return run(std::integral_constant<Bricks, Bricks::kInt4Wide>());
    case Bricks::kInt4K:
      return run(std::integral_constant<Bricks, Bricks::kInt4K>());
    case Bricks::kInt6K:
      return run(std::integral_constant<Bricks, Bricks::kInt6K>());
    case Bricks::kInt8:
      return run(std::integral_constant<Bricks, Bricks::kInt8>());
    case Bricks::kFp8:
      return run(std::integral_constant<Bricks, Bricks::kFp8>());
    case Bricks::kNone:
      break;
  }
  return kInvalidValue;
}

}  // namespace lockstep::cuda
