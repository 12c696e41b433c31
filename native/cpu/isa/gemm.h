// The loop that all matrix products share: weight blocks outermost, so that a step reads each weight once from memory; inside a block
// all m rows in tiles of a few activation rows, whose sums stay in registers over the whole of K. A tile's row count changes
// which sums share a pass and nothing about any one sum, so bits do not depend on m.
#pragma once

#include "../families.h"
#include "isa.h"
#include "layout.h"

namespace lockstep::cpu::LOCKSTEP_ISA {
namespace {

// Vectors of weights in one pass over K of a tile of `rows` rows: all of a block's where the registers hold their sums, so that a
// block is one stream of whole lines, else the tallest tile's.
constexpr int tile_vectors(int rows, int most_rows) {
  int vectors = kBlockRows / kLanes;
  while (vectors > kTileVectors && rows * vectors > most_rows * kTileVectors) vectors /= 2;
  return vectors;
}

// in_row(r) of the Input for the r-th row of a tile.
struct TileRows {
  const int32_t* gather;
  int first;
  int operator[](int r) const { return gather == nullptr ? first + r : gather[first + r]; }
};

// Fetches the next block towards the core while this one is multiplied, one or two lines each 128 bytes of weights. The hardware's own
// prefetch keeps up only as long as waiting is all there is to do: at 16 rows bf16 went from 290 to 500 GFLOP/s with this, int8
// from 430 to 690 (Zen 5, one thread). Past the last block it asks for what no one needs, which does no harm.
struct Ahead {
  const uint8_t* at;
  size_t step;  // bytes for each 128 bytes of the block; 0: nothing
  // For a tile that goes over the block several times.
  static inline __attribute__((always_inline)) Ahead in_passes(Ahead a, int passes) { return {a.at, a.step / passes}; }
  inline __attribute__((always_inline)) void fetch() {
    if (step == 0) return;
    __builtin_prefetch(at, 0, 2);
    if (step > 64) __builtin_prefetch(at + 64, 0, 2);
    at += step;
  }
};

// One tile: y[rows of the tile, 32] of one packed block. Calls ahead.fetch() once for each 128 bytes of the block and pass.
using TileFn = void (*)(const uint8_t* block, const Input& in, const TileRows& rows, Ahead ahead, float* y);

// The first tiles of a block share the next block's lines evenly. `alone`: whether the only tile of a block fetches ahead at all.
constexpr int kMostAhead = 8;
static inline Ahead ahead_of(const uint8_t* next, size_t bytes, int tile, int tiles, bool alone) {
  if (tiles == 1 && !alone) return {next, 0};
  const int sharing = tiles < kMostAhead ? tiles : kMostAhead;
  if (tile >= sharing) return {next, 0};
  return {next + bytes / sharing * tile, static_cast<size_t>(128 / sharing)};
}

// What is read after a block: of the last one of a call, what the caller says.
static inline const uint8_t* read_next(const Packed& w, const uint8_t* block, size_t bytes, bool is_last) {
  return is_last && w.then != nullptr ? w.then : block + bytes;
}

// Fetches the lines that a tile's results go to while it is computed: they lie with the core that read them last, or in memory.
LOCKSTEP_INLINE void fetch_out(const GemmOut& out, int block, int row_first, int rows) {
  const size_t width = out.epilogue == Epilogue::kGated ? kBlockRows / 2 : kBlockRows;
  const size_t value = out.bf16 != nullptr ? sizeof(uint16_t) : sizeof(float);
  const char* base = out.bf16 != nullptr ? reinterpret_cast<const char*>(out.bf16) : reinterpret_cast<const char*>(out.out);
  base += static_cast<size_t>(block) * width * value;
  for (int m = row_first; m < row_first + rows; m++) {
    const char* at = base + static_cast<size_t>(out.out_rows == nullptr ? m : out.out_rows[m]) * out.ld * value;
    __builtin_prefetch(at, 1, 3);
    if (width * value > 64) __builtin_prefetch(at + 64, 1, 3);
  }
}

static inline int tile_rows(int left, int most) {
  if (left <= most) return left;
  return left < 2 * most ? (left + 1) / 2 : most;  // 9 rows as 5 + 4 rather than 8 + 1
}

// tiles[r - 1] computes r rows, for r = 1 … most. ahead_from: rows from which a single tile fetches ahead.
template <int most>
void gemm_blocks(const TileFn (&tiles)[most], int ahead_from, const Packed& w, int first, int count, const Input& in, int m,
                 const GemmOut& out) {
  const size_t bytes = block_bytes(w.format, w.cols);
  const int num_tiles = (m + most - 1) / most;
  float y[most * kBlockRows];
  for (int block = first; block < first + count; block++) {
    const uint8_t* data = w.data + static_cast<size_t>(block) * bytes;
    const uint8_t* next = read_next(w, data, bytes, block + 1 == first + count);
    for (int row = 0, tile = 0; row < m; tile++) {
      const int rows = tile_rows(m - row, most);
      fetch_out(out, block, row, rows);
      tiles[rows - 1](data, in, TileRows{out.in_rows, row}, ahead_of(next, bytes, tile, num_tiles, m >= ahead_from), y);
      store_tile(y, rows, row, block, w.rows, out);
      row += rows;
    }
  }
}

constexpr int kGroupVectors = kGroup / 4;  // of a group's codes

template <int rows, int vectors>
LOCKSTEP_INLINE void store_sums(const Float (&acc)[rows][vectors], int lane, float* y) {
  for (int r = 0; r < rows; r++) {
    for (int v = 0; v < vectors; v++) store(y + r * kBlockRows + lane + v * kLanes, acc[r][v]);
  }
}

}  // namespace
}  // namespace lockstep::cpu::LOCKSTEP_ISA
