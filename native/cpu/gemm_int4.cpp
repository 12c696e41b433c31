// y = W x with q4_0 or q4_1 weights (4 bits, a half scale each 32 along K; q4_1 a half minimum too) and activations of 15 bits in
// two int8 halves (a float scale each 32). As gemm_int8.cpp; q4_0 stands for scale * (q - 8), so its group sum has -8 * (sum of the
// activations) added, and q4_1 adds minimum * (sum of the activations). Bound: 0.5625 (0.625) bytes a weight, 4 ops a weight and row.
#include "isa/gemm.h"

namespace lockstep::cpu::LOCKSTEP_ISA {
namespace {

template <int rows, bool has_min>
LOCKSTEP_INLINE void tile(const uint8_t* block, const Input& in, const TileRows& index, Ahead ahead, float* y) {
  constexpr int kVectors = tile_vectors(rows, kIntTileRows);
  constexpr int kSets = int_sets(rows);
  constexpr int kOffset = has_min ? 0 : -8;
  ahead = Ahead::in_passes(ahead, kBlockRows / kLanes / kVectors);
  const int groups = in.k_padded / kGroup;
  const int8_t* q[rows];
  size_t at[rows];
  for (int r = 0; r < rows; r++) {
    at[r] = static_cast<size_t>(index[r]) * groups;
    q[r] = in.q + at[r] * 2 * kGroup;
  }
  for (int lane = 0; lane < kBlockRows; lane += kVectors * kLanes) {
    const uint8_t* w = block;
    Float acc[rows][kVectors] = {};
    for (int g = 0; g < groups; g++, w += has_min ? kQ41Group : kQ40Group) {
      Int sums[kSets][rows][kVectors] = {};
      if (kSets == 2) start_sums(sums[kSets - 1], kOffset, in.sum, at, g);
      for (int half = 0; half < 2; half += kSets) {
        for (int c = 0; c < kGroup / 8; c++) {
          if (half == 0) ahead.fetch();
          Bytes low[kVectors];
          Bytes high[kVectors];
          for (int v = 0; v < kVectors; v++) {
            const Bytes both = load_bytes(w + (c * kBlockRows + lane + v * kLanes) * 4);
            low[v] = low_nibbles(both);
            high[v] = high_nibbles(both);
          }
          for (int r = 0; r < rows; r++) {
            for (int s = 0; s < kSets; s++) {
              const int8_t* values = q[r] + (2 * g + half + s) * kGroup + c * 8;
              const Bytes first = set1_bytes(values);
              const Bytes second = set1_bytes(values + 4);
              for (int v = 0; v < kVectors; v++) {
                sums[s][r][v] = dot_u4s8(dot_u4s8(sums[s][r][v], low[v], first), high[v], second);
              }
            }
          }
        }
        if (kSets == 1 && half == 0) join_halves(sums[0], kOffset, in.sum, at, g);
      }
      if (kSets == 2) join_sums(sums[0], sums[kSets - 1]);
      Float scale[kVectors];
      Float least[kVectors];
      for (int v = 0; v < kVectors; v++) {
        scale[v] = load_half(w + kQ4Bytes + (lane + v * kLanes) * 2);
        least[v] = has_min ? load_half(w + kQ4Bytes + kScaleBytes + (lane + v * kLanes) * 2) : zero();
      }
      for (int r = 0; r < rows; r++) {
        const Float row_scale = set1(in.scale[at[r] + g]);
        const Float row_sum = set1(static_cast<float>(group_sum(in.sum, at[r] + g)));
        for (int v = 0; v < kVectors; v++) {
          Float value = to_float(sums[0][r][v]) * scale[v];
          if (has_min) value = fma(least[v], row_sum, value);
          acc[r][v] = fma(value, row_scale, acc[r][v]);
        }
      }
    }
    store_sums(acc, lane, y);
  }
}

template <int rows>
void tile_q4_0(const uint8_t* block, const Input& in, const TileRows& index, Ahead ahead, float* y) {
  tile<rows, false>(block, in, index, ahead, y);
}
template <int rows>
void tile_q4_1(const uint8_t* block, const Input& in, const TileRows& index, Ahead ahead, float* y) {
  tile<rows, true>(block, in, index, ahead, y);
}

}  // namespace

void gemm_q4_0(const Packed& w, int first, int count, const Input& in, int m, const GemmOut& out) {
  static constexpr TileFn kTiles[kIntTileRows] = LOCKSTEP_INT_TILES(tile_q4_0);
  gemm_blocks(kTiles, 2, w, first, count, in, m, out);
}

void gemm_q4_1(const Packed& w, int first, int count, const Input& in, int m, const GemmOut& out) {
  static constexpr TileFn kTiles[kIntTileRows] = LOCKSTEP_INT_TILES(tile_q4_1);
  gemm_blocks(kTiles, 2, w, first, count, in, m, out);
}

}  // namespace lockstep::cpu::LOCKSTEP_ISA
