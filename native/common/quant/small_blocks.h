// GGUF types with blocks of 32 values: one half scale (and a half minimum in the _1 types), then the values. Formats: ggml's quantisation
// reference. Of 4-bit values, 0 … 15 are in the low nibbles and 16 … 31 in the high ones. Each function decodes one block.
#pragma once

#include "float_formats.h"

namespace lockstep::quant {

constexpr int kSmallBlock = 32;

inline void decode_q8_0(const uint8_t* block, float* out) {
  const float scale = read_half(block);
  for (int i = 0; i < kSmallBlock; i++) out[i] = scale * static_cast<float>(static_cast<int8_t>(block[2 + i]));
}

inline void decode_q4_0(const uint8_t* block, float* out) {
  const float scale = read_half(block);
  for (int i = 0; i < 16; i++) {
    out[i] = scale * static_cast<float>((block[2 + i] & 15) - 8);
    out[i + 16] = scale * static_cast<float>((block[2 + i] >> 4) - 8);
  }
}

inline void decode_q4_1(const uint8_t* block, float* out) {
  const float scale = read_half(block);
  const float least = read_half(block + 2);
  for (int i = 0; i < 16; i++) {
    out[i] = scale * static_cast<float>(block[4 + i] & 15) + least;
    out[i + 16] = scale * static_cast<float>(block[4 + i] >> 4) + least;
  }
}

// The fifth bits of the 32 values stand in four bytes before the nibbles.
inline int fifth_bit(const uint8_t* bits, int i) { return (bits[i / 8] >> (i % 8) & 1) << 4; }

inline void decode_q5_0(const uint8_t* block, float* out) {
  const float scale = read_half(block);
  for (int i = 0; i < 16; i++) {
    const uint8_t both = block[6 + i];
    out[i] = scale * static_cast<float>(((both & 15) | fifth_bit(block + 2, i)) - 16);
    out[i + 16] = scale * static_cast<float>(((both >> 4) | fifth_bit(block + 2, i + 16)) - 16);
  }
}

inline void decode_q5_1(const uint8_t* block, float* out) {
  const float scale = read_half(block);
  const float least = read_half(block + 2);
  for (int i = 0; i < 16; i++) {
    const uint8_t both = block[8 + i];
    out[i] = scale * static_cast<float>((both & 15) | fifth_bit(block + 4, i)) + least;
    out[i + 16] = scale * static_cast<float>((both >> 4) | fifth_bit(block + 4, i + 16)) + least;
  }
}

// 4-bit codes into a table that is denser around zero.
inline void decode_iq4_nl(const uint8_t* block, float* out) {
  static constexpr int8_t kValues[16] = {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};
  const float scale = read_half(block);
  for (int i = 0; i < 16; i++) {
    out[i] = scale * static_cast<float>(kValues[block[2 + i] & 15]);
    out[i + 16] = scale * static_cast<float>(kValues[block[2 + i] >> 4]);
  }
}

}  // namespace lockstep::quant
