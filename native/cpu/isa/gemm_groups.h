// The tile of the quantised formats: codes of up to 8 bits with a scale for each group of 32 along K. Activations have int8 codes with a
// float scale each 32; in fine groups they have 15 bits in two int8 halves (quantize.cpp). The products of a group are summed exactly in
// int32, then scaled and added in float32, groups in order. A tile takes the second halves where any of its rows is fine: the others'
// are zeros there, and since 128 times a sum of first halves is exact in float32 too, such a row gets the bits that it gets elsewhere.
//
// A format says where its codes and scales lie:
//   kGroupBytes, kOffset, kHasMin        weight = scale * (code + kOffset) [+ minimum]
//   kFetches                             vectors of 128 bytes of codes in a group
//   codes(group, i, lane)                the vector of k = 4i … 4i+3 for the rows from `lane` on
//   scale(group, lane), least(group, lane)
#pragma once

#include "gemm.h"

namespace lockstep::cpu::LOCKSTEP_ISA {
namespace {

constexpr int kGroupVectors = kGroup / 4;

// Bit g % 64 is set where group g is fine in any row of the tile; g is a multiple of 64.
template <int rows>
LOCKSTEP_INLINE uint64_t fine_groups(const uint64_t* const (&fine)[rows], int g) {
  uint64_t any = 0;
  for (int r = 0; r < rows; r++) any |= fine[r][g / 64];
  return any;
}

// sums += codes of one group * one half of the activations' codes, which lie at values[r].
template <class F, int rows, int vectors>
LOCKSTEP_INLINE void add_products(const uint8_t* w, int lane, const int8_t* const (&values)[rows], int at, Ahead& ahead,
                                  Int (&sums)[rows][vectors]) {
#pragma GCC unroll 8
  for (int i = 0; i < kGroupVectors; i++) {
    if (i % (kGroupVectors / F::kFetches) == 0) ahead.fetch();
    Bytes weight[vectors];
    for (int v = 0; v < vectors; v++) weight[v] = F::codes(w, i, lane + v * kLanes);
    for (int r = 0; r < rows; r++) {
      const Bytes value = set1_bytes(values[r] + at + i * 4);
      for (int v = 0; v < vectors; v++) sums[r][v] = F::dot(sums[r][v], weight[v], value);
    }
  }
}

// The same of both halves: what the first gave counts 128 times.
template <class F, int rows, int vectors>
LOCKSTEP_INLINE void fine_products(const uint8_t* w, int lane, const int8_t* const (&q)[rows], const int32_t* const (&code_sums)[rows], int g,
                                   Ahead& ahead, Int (&sums)[rows][vectors]) {
  Int first[rows][vectors] = {};
  add_products<F>(w, lane, q, 2 * g * kGroup, ahead, first);
  for (int r = 0; r < rows; r++) {
    const Int offset = set1_int(F::kOffset * group_sum(code_sums[r], g));
    for (int v = 0; v < vectors; v++) sums[r][v] = times_128_plus(first[r][v], offset);
  }
  Ahead nothing{nullptr, 0};
  add_products<F>(w, lane, q, (2 * g + 1) * kGroup, nothing, sums);
}

template <class F, int rows>
LOCKSTEP_INLINE void groups_tile(const uint8_t* block, const Input& in, const TileRows& index, Ahead ahead, float* y) {
  constexpr int kVectors = tile_vectors(rows, kIntTileRows);
  ahead = Ahead::in_passes(ahead, kBlockRows / kLanes / kVectors);
  const int groups = in.k_padded / kGroup;
  const int8_t* q[rows];
  const uint64_t* fine[rows];
  const float* scales[rows];
  const int32_t* code_sums[rows];
  for (int r = 0; r < rows; r++) {
    const size_t at = static_cast<size_t>(index[r]) * groups;
    q[r] = in.q + at * 2 * kGroup;
    scales[r] = in.scale + at;
    code_sums[r] = in.sum + at * (kGroup / kSumGroup);
    fine[r] = in.fine + static_cast<size_t>(index[r]) * fine_words(in.k_padded);
  }
  for (int lane = 0; lane < kBlockRows; lane += kVectors * kLanes) {
    const uint8_t* w = block;
    uint64_t fine_here = 0;
    Float acc[rows][kVectors] = {};
    for (int g = 0; g < groups; g++, w += F::kGroupBytes, fine_here >>= 1) {
      if (g % 64 == 0) fine_here = fine_groups(fine, g);
      const bool is_fine = (fine_here & 1) != 0;
      Int sums[rows][kVectors];
      if (is_fine) {
        fine_products<F>(w, lane, q, code_sums, g, ahead, sums);
      } else {
        for (int r = 0; r < rows; r++) {
          const Int offset = set1_int(F::kOffset * (group_sum(code_sums[r], g) >> 7));  // exact: the second halves are zeros
          for (int v = 0; v < kVectors; v++) sums[r][v] = offset;
        }
        add_products<F>(w, lane, q, 2 * g * kGroup, ahead, sums);
      }
      Float scale[kVectors];
      Float least[kVectors];
      for (int v = 0; v < kVectors; v++) {
        scale[v] = F::scale(w, lane + v * kLanes) * set1(is_fine ? 1.0f : 128.0f);
        least[v] = F::kHasMin ? F::least(w, lane + v * kLanes) : zero();
      }
      for (int r = 0; r < rows; r++) {
        const Float row_scale = set1(scales[r][g]);
        const Float row_sum = set1(F::kHasMin ? static_cast<float>(group_sum(code_sums[r], g)) : 0.0f);
        for (int v = 0; v < kVectors; v++) {
          Float value = to_float(sums[r][v]) * scale[v];
          if (F::kHasMin) value = fma(least[v], row_sum, value);
          acc[r][v] = fma(value, row_scale, acc[r][v]);
        }
      }
    }
    store_sums(acc, lane, y);
  }
}

template <class F>
struct GroupsTiles {
  template <int rows>
  static void tile(const uint8_t* block, const Input& in, const TileRows& index, Ahead ahead, float* y) {
    groups_tile<F, rows>(block, in, index, ahead, y);
  }
};

template <class F>
void gemm_groups(const Packed& w, int first, int count, const Input& in, int m, const GemmOut& out) {
  static constexpr TileFn kTiles[kIntTileRows] = LOCKSTEP_INT_TILES(GroupsTiles<F>::template tile);
  gemm_blocks(kTiles, 2, w, first, count, in, m, out);
}

}  // namespace
}  // namespace lockstep::cpu::LOCKSTEP_ISA
