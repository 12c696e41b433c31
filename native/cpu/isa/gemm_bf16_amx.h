// y = W x with bf16 in AMX tiles: of a block's 32 weight rows two tiles [16 pairs of k][16 rows], of the activations up to two tiles
// [16 rows][32 k], four tiles of sums. A sum is made over 32 k at a time, in order, so its bits depend on nothing but its row and its
// column.
#pragma once

#include "gemm.h"

namespace lockstep::cpu::LOCKSTEP_ISA {
namespace {

constexpr int kPassRows = 2 * kTileSide;
constexpr int kStepValues = kTileBytes / 2;                                       // of K
constexpr size_t kStepBytes = static_cast<size_t>(kStepValues) * kBlockRows * 2;  // of a block

// The rows of one pass, where they lie one behind the other, or copied side by side for each step (experts).
class PassRows {
 public:
  PassRows(const Input& in, const TileRows& index, int rows)
      : in_(in), index_(index), rows_(rows), in_place_(index.gather == nullptr), ld_(static_cast<size_t>(in.k_padded)) {}

  size_t stride() const { return in_place_ ? ld_ * 2 : kTileBytes; }
  const void* at(int k) {
    if (in_place_) return in_.bf16 + static_cast<size_t>(index_.first) * ld_ + k;
    for (int r = 0; r < rows_; r++) {
      store_copy(copy_ + static_cast<size_t>(r) * kStepValues, load_pairs(in_.bf16 + static_cast<size_t>(index_[r]) * ld_ + k));
    }
    written_for_tiles();
    return copy_;
  }

 private:
  static void store_copy(uint16_t* to, Pairs from) { memcpy(to, &from, sizeof(from)); }

  const Input& in_;
  const TileRows index_;
  const int rows_;
  const bool in_place_;
  const size_t ld_;
  alignas(kTileBytes) uint16_t copy_[kPassRows * kStepValues];
};

// y[rows, 32] of one block. two: more than 16 rows.
template <bool two>
void multiply_pass(const uint8_t* block, PassRows* x, int k_padded, Ahead ahead, float* y) {
  const size_t stride = x->stride();
  _tile_zero(0);
  _tile_zero(1);
  if (two) {
    _tile_zero(2);
    _tile_zero(3);
  }
  for (int k = 0; k < k_padded; k += kStepValues, block += kStepBytes) {
    for (int line = 0; line < kTileSide; line++) ahead.fetch();
    const uint8_t* rows = static_cast<const uint8_t*>(x->at(k));
    _tile_loadd(6, block, 2 * kTileBytes);
    _tile_loadd(4, rows, stride);
    _tile_loadd(7, block + kTileBytes, 2 * kTileBytes);
    _tile_dpbf16ps(0, 4, 6);
    _tile_dpbf16ps(1, 4, 7);
    if (two) {
      _tile_loadd(5, rows + kTileSide * stride, stride);
      _tile_dpbf16ps(2, 5, 6);
      _tile_dpbf16ps(3, 5, 7);
    }
  }
  constexpr size_t kRowBytes = sizeof(float) * kBlockRows;
  _tile_stored(0, y, kRowBytes);
  _tile_stored(1, y + kTileSide, kRowBytes);
  if (two) {
    _tile_stored(2, y + kTileSide * kBlockRows, kRowBytes);
    _tile_stored(3, y + kTileSide * kBlockRows + kTileSide, kRowBytes);
  }
  written_for_tiles();
}

static inline TileShapes pass_shapes(int rows) {
  TileShapes shapes;
  const int upper = rows < kTileSide ? rows : kTileSide;
  shapes.set(0, upper, kTileBytes);
  shapes.set(1, upper, kTileBytes);
  shapes.set(4, upper, kTileBytes);
  if (rows > upper) {
    shapes.set(2, rows - upper, kTileBytes);
    shapes.set(3, rows - upper, kTileBytes);
    shapes.set(5, rows - upper, kTileBytes);
  }
  shapes.set(6, kTileSide, kTileBytes);
  shapes.set(7, kTileSide, kTileBytes);
  return shapes;
}

void gemm_bf16_tiles(const Packed& w, int first, int count, const Input& in, int m, const GemmOut& out) {
  const size_t bytes = block_bytes(w.format, w.cols);
  const int rows = pass_rows(m, kPassRows);
  const int passes = (m + rows - 1) / rows;
  alignas(kTileBytes) float y[kPassRows * kBlockRows];
  configure_tiles(pass_shapes(rows));
  for (int block = first; block < first + count; block++) {
    const uint8_t* data = w.data + static_cast<size_t>(block) * bytes;
    const uint8_t* next = read_next(w, data, bytes, block + 1 == first + count);
    for (int pass = 0; pass < passes; pass++) {
      const int wanted = pass * rows;
      const int from = wanted + rows <= m ? wanted : m - rows;
      PassRows x(in, TileRows{out.in_rows, from}, rows);
      const Ahead ahead = ahead_of(next, bytes, pass, passes, true);
      (rows > kTileSide ? multiply_pass<true> : multiply_pass<false>)(data, &x, in.k_padded, ahead, y);
      store_tile(y + (wanted - from) * kBlockRows, from + rows - wanted, wanted, block, w.rows, out);
    }
  }
  release_tiles();
}

}  // namespace
}  // namespace lockstep::cpu::LOCKSTEP_ISA
