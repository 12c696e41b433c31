#include "common/quant/dequantize.h"

#include <cmath>
#include <cstring>

namespace lockstep::quant {
namespace {

float half_to_float(uint16_t half) {
  const int exponent = half >> 10 & 31;
  const int mantissa = half & 1023;
  const float sign = (half & 0x8000) != 0 ? -1.0F : 1.0F;
  if (exponent == 0) return sign * std::ldexp(static_cast<float>(mantissa), -24);
  if (exponent == 31) return mantissa == 0 ? sign * INFINITY : NAN;
  return sign * std::ldexp(static_cast<float>(1024 + mantissa), exponent - 25);
}

template <typename T>
T load(const uint8_t* bytes) {
  T value;
  std::memcpy(&value, bytes, sizeof(T));
  return value;
}

}  // namespace

BlockShape block_shape(ElementType type) {
  switch (type) {
    case ElementType::kF32:
      return {1, 4};
    case ElementType::kF16:
    case ElementType::kBf16:
      return {1, 2};
    case ElementType::kQ8_0:
      return {32, 34};
    case ElementType::kQ4_0:
      return {32, 18};
    case ElementType::kQ4_1:
      return {32, 20};
    default:
      return {0, 0};
  }
}

void dequantize_row(ElementType type, const uint8_t* bytes, int count, float* out) {
  switch (type) {
    case ElementType::kF32:
      std::memcpy(out, bytes, sizeof(float) * static_cast<size_t>(count));
      return;
    case ElementType::kF16:
      for (int i = 0; i < count; i++) out[i] = half_to_float(load<uint16_t>(bytes + 2 * i));
      return;
    case ElementType::kBf16:
      for (int i = 0; i < count; i++) {
        const uint32_t bits = static_cast<uint32_t>(load<uint16_t>(bytes + 2 * i)) << 16;
        std::memcpy(out + i, &bits, sizeof(bits));
      }
      return;
    case ElementType::kQ8_0:
      for (int i = 0; i < count; i++) {
        const uint8_t* block = bytes + i / 32 * 34;
        out[i] = half_to_float(load<uint16_t>(block)) * static_cast<float>(static_cast<int8_t>(block[2 + i % 32]));
      }
      return;
    case ElementType::kQ4_0:
    case ElementType::kQ4_1: {
      const bool has_min = type == ElementType::kQ4_1;
      const int size = has_min ? 20 : 18;
      for (int i = 0; i < count; i++) {
        const uint8_t* block = bytes + i / 32 * size;
        const int at = i % 32;
        const uint8_t byte = block[size - 16 + at % 16];
        const int nibble = at < 16 ? byte & 15 : byte >> 4;
        const float scale = half_to_float(load<uint16_t>(block));
        out[i] = has_min ? scale * static_cast<float>(nibble) + half_to_float(load<uint16_t>(block + 2)) : scale * static_cast<float>(nibble - 8);
      }
      return;
    }
    default:
      return;
  }
}

}  // namespace lockstep::quant
