// The tile of the quantised formats: codes of up to 8 bits with a scale for each group of 32 along K, or for each half of one. Activations
// have int8 codes with a float scale each 32, and beside an outlier four codes of 15 bits, whose high bytes lie apart (quantize.cpp). The
// products that share a scale are summed exactly in int32, then scaled and added in float32, in the order of K.
//
// A format says where its codes and scales lie:
//   kGroupBytes, kOffset, kHasMin        weight = scale * (code - kOffset) [+ minimum]; kOffset is 0 or a power of 2
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

// The activations of a tile's rows.
template <int rows>
struct TileInput {
  const uint8_t* row[rows];
  Int8Layout at;

  inline __attribute__((always_inline)) TileInput(const Input& in, const TileRows& index) : at(in.k_padded) {
    for (int r = 0; r < rows; r++) row[r] = in.int8 + static_cast<size_t>(index[r]) * at.bytes;
  }

  template <class T>
  inline __attribute__((always_inline)) const T* part(int r, size_t at_byte) const {
    return reinterpret_cast<const T*>(row[r] + at_byte);
  }

  // Minus the sum of the codes of one part of group g.
  template <class F>
  inline __attribute__((always_inline)) Int minus_sum(int r, int g, int part_index) const {
    const int32_t* first = part<int32_t>(r, at.first_sum) + g;
    const int32_t* all = part<int32_t>(r, at.sum) + g;
    return set1_int(F::kParts == 1 ? *all : part_index == 0 ? *first : *all - *first);
  }

  // Bit g % 64 is set where group g has an outlier in any row; g is a multiple of 64.
  inline __attribute__((always_inline)) uint64_t outliers_from(int g) const {
    uint64_t any = 0;
    for (int r = 0; r < rows; r++) any |= part<uint64_t>(r, at.has_outlier)[g / 64];
    return any;
  }
};

constexpr int log2_of(int n) { return n < 2 ? 0 : 1 + log2_of(n / 2); }

// Sums of the codes of one part of group g, with their share of the weights' offset.
template <class F, int rows, int vectors>
LOCKSTEP_INLINE void sum_products(const uint8_t* w, int part, int lane, const TileInput<rows>& x, int g, Ahead& ahead,
                                  Int (&sums)[rows][vectors]) {
  constexpr int kPartVectors = kGroupVectors / F::kParts;
  constexpr int kLines = F::kGroupBytes / 128 < 8 ? F::kGroupBytes / 128 : 8;  // pairs of cache lines, to be fetched by 8 vectors
  for (int r = 0; r < rows; r++) {
    const Int none = set1_int(0);
    const Int offset = F::kOffset == 0 ? none : shift_add<log2_of(F::kOffset)>(x.template minus_sum<F>(r, g, part), none);
    for (int v = 0; v < vectors; v++) sums[r][v] = offset;
  }
#pragma GCC unroll 8
  for (int j = 0; j < kPartVectors; j++) {
    const int i = part * kPartVectors + j;
    if ((i + 1) * kLines / kGroupVectors != i * kLines / kGroupVectors) ahead.fetch();
    Bytes weight[vectors];
    for (int v = 0; v < vectors; v++) weight[v] = F::codes(w, i, lane + v * kLanes);
    for (int r = 0; r < rows; r++) {
      const Bytes value = set1_bytes(x.row[r] + g * kGroup + i * 4);
      for (int v = 0; v < vectors; v++) sums[r][v] = F::dot(sums[r][v], weight[v], value);
    }
  }
}

// The high bytes of group g, which are zeros in rows that have no outlier there: cheaper than to ask.
template <class F, int rows, int vectors>
LOCKSTEP_INLINE void add_outliers(const uint8_t* w, int part, int lane, const TileInput<rows>& x, int g, Int (&sums)[rows][vectors]) {
#pragma GCC unroll 8
  for (int r = 0; r < rows; r++) {
    const Outlier& outlier = x.template part<Outlier>(r, x.at.outlier)[g];
    if (F::kParts > 1 && outlier.vector / (kGroupVectors / F::kParts) != part) continue;
    const Bytes high = set1_bytes(outlier.high);
    for (int v = 0; v < vectors; v++) {
      sums[r][v] = shift_add<7>(F::dot(set1_int(0), F::codes(w, outlier.vector, lane + v * kLanes), high), sums[r][v]);
    }
  }
}

// acc += sums of one part of group g, scaled.
template <class F, int rows, int vectors>
LOCKSTEP_INLINE void add_scaled(const uint8_t* header, const uint8_t* w, int part, int lane, const TileInput<rows>& x, int g,
                                const Int (&sums)[rows][vectors], Float (&acc)[rows][vectors]) {
  Float scale[vectors];
  Float minus_least[vectors];
  for (int v = 0; v < vectors; v++) {
    scale[v] = F::scale(header, w, part, lane + v * kLanes);
    minus_least[v] = F::kHasMin ? zero() - F::least(header, w, lane + v * kLanes) : zero();
  }
  for (int r = 0; r < rows; r++) {
    const Float row_scale = set1(x.template part<float>(r, x.at.scale)[g]);
    const Float minus_sum = F::kHasMin ? to_float(x.template minus_sum<F>(r, g, part)) : zero();
    for (int v = 0; v < vectors; v++) {
      Float value = to_float(sums[r][v]) * scale[v];
      if (F::kHasMin) value = fma(minus_least[v], minus_sum, value);
      acc[r][v] = fma(value, row_scale, acc[r][v]);
    }
  }
}

template <class F, int rows>
LOCKSTEP_INLINE void groups_tile(const uint8_t* block, const Input& in, const TileRows& index, Ahead ahead, float* y) {
  constexpr int kVectors = tile_vectors(rows, kIntTileRows);
  ahead = Ahead::in_passes(ahead, kBlockRows / kLanes / kVectors);
  const int groups = in.k_padded / kGroup;
  const TileInput<rows> x(in, index);
  for (int lane = 0; lane < kBlockRows; lane += kVectors * kLanes) {
    const uint8_t* w = block;
    const uint8_t* header = block;
    uint64_t outliers = 0;
    Float acc[rows][kVectors] = {};
    for (int g = 0; g < groups; g++, w += F::kGroupBytes, outliers >>= 1) {
      if (g % 64 == 0) outliers = x.outliers_from(g);
      if (F::kHeader > 0 && g % F::kSuperGroups == 0) {
        header = w;
        w += F::kHeader;
      }
      for (int part = 0; part < F::kParts; part++) {
        Int sums[rows][kVectors];
        sum_products<F>(w, part, lane, x, g, ahead, sums);
        if (__builtin_expect((outliers & 1) != 0, 0)) add_outliers<F>(w, part, lane, x, g, sums);
        add_scaled<F>(header, w, part, lane, x, g, sums, acc);
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
