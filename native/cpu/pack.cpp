// Weights into their packed blocks and, for the tied embedding, one row back out. Layouts: isa/layout.h. Not hot: runs at load
// (and unpack_row once a token), so it is plain code.
#include <cstring>

#include "families.h"
#include "isa/isa.h"
#include "isa/layout.h"

namespace lockstep::cpu::LOCKSTEP_ISA {
namespace {

constexpr size_t kHalfBytes = 2;
constexpr int kTileWords = 16;  // a cache line of each row

// GGUF block bytes of 32 values: half scale, then (q4_1) half minimum, then the values.
struct Source {
  size_t block_bytes;
  size_t values;  // offset of the values
};
Source source_of(Format format) {
  if (format == Format::kQ8_0) return {34, 2};
  if (format == Format::kQ4_0) return {18, 2};
  return {20, 4};
}

size_t group_bytes(Format format) { return format == Format::kQ8_0 ? kQ8Group : format == Format::kQ4_0 ? kQ40Group : kQ41Group; }

// Byte of value k of row r inside a packed 4-bit group; k % 8 >= 4 lies in its high nibble.
size_t nibble_byte(int k, int r) { return (static_cast<size_t>(k / 8) * kBlockRows + r) * 4 + k % 4; }

void pack_q8_group(const uint8_t* values, int r, uint8_t* group) {
  for (int k = 0; k < kGroup; k++) group[(static_cast<size_t>(k / 4) * kBlockRows + r) * 4 + k % 4] = values[k] ^ kByteZero;
}

void pack_q4_group(const uint8_t* values, int r, uint8_t* group) {
  for (int k = 0; k < kGroup; k++) {
    const int nibble = k < 16 ? values[k] & 15 : values[k - 16] >> 4;  // GGUF: the second half is in the high nibbles
    group[nibble_byte(k, r)] |= static_cast<uint8_t>(nibble << (k % 8 >= 4 ? 4 : 0));
  }
}

float half_at(const uint8_t* p) {
  uint16_t h;
  memcpy(&h, p, kHalfBytes);
  return half_to_float(h);
}

void unpack_quantised(Format format, const uint8_t* block, int row, int cols, float* dst) {
  const size_t bytes = group_bytes(format);
  for (int k = 0; k < cols; k++) {
    const uint8_t* group = block + static_cast<size_t>(k / kGroup) * bytes;
    const int i = k % kGroup;
    if (format == Format::kQ8_0) {
      const auto q = static_cast<int8_t>(group[(static_cast<size_t>(i / 4) * kBlockRows + row) * 4 + i % 4] ^ kByteZero);
      dst[k] = half_at(group + kQ8Bytes + kHalfBytes * row) * static_cast<float>(q);
      continue;
    }
    const int q = (group[nibble_byte(i, row)] >> (i % 8 >= 4 ? 4 : 0)) & 15;
    const float scale = half_at(group + kQ4Bytes + kHalfBytes * row);
    if (format == Format::kQ4_0) {
      dst[k] = scale * static_cast<float>(q - 8);
    } else {
      const float product = scale * static_cast<float>(q);
      dst[k] = product + half_at(group + kQ4Bytes + kScaleBytes + kHalfBytes * row);
    }
  }
}

}  // namespace

size_t packed_block_bytes(Format format, int cols) { return block_bytes(format, cols); }

// Rows become lanes: a transposition, in tiles of kTileWords lines so that what is read and what is written both stay in L1. Going row by
// row through the whole block wrote every line 32 times from L2 and took ten times as long.
void pack_float(Format format, const float* const* rows, int num_rows, int cols, uint8_t* dst) {
  memset(dst, 0, block_bytes(format, cols));
  const bool f32 = format == Format::kF32;
  const int per_word = f32 ? 1 : 2;
  const int words = (cols + per_word - 1) / per_word;
  uint32_t tile[kBlockRows][kTileWords];
  for (int first = 0; first < words; first += kTileWords) {
    const int count = words - first < kTileWords ? words - first : kTileWords;
    memset(tile, 0, sizeof(tile));
    for (int r = 0; r < num_rows; r++) {
      if (rows[r] == nullptr) continue;
      const float* from = rows[r] + static_cast<size_t>(first) * per_word;
      if (f32) {
        memcpy(tile[r], from, sizeof(float) * static_cast<size_t>(count));
        continue;
      }
      const int values = cols - first * 2 < count * 2 ? cols - first * 2 : count * 2;
      uint16_t halves[kTileWords * 2] = {};
      for (int k = 0; k < values; k++) halves[k] = to_bf16(from[k]);
      memcpy(tile[r], halves, sizeof(halves));
    }
    uint32_t* out = reinterpret_cast<uint32_t*>(dst) + static_cast<size_t>(first) * kBlockRows;
    for (int w = 0; w < count; w++) {
      for (int r = 0; r < kBlockRows; r++) out[w * kBlockRows + r] = tile[r][w];
    }
  }
}

void pack_blocks(Format format, const uint8_t* const* rows, int num_rows, int cols, uint8_t* dst) {
  const Source source = source_of(format);
  const size_t bytes = group_bytes(format);
  const size_t scales = format == Format::kQ8_0 ? kQ8Bytes : kQ4Bytes;
  memset(dst, 0, block_bytes(format, cols));  // rows that are missing have scale and minimum 0
  for (int g = 0; g < cols / kGroup; g++) {
    uint8_t* group = dst + g * bytes;
    for (int r = 0; r < num_rows; r++) {
      if (rows[r] == nullptr) continue;
      const uint8_t* block = rows[r] + g * source.block_bytes;
      if (format == Format::kQ8_0) {
        pack_q8_group(block + source.values, r, group);
      } else {
        pack_q4_group(block + source.values, r, group);
      }
      memcpy(group + scales + kHalfBytes * r, block, kHalfBytes);
      if (format == Format::kQ4_1) memcpy(group + scales + kScaleBytes + kHalfBytes * r, block + 2, kHalfBytes);
    }
  }
}

void unpack_row(Format format, const uint8_t* block, int row, int cols, float* dst) {
  if (format != Format::kF32 && format != Format::kBf16) return unpack_quantised(format, block, row, cols, dst);
  for (int k = 0; k < cols; k++) {
    if (format == Format::kF32) {
      memcpy(dst + k, block + (static_cast<size_t>(k) * kBlockRows + row) * 4, 4);
    } else {
      uint16_t value;
      memcpy(&value, block + ((static_cast<size_t>(k / 2) * kBlockRows + row) * 2 + k % 2) * 2, 2);
      dst[k] = from_bf16(value);
    }
  }
}

}  // namespace lockstep::cpu::LOCKSTEP_ISA
