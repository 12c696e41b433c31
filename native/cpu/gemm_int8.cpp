// y = W x with q8_0 weights (int8, a half scale each 32 along K) and activations of 15 bits in two int8 halves (a float scale each 32). The
// products of a group are summed exactly in int32, then scaled and added in float32, groups in order. Weights are stored as q + kByteZero,
// so the group's sum has -kByteZero * (sum of the activations) added. Bound: 1.0625 bytes a weight, 4 ops a weight and row.
#include "isa/gemm.h"

namespace lockstep::cpu::LOCKSTEP_ISA {
namespace {

template <int rows>
void tile(const uint8_t* block, const Input& in, const TileRows& index, Ahead ahead, float* y) {
  constexpr int kVectors = tile_vectors(rows, kIntTileRows);
  constexpr int kSets = int_sets(rows);
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
    for (int g = 0; g < groups; g++, w += kQ8Group) {
      Int sums[kSets][rows][kVectors] = {};
      if (kSets == 2) start_sums(sums[kSets - 1], -kByteZero, in.sum, at, g);
      for (int half = 0; half < 2; half += kSets) {
        for (int c = 0; c < kGroup / 4; c++) {
          if (half == 0) ahead.fetch();
          Bytes weight[kVectors];
          for (int v = 0; v < kVectors; v++) weight[v] = load_bytes(w + (c * kBlockRows + lane + v * kLanes) * 4);
          for (int r = 0; r < rows; r++) {
            for (int s = 0; s < kSets; s++) {
              const Bytes value = set1_bytes(q[r] + (2 * g + half + s) * kGroup + c * 4);
              for (int v = 0; v < kVectors; v++) sums[s][r][v] = dot_u8s8(sums[s][r][v], weight[v], value);
            }
          }
        }
        if (kSets == 1 && half == 0) join_halves(sums[0], -kByteZero, in.sum, at, g);
      }
      if (kSets == 2) join_sums(sums[0], sums[kSets - 1]);
      Float scale[kVectors];
      for (int v = 0; v < kVectors; v++) scale[v] = load_half(w + kQ8Bytes + (lane + v * kLanes) * 2);
      for (int r = 0; r < rows; r++) {
        const Float row_scale = set1(in.scale[at[r] + g]);
        for (int v = 0; v < kVectors; v++) acc[r][v] = fma(to_float(sums[0][r][v]) * scale[v], row_scale, acc[r][v]);
      }
    }
    store_sums(acc, lane, y);
  }
}

}  // namespace

void gemm_q8_0(const Packed& w, int first, int count, const Input& in, int m, const GemmOut& out) {
  static constexpr TileFn kTiles[kIntTileRows] = LOCKSTEP_INT_TILES(tile);
  gemm_blocks(kTiles, 2, w, first, count, in, m, out);
}

}  // namespace lockstep::cpu::LOCKSTEP_ISA
