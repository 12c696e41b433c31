// float16, bfloat16 and float8 to float32, exactly, and float32 to float16.
#pragma once

#include <cstdint>
#include <cstring>

namespace lockstep::quant {

inline float float_of_bits(uint32_t bits) {
  float value;
  std::memcpy(&value, &bits, sizeof(value));
  return value;
}

inline uint16_t read_u16(const uint8_t* p) { return static_cast<uint16_t>(p[0] | p[1] << 8); }

inline float bf16_to_float(uint16_t h) { return float_of_bits(static_cast<uint32_t>(h) << 16); }

// Round to nearest even; NaN stays NaN.
inline uint16_t float_to_bf16(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof(bits));
  if ((bits & 0x7fffffffU) > 0x7f800000U) return static_cast<uint16_t>(bits >> 16 | 0x40U);
  return static_cast<uint16_t>((bits + 0x7fffU + (bits >> 16 & 1U)) >> 16);
}

inline float half_to_float(uint16_t h) {
  const uint32_t sign = static_cast<uint32_t>(h & 0x8000) << 16;
  const uint32_t rest = h & 0x7fffu;
  if (rest >= 0x7c00) return float_of_bits(sign | 0x7f800000u | (rest & 0x3ff) << 13);
  // 2^112 rebiases the exponent: exact, and right for subnormals too.
  const float magnitude = float_of_bits(rest << 13) * float_of_bits(0x77800000u);
  return sign != 0 ? -magnitude : magnitude;
}

// To the nearest half, ties to even; beyond the largest half: infinity.
inline uint16_t float_to_half(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof(bits));
  const uint16_t sign = static_cast<uint16_t>(bits >> 16 & 0x8000);
  bits &= 0x7fffffffu;
  if (bits > 0x7f800000u) return sign | 0x7e00;
  if (bits >= 0x477ff000u) return sign | 0x7c00;  // 65520 and more
  if (bits < 0x38800000u) {
    // Below 2^-14 halves are multiples of 2^-24: adding 0.5 leaves just those bits in the fraction, rounded.
    float shifted = float_of_bits(bits) + 0.5F;
    std::memcpy(&bits, &shifted, sizeof(bits));
    return static_cast<uint16_t>(sign | (bits - 0x3f000000u));
  }
  return static_cast<uint16_t>(sign | (bits - 0x38000000u + 0xfff + (bits >> 13 & 1)) >> 13);
}

// Sign, 4 bits of exponent (bias 7), 3 of fraction; no infinities, and only 0x7f and 0xff are NaN (Micikevicius et al. 2022).
inline float f8_e4m3_to_float(uint8_t code) {
  const uint32_t sign = static_cast<uint32_t>(code & 0x80) << 24;
  const uint32_t rest = code & 0x7fu;
  if (rest == 0x7f) return float_of_bits(sign | 0x7fc00000u);
  // 2^120 rebiases the exponent: exact, and right for subnormals too.
  const float magnitude = float_of_bits(rest << 20) * float_of_bits(0x7b800000u);
  return sign != 0 ? -magnitude : magnitude;
}

inline float read_half(const uint8_t* p) { return half_to_float(read_u16(p)); }

}  // namespace lockstep::quant
