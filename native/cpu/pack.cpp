// Float weights into their packed blocks and, for the tied embedding, one row back out; quantised ones are in pack_codes.cpp. Layouts:
// isa/layout.h. Not hot: runs at load (and unpack_row once a token), so it is plain code.
#include <cstring>

#include "families.h"
#include "isa/isa.h"
#include "isa/layout.h"

namespace lockstep::cpu::LOCKSTEP_ISA {
namespace {

constexpr int kTileWords = 16;  // a cache line of each row

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

void unpack_row(Format format, const uint8_t* block, int row, int cols, float* dst) {
  if (format != Format::kF32 && format != Format::kBf16) return unpack_codes(format, block, row, cols, dst);
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
