// y = W x with bf16 weights and activations, sums in float32: pairs along K in order. avx512 uses vdpbf16ps for every m, the
// others widen and multiply-add. Bound: 2 bytes a weight, 2 flops a weight and row.
#include "isa/isa.h"
#if defined(LOCKSTEP_HAS_TILES)
#include "isa/gemm_bf16_amx.h"
#else
#include "isa/gemm.h"
#endif

namespace lockstep::cpu::LOCKSTEP_ISA {
#if defined(LOCKSTEP_HAS_TILES)

void gemm_bf16(const Packed& w, int first, int count, const Input& in, int m, const GemmOut& out) {
  gemm_bf16_tiles(w, first, count, in, m, out);
}

#else
namespace {

template <int rows>
void tile(const uint8_t* block, const Input& in, const TileRows& index, Ahead ahead, float* y) {
  constexpr int kVectors = tile_vectors(rows, kTileRows);
  ahead = Ahead::in_passes(ahead, kBlockRows / kLanes / kVectors);
  const uint16_t* x[rows];
  for (int r = 0; r < rows; r++) x[r] = in.bf16 + static_cast<size_t>(index[r]) * in.k_padded;
  for (int lane = 0; lane < kBlockRows; lane += kVectors * kLanes) {
    const uint8_t* w = block + lane * 4;
    Float acc[rows][kVectors] = {};
    for (int k = 0; k < in.k_padded; k += 2, w += kBlockRows * 4) {
      ahead.fetch();
      Pairs weight[kVectors];
      for (int v = 0; v < kVectors; v++) weight[v] = load_pairs(w + v * kLanes * 4);
      for (int r = 0; r < rows; r++) {
        const Pairs value = set1_pairs(x[r] + k);
        for (int v = 0; v < kVectors; v++) acc[r][v] = dot_bf16(acc[r][v], weight[v], value);
      }
    }
    store_sums(acc, lane, y);
  }
}

}  // namespace

void gemm_bf16(const Packed& w, int first, int count, const Input& in, int m, const GemmOut& out) {
  static constexpr TileFn kTiles[kTileRows] = LOCKSTEP_TILES(tile);
  gemm_blocks(kTiles, 3, w, first, count, in, m, out);
}

#endif
}  // namespace lockstep::cpu::LOCKSTEP_ISA
