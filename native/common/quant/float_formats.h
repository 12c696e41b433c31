// float16 and bfloat16 to float32, exactly.
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

inline float half_to_float(uint16_t h) {
  const uint32_t sign = static_cast<uint32_t>(h & 0x8000) << 16;
  const uint32_t rest = h & 0x7fffu;
  if (rest >= 0x7c00) return float_of_bits(sign | 0x7f800000u | (rest & 0x3ff) << 13);
  // 2^112 rebiases the exponent: exact, and right for subnormals too.
  const float magnitude = float_of_bits(rest << 13) * float_of_bits(0x77800000u);
  return sign != 0 ? -magnitude : magnitude;
}

inline float read_half(const uint8_t* p) { return half_to_float(read_u16(p)); }

}  // namespace lockstep::quant
