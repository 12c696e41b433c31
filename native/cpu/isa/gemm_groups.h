// The tile of the quantised formats: codes of up to 8 bits with a scale for each group of 32 along K, or for each half of one. Activations
// have int8 codes with a float scale each 32; in fine groups they have 15 bits in two int8 halves (quantize.cpp). The products that share a
// scale are summed exactly in int32, then scaled and added in float32, in the order of K. A tile takes the second halves where any of its
// rows is fine: the others' are zeros there, and since 128 times a sum of first halves is exact in float32 too, such a row gets the bits
// that it gets elsewhere.
//
// A format says where its codes and scales lie:
//   kGroupBytes, kOffset, kHasMin        weight = scale * (code + kOffset) [+ minimum]
//   kSuperGroups, kHeader                groups under a header of so many bytes
//   kParts                               scales in a group: 1 or 2
//   codes(group, i, lane)                the vector of k = 4i … 4i+3 for the rows from `lane` on
//   scale(header, group, part, lane), least(header, group, lane)
#pragma once

#include "gemm.h"
#if defined(LOCKSTEP_HAS_TILES)
#include "gemm_groups_amx.h"
#endif

namespace lockstep::cpu::LOCKSTEP_ISA {
namespace {

// A format without super-blocks.
struct PlainGroups {
  static constexpr int kSuperGroups = 1;
  static constexpr size_t kHeader = 0;
  static constexpr int kParts = 1;
};

// 4-bit codes, or the low bits of wider ones: even vectors in the low nibbles, odd ones in the high.
LOCKSTEP_INLINE Bytes nibbles_of(const uint8_t* group, int i, int lane) {
  const Bytes both = load_bytes(group + (i / 2 * kBlockRows + lane) * 4);
  return i % 2 == 0 ? low_nibbles(both) : high_nibbles(both);
}

// Codes with `bits` more bits, from the plane behind the nibbles.
LOCKSTEP_INLINE Bytes wide_codes_of(const uint8_t* group, int i, int lane, int bits) {
  const int vectors = 8 / bits;  // that share a byte of the plane
  const Bytes plane = load_bytes(group + kQ4Bytes + (i / vectors * kBlockRows + lane) * 4);
  return with_bits(nibbles_of(group, i, lane), plane, i % vectors * bits, ((1 << bits) - 1) << 4);
}

// Sum of the activations' codes that share a scale of the weights.
template <class F>
LOCKSTEP_INLINE int32_t part_sum(const int32_t* sums, int g, int part) {
  return F::kParts == 1 ? group_sum(sums, static_cast<size_t>(g)) : sums[2 * g + part];
}

// Bit g % 64 is set where group g is fine in any row of the tile; g is a multiple of 64.
template <int rows>
LOCKSTEP_INLINE uint64_t fine_groups(const uint64_t* const (&fine)[rows], int g) {
  uint64_t any = 0;
  for (int r = 0; r < rows; r++) any |= fine[r][g / 64];
  return any;
}

// Where the activations of a tile's rows begin.
template <int rows>
struct TilePointers {
  const int8_t* q[rows];
  const float* scales[rows];
  const int32_t* code_sums[rows];
  inline __attribute__((always_inline)) TilePointers(const Input& in, const TileRows& index) {
    const int groups = in.k_padded / kGroup;
    for (int r = 0; r < rows; r++) {
      const size_t at = static_cast<size_t>(index[r]) * groups;
      q[r] = in.q + at * 2 * kGroup;
      scales[r] = in.scale + at;
      code_sums[r] = in.sum + at * (kGroup / kSumGroup);
    }
  }
};

// sums += codes of one part of a group * one half of the activations' codes, which for the whole group lie at values[r] + at.
template <class F, int rows, int vectors>
LOCKSTEP_INLINE void add_products(const uint8_t* w, int part, int lane, const int8_t* const (&values)[rows], int at, Ahead& ahead,
                                  Int (&sums)[rows][vectors]) {
  constexpr int kPartVectors = kGroupVectors / F::kParts;
  constexpr int kLines = F::kGroupBytes / 128 < 8 ? F::kGroupBytes / 128 : 8;  // pairs of cache lines, to be fetched by 8 vectors
#pragma GCC unroll 8
  for (int j = 0; j < kPartVectors; j++) {
    const int i = part * kPartVectors + j;
    if ((i + 1) * kLines / kGroupVectors != i * kLines / kGroupVectors) ahead.fetch();
    Bytes weight[vectors];
    for (int v = 0; v < vectors; v++) weight[v] = F::codes(w, i, lane + v * kLanes);
    for (int r = 0; r < rows; r++) {
      const Bytes value = set1_bytes(values[r] + at + i * 4);
      for (int v = 0; v < vectors; v++) sums[r][v] = F::dot(sums[r][v], weight[v], value);
    }
  }
}

// Sums of one part of group g by the first halves. Their share of the offset is exact where there are no second ones.
template <class F, int rows, int vectors>
LOCKSTEP_INLINE void first_sums(const uint8_t* w, int part, int lane, const TilePointers<rows>& x, int g, Ahead& ahead,
                                Int (&sums)[rows][vectors]) {
  for (int r = 0; r < rows; r++) {
    const Int offset = set1_int(F::kOffset * (part_sum<F>(x.code_sums[r], g, part) >> 7));
    for (int v = 0; v < vectors; v++) sums[r][v] = offset;
  }
  add_products<F>(w, part, lane, x.q, 2 * g * kGroup, ahead, sums);
}

// The same in 128ths, with the second halves.
template <class F, int rows, int vectors>
LOCKSTEP_INLINE void add_second_halves(const uint8_t* w, int part, int lane, const TilePointers<rows>& x, int g,
                                       Int (&sums)[rows][vectors]) {
  for (int r = 0; r < rows; r++) {
    const Int rest = set1_int(F::kOffset * (part_sum<F>(x.code_sums[r], g, part) & 127));
    for (int v = 0; v < vectors; v++) sums[r][v] = times_128_plus(sums[r][v], rest);
  }
  Ahead nothing{nullptr, 0};
  add_products<F>(w, part, lane, x.q, (2 * g + 1) * kGroup, nothing, sums);
}

// acc += sums of one part of group g, scaled; `times`: what one of a sum's units stands for.
template <class F, int rows, int vectors>
LOCKSTEP_INLINE void add_scaled(const uint8_t* header, const uint8_t* w, int part, int lane, const TilePointers<rows>& x, int g,
                                const Int (&sums)[rows][vectors], float times, Float (&acc)[rows][vectors]) {
  Float scale[vectors];
  Float least[vectors];
  for (int v = 0; v < vectors; v++) {
    scale[v] = F::scale(header, w, part, lane + v * kLanes) * set1(times);
    least[v] = F::kHasMin ? F::least(header, w, lane + v * kLanes) : zero();
  }
  for (int r = 0; r < rows; r++) {
    const Float row_scale = set1(x.scales[r][g]);
    const Float row_sum = set1(F::kHasMin ? static_cast<float>(part_sum<F>(x.code_sums[r], g, part)) : 0.0f);
    for (int v = 0; v < vectors; v++) {
      Float value = to_float(sums[r][v]) * scale[v];
      if (F::kHasMin) value = fma(least[v], row_sum, value);
      acc[r][v] = fma(value, row_scale, acc[r][v]);
    }
  }
}

// kept += a group that is fine in some row. Not inline, with the tile's sums in memory: in one function with the plain groups, which leave
// no register free, both would have them there, and plain groups take 1.1 times as long (Zen 5).
template <class F, int rows, int vectors>
__attribute__((noinline)) void add_fine_group(const uint8_t* header, const uint8_t* w, int lane, const Input& in, const TileRows& index,
                                              int g, Ahead* ahead_to, float* kept) {
  const TilePointers<rows> x(in, index);
  Ahead ahead = *ahead_to;
  for (int part = 0; part < F::kParts; part++) {
    Int sums[rows][vectors];
    first_sums<F>(w, part, lane, x, g, ahead, sums);
    add_second_halves<F>(w, part, lane, x, g, sums);
    Float acc[rows][vectors];
    for (int r = 0; r < rows; r++) {
      for (int v = 0; v < vectors; v++) acc[r][v] = load(kept + (r * vectors + v) * kLanes);
    }
    add_scaled<F>(header, w, part, lane, x, g, sums, 1.0f, acc);
    for (int r = 0; r < rows; r++) {
      for (int v = 0; v < vectors; v++) store(kept + (r * vectors + v) * kLanes, acc[r][v]);
    }
  }
  *ahead_to = ahead;
}

template <class F, int rows>
LOCKSTEP_INLINE void groups_tile(const uint8_t* block, const Input& in, const TileRows& index, Ahead ahead, float* y) {
  constexpr int kVectors = tile_vectors(rows, kIntTileRows);
  ahead = Ahead::in_passes(ahead, kBlockRows / kLanes / kVectors);
  const int groups = in.k_padded / kGroup;
  const TilePointers<rows> x(in, index);
  const uint64_t* fine[rows];
  for (int r = 0; r < rows; r++) fine[r] = in.fine + static_cast<size_t>(index[r]) * fine_words(in.k_padded);
  for (int lane = 0; lane < kBlockRows; lane += kVectors * kLanes) {
    const uint8_t* w = block;
    const uint8_t* header = block;
    uint64_t fine_here = 0;
    Float acc[rows][kVectors] = {};
    for (int g = 0; g < groups; g++, w += F::kGroupBytes, fine_here >>= 1) {
      if (g % 64 == 0) fine_here = fine_groups(fine, g);
      if (F::kHeader > 0 && g % F::kSuperGroups == 0) {
        header = w;
        w += F::kHeader;
      }
      if (__builtin_expect((fine_here & 1) != 0, 0)) {
        float kept[rows * kVectors * kLanes];
        Ahead ahead_kept = ahead;
        for (int r = 0; r < rows; r++) {
          for (int v = 0; v < kVectors; v++) store(kept + (r * kVectors + v) * kLanes, acc[r][v]);
        }
        add_fine_group<F, rows, kVectors>(header, w, lane, in, index, g, &ahead_kept, kept);
        for (int r = 0; r < rows; r++) {
          for (int v = 0; v < kVectors; v++) acc[r][v] = load(kept + (r * kVectors + v) * kLanes);
        }
        ahead = ahead_kept;
        continue;
      }
      for (int part = 0; part < F::kParts; part++) {
        Int sums[rows][kVectors];
        first_sums<F>(w, part, lane, x, g, ahead, sums);
        add_scaled<F>(header, w, part, lane, x, g, sums, 128.0f, acc);
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
#if defined(LOCKSTEP_HAS_TILES)
  if (m >= kRowsForTiles) return gemm_groups_tiles<F>(w, first, count, in, m, out);
#endif
  static constexpr TileFn kTiles[kIntTileRows] = LOCKSTEP_INT_TILES(GroupsTiles<F>::template tile);
  gemm_blocks(kTiles, 2, w, first, count, in, m, out);
}

}  // namespace
}  // namespace lockstep::cpu::LOCKSTEP_ISA
