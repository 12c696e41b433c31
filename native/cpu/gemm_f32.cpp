// y = W x in float32: multiply-add along K in order, one lane an output row. Bound: 4 bytes a weight, 2 flops a weight and row.
#include "isa/gemm.h"

namespace lockstep::cpu::LOCKSTEP_ISA {
namespace {

template <int rows>
void tile(const uint8_t* block, const Input& in, const TileRows& index, Ahead ahead, float* y) {
  constexpr int kVectors = tile_vectors(rows, kTileRows);
  ahead = Ahead::in_passes(ahead, kBlockRows / kLanes / kVectors);
  const float* x[rows];
  for (int r = 0; r < rows; r++) x[r] = in.f32 + static_cast<size_t>(index[r]) * in.k_padded;
  for (int lane = 0; lane < kBlockRows; lane += kVectors * kLanes) {
    const float* w = reinterpret_cast<const float*>(block) + lane;
    Float acc[rows][kVectors] = {};
    for (int k = 0; k < in.k_padded; k++, w += kBlockRows) {
      ahead.fetch();
      Float weight[kVectors];
      for (int v = 0; v < kVectors; v++) weight[v] = load(w + v * kLanes);
      for (int r = 0; r < rows; r++) {
        const Float value = set1(x[r][k]);
        for (int v = 0; v < kVectors; v++) acc[r][v] = fma(weight[v], value, acc[r][v]);
      }
    }
    store_sums(acc, lane, y);
  }
}

}  // namespace

void gemm_f32(const Packed& w, int first, int count, const Input& in, int m, const GemmOut& out) {
  static constexpr TileFn kTiles[kTileRows] = LOCKSTEP_TILES(tile);
  gemm_blocks(kTiles, 3, w, first, count, in, m, out);
}

}  // namespace lockstep::cpu::LOCKSTEP_ISA
