// Attention over a bf16 cache in AMX tiles: 16 query rows at a time, whose keys and values lie in the cache as the tiles want them.
//   scores   [rows, 16 keys] += q [rows, 32 dims] * K tile [16 pairs of dims][16 keys], 4 K tiles at a time; of the head dims that are left
//            over 32, a tile as narrow as they are
//   values   [rows, 16 dims] += weights [rows, 16 keys] * V tile [8 pairs of keys][16 dims], 4 times 16 dims at a time
// A sum is made over the dims of a tile, then over tiles, in order; over keys by V tiles, in order. Keys that a row does not see weigh 0.
#pragma once

#include "attention.h"

namespace lockstep::cpu::LOCKSTEP_ISA {
namespace {

// The loads and weights are those of the kind that multiplies vectors.
struct InTiles : Words<true> {
  static constexpr int kRows = kTileSide;
  static constexpr bool kUnrolled = false;  // the tiles have the loop
  static constexpr int kStepDims = kTileBytes / 2;
  static constexpr int kKeyBytes = kKeyTile * 2;  // of the weights of one V tile

  LOCKSTEP_INLINE int left_over(const AttentionArgs& a) { return a.kv.head_dim % kStepDims; }

  static void begin(const AttentionArgs& a, int rows) {
    TileShapes shapes;
    for (int sum = 0; sum < kQueryVectors; sum++) shapes.set(sum, rows, kTileBytes);
    shapes.set(4, rows, kTileBytes);
    shapes.set(5, kTileSide, kTileBytes);
    if (left_over(a) > 0) {
      shapes.set(6, rows, left_over(a) * 2);
      shapes.set(7, left_over(a) / 2, kTileBytes);
    }
    configure_tiles(shapes);
  }

  template <int rows, int vectors, bool ahead>
  LOCKSTEP_INLINE void dots(const AttentionArgs& a, const Tiles& tiles, int at, Scratch* s) {
    KeysAhead<vectors> next(tiles, at);
    zero_sums<vectors>();
    const int steps = a.kv.head_dim / kStepDims;
    written_for_tiles();
    for (int step = 0; step < steps; step++) {
      for (int line = 0; ahead && line < kTileSide; line++) next.fetch();
      const size_t from = static_cast<size_t>(step) * kTileSide * kTileBytes;
      _tile_loadd(4, s->q[0] + step * kTileBytes, sizeof(s->q[0]));
      _tile_loadd(5, tiles.k[at] + from, kTileBytes);
      _tile_dpbf16ps(0, 4, 5);
      if constexpr (vectors > 1) {
        _tile_loadd(5, tiles.k[at + 1] + from, kTileBytes);
        _tile_dpbf16ps(1, 4, 5);
      }
      if constexpr (vectors > 2) {
        _tile_loadd(5, tiles.k[at + 2] + from, kTileBytes);
        _tile_dpbf16ps(2, 4, 5);
        _tile_loadd(5, tiles.k[at + 3] + from, kTileBytes);
        _tile_dpbf16ps(3, 4, 5);
      }
    }
    if (left_over(a) > 0) {
      const size_t from = static_cast<size_t>(steps) * kTileSide * kTileBytes;
      _tile_loadd(6, s->q[0] + steps * kTileBytes, sizeof(s->q[0]));
      _tile_loadd(7, tiles.k[at] + from, kTileBytes);
      _tile_dpbf16ps(0, 6, 7);
      if constexpr (vectors > 1) {
        _tile_loadd(7, tiles.k[at + 1] + from, kTileBytes);
        _tile_dpbf16ps(1, 6, 7);
      }
      if constexpr (vectors > 2) {
        _tile_loadd(7, tiles.k[at + 2] + from, kTileBytes);
        _tile_dpbf16ps(2, 6, 7);
        _tile_loadd(7, tiles.k[at + 3] + from, kTileBytes);
        _tile_dpbf16ps(3, 6, 7);
      }
    }
    store_sums<vectors>(s->scores[0] + at * kKeyTile, sizeof(s->scores[0]));
    const Float scale = set1(a.softcap > 0.0f ? a.scale : a.scale * kLog2e);
    for (int r = 0; r < s->rows; r++) {
      for (int v = 0; v < vectors; v++) {
        float* scores = s->scores[r] + (at + v) * kLanes;
        store(scores, load(scores) * scale);
      }
    }
  }

  template <int rows>
  static void values(const AttentionArgs& a, const Tiles& tiles, int tile_begin, int tile_end, int query, const Scratch& s) {
    TileShapes shapes;
    for (int sum = 0; sum < kQueryVectors; sum++) shapes.set(sum, s.rows, kTileBytes);
    shapes.set(4, s.rows, kKeyBytes);
    shapes.set(5, kKeyTile / 2, kTileBytes);
    configure_tiles(shapes);
    float* out = a.acc + static_cast<size_t>(query) * a.kv.head_dim;
    values_of<kQueryVectors>(a, tiles, tile_begin, tile_end, s, out);
  }

  LOCKSTEP_INLINE void end() { release_tiles(); }

 private:
  // 16 * vectors head dims at a time; the last ones may overlap those before and come out the same.
  template <int vectors>
  static void values_of(const AttentionArgs& a, const Tiles& tiles, int tile_begin, int tile_end, const Scratch& s, float* out) {
    constexpr int kWidth = vectors * kTileSide;
    const int dims = a.kv.head_dim;
    if constexpr (vectors > 1) {
      if (dims < kWidth) return values_of<vectors / 2>(a, tiles, tile_begin, tile_end, s, out);
    }
    const size_t row_bytes = static_cast<size_t>(dims) * 4;  // of a V tile, and of the results
    for (int dim = 0; dim < dims; dim += kWidth) {
      const int from = dim + kWidth <= dims ? dim : dims - kWidth;
      zero_sums<vectors>();
      for (int t = tile_begin; t < tile_end; t++) {
        const uint8_t* tile = tiles.v[t] + static_cast<size_t>(from) * 4;
        _tile_loadd(4, s.weights[0] + static_cast<size_t>(t) * kKeyBytes, sizeof(s.weights[0]));
        _tile_loadd(5, tile, row_bytes);
        _tile_dpbf16ps(0, 4, 5);
        if constexpr (vectors > 1) {
          _tile_loadd(5, tile + kTileBytes, row_bytes);
          _tile_dpbf16ps(1, 4, 5);
        }
        if constexpr (vectors > 2) {
          _tile_loadd(5, tile + 2 * kTileBytes, row_bytes);
          _tile_dpbf16ps(2, 4, 5);
          _tile_loadd(5, tile + 3 * kTileBytes, row_bytes);
          _tile_dpbf16ps(3, 4, 5);
        }
      }
      store_sums<vectors>(out + from, row_bytes);
    }
  }

  template <int vectors>
  LOCKSTEP_INLINE void zero_sums() {
    _tile_zero(0);
    if constexpr (vectors > 1) _tile_zero(1);
    if constexpr (vectors > 2) {
      _tile_zero(2);
      _tile_zero(3);
    }
  }

  // Sums of 16 columns each side by side.
  template <int vectors>
  LOCKSTEP_INLINE void store_sums(float* out, size_t row_bytes) {
    _tile_stored(0, out, row_bytes);
    if constexpr (vectors > 1) _tile_stored(1, out + kTileSide, row_bytes);
    if constexpr (vectors > 2) {
      _tile_stored(2, out + 2 * kTileSide, row_bytes);
      _tile_stored(3, out + 3 * kTileSide, row_bytes);
    }
    written_for_tiles();
  }
};

}  // namespace
}  // namespace lockstep::cpu::LOCKSTEP_ISA
