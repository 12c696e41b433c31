// GGUF K-quants: super-blocks of 256 values whose sub-blocks of 16 or 32 have small integer scales, themselves scaled by halves.
// Formats: ggml's quantisation reference. Each function decodes one super-block.
#pragma once

#include "float_formats.h"

namespace lockstep::quant {

constexpr int kSuperBlock = 256;

// scales[16] (low nibble scale, high nibble minimum), 2-bit values [64], half scale, half scale of the minimums: 84 bytes.
inline void decode_q2_k(const uint8_t* block, float* out) {
  const uint8_t* values = block + 16;
  const float scale = read_half(block + 80);
  const float least = read_half(block + 82);
  for (int i = 0; i < kSuperBlock; i++) {
    const int q = values[i / 128 * 32 + i % 32] >> (i % 128 / 32 * 2) & 3;
    const uint8_t sub = block[i / 16];
    out[i] = scale * static_cast<float>(sub & 15) * static_cast<float>(q) - least * static_cast<float>(sub >> 4);
  }
}

// 6-bit scale `i` of the sixteen in 12 bytes: low nibbles in bytes 0 … 7, two high bits each in bytes 8 … 11; minus 32.
inline int q3_k_scale(const uint8_t* packed, int i) {
  const int low = i < 8 ? packed[i] & 15 : packed[i - 8] >> 4;
  const int high = packed[8 + i % 4] >> (i / 4 * 2) & 3;
  return (low | high << 4) - 32;
}

// High bits [32], 2-bit values [64], scales [12], half scale: 110 bytes. A high bit that is 0 stands for -4.
inline void decode_q3_k(const uint8_t* block, float* out) {
  const uint8_t* values = block + 32;
  const float scale = read_half(block + 108);
  for (int i = 0; i < kSuperBlock; i++) {
    const int low = values[i / 128 * 32 + i % 32] >> (i % 128 / 32 * 2) & 3;
    const int high = block[i % 32] >> (i / 32) & 1;
    out[i] = scale * static_cast<float>(q3_k_scale(block + 96, i / 16)) * static_cast<float>(low - (high != 0 ? 0 : 4));
  }
}

// 6-bit scale and minimum `i` of the eight in 12 bytes, as q4_K and q5_K have them.
struct ScaleMin {
  int scale;
  int least;
};
inline ScaleMin k_scale_min(const uint8_t* packed, int i) {
  if (i < 4) return {packed[i] & 63, packed[i + 4] & 63};
  return {(packed[i + 4] & 15) | packed[i - 4] >> 6 << 4, packed[i + 4] >> 4 | packed[i] >> 6 << 4};
}

// Half scale, half scale of the minimums, scales and minimums [12], 4-bit values [128]: 144 bytes.
inline void decode_q4_k(const uint8_t* block, float* out) {
  const float scale = read_half(block);
  const float least = read_half(block + 2);
  for (int i = 0; i < kSuperBlock; i++) {
    const ScaleMin sub = k_scale_min(block + 4, i / 32);
    const int q = block[16 + i / 64 * 32 + i % 32] >> (i / 32 % 2 * 4) & 15;
    out[i] = scale * static_cast<float>(sub.scale) * static_cast<float>(q) - least * static_cast<float>(sub.least);
  }
}

// As q4_K with the fifth bits [32] between scales and values: 176 bytes.
inline void decode_q5_k(const uint8_t* block, float* out) {
  const float scale = read_half(block);
  const float least = read_half(block + 2);
  for (int i = 0; i < kSuperBlock; i++) {
    const ScaleMin sub = k_scale_min(block + 4, i / 32);
    const int low = block[48 + i / 64 * 32 + i % 32] >> (i / 32 % 2 * 4) & 15;
    const int high = (block[16 + i % 32] >> (i / 32) & 1) << 4;
    out[i] = scale * static_cast<float>(sub.scale) * static_cast<float>(low | high) - least * static_cast<float>(sub.least);
  }
}

// Low nibbles [128], two high bits [64], int8 scales [16], half scale: 210 bytes.
inline void decode_q6_k(const uint8_t* block, float* out) {
  const int8_t* scales = reinterpret_cast<const int8_t*>(block + 192);
  const float scale = read_half(block + 208);
  for (int i = 0; i < kSuperBlock; i++) {
    const int half = i / 128;
    const int quarter = i % 128 / 32;
    const int low = block[half * 64 + quarter % 2 * 32 + i % 32] >> (quarter / 2 * 4) & 15;
    const int high = block[128 + half * 32 + i % 32] >> (quarter * 2) & 3;
    out[i] = scale * static_cast<float>(scales[i / 16]) * static_cast<float>((low | high << 4) - 32);
  }
}

}  // namespace lockstep::quant
