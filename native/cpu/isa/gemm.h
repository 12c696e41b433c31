// The loop that all matrix products share: weight blocks outermost, so that a step reads each weight once from memory; inside a block
// all m rows in tiles of a few activation rows, whose sums stay in registers over the whole of K. A tile's row count changes
// which sums share a pass and nothing about any one sum, so bits do not depend on m.
#pragma once

#include "../families.h"
#include "isa.h"
#include "layout.h"

namespace lockstep::cpu::LOCKSTEP_ISA {
namespace {

constexpr int kTileLanes = kTileVectors * kLanes;  // weight rows of one pass over K
static_assert(kBlockRows % kTileLanes == 0, "a block is a whole number of passes");

// in_row(r) of the Input for the r-th row of a tile.
struct TileRows {
  const int32_t* gather;
  int first;
  int operator[](int r) const { return gather == nullptr ? first + r : gather[first + r]; }
};

// One tile: y[rows of the tile, 32] of one packed block.
using TileFn = void (*)(const uint8_t* block, const Input& in, const TileRows& rows, float* y);

static inline int tile_rows(int left, int most) {
  if (left <= most) return left;
  return left < 2 * most ? (left + 1) / 2 : most;  // 9 rows as 5 + 4 rather than 8 + 1
}

// tiles[r - 1] computes r rows, for r = 1 … most.
template <int most>
void gemm_blocks(const TileFn (&tiles)[most], const Packed& w, int first, int count, const Input& in, int m, const GemmOut& out) {
  const size_t bytes = block_bytes(w.format, w.cols);
  float y[most * kBlockRows];
  for (int block = first; block < first + count; block++) {
    const uint8_t* data = w.data + static_cast<size_t>(block) * bytes;
    for (int row = 0; row < m;) {
      const int rows = tile_rows(m - row, most);
      tiles[rows - 1](data, in, TileRows{out.in_rows, row}, y);
      store_tile(y, rows, row, block, w.rows, out);
      row += rows;
    }
  }
}

template <int rows>
LOCKSTEP_INLINE void store_sums(const Float (&acc)[rows][kTileVectors], int lane, float* y) {
  for (int r = 0; r < rows; r++) {
    for (int v = 0; v < kTileVectors; v++) store(y + r * kBlockRows + lane + v * kLanes, acc[r][v]);
  }
}

}  // namespace
}  // namespace lockstep::cpu::LOCKSTEP_ISA
