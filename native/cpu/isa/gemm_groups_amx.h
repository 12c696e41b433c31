// The tile of the quantised formats in AMX: for each group of 32 along K a tile of exact sums [16 rows][16 weight rows] in int32, which
// vectors then scale and add in float32 in the order of K, operation by operation as gemm_groups.h does, so that a sum has the same bits
// in both. A block is first unpacked into signed codes, 64 groups at a time: a part of a panel that stays in L2 while up to 128 rows pass.
// Bound: a tile of 16 x 16 x 32 products takes 16 cycles, its sums some 30 in vectors, 2 products a byte of both.
#pragma once

#include "gemm.h"

namespace lockstep::cpu::LOCKSTEP_ISA {
namespace {

constexpr int kPanelGroups = 64;  // as many as a word of has_outlier has bits
constexpr int kPanelPasses = 8;
// Fewer are done in vectors: 16 were up to 1.3 times as quick in tiles where these run at their full speed, and 0.7 times where a neighbour
// of a virtual machine slows them down to a quarter; 512 were 1.7 and 1.3 times as quick.
constexpr int kRowsForTiles = 64;

// kPanelGroups groups of one block as tiles and vectors want them.
template <class F>
struct Panel {
  alignas(kTileBytes) int8_t codes[kPanelGroups * kQ8Bytes];  // [groups][8][32][4]
  alignas(kTileBytes) float scale[kPanelGroups * F::kParts * kBlockRows];
  alignas(kTileBytes) float minus_least[F::kHasMin ? kPanelGroups * kBlockRows : kBlockRows];
};

// Groups `from` … from + groups of a block, `from` being a multiple of kPanelGroups; fetches as many bytes that come behind them.
template <class F>
void unpack_groups(const uint8_t* block, int from, int groups, bool ahead, Panel<F>* panel) {
  const Bytes offset = _mm512_set1_epi8(static_cast<char>(-F::kOffset));
  const uint8_t* header = block;
  const uint8_t* w = block + from * F::kGroupBytes + from / F::kSuperGroups * F::kHeader;
  const size_t behind = groups * F::kGroupBytes + groups / F::kSuperGroups * F::kHeader;
  for (int g = 0; g < groups; g++, w += F::kGroupBytes) {
    if (F::kHeader > 0 && g % F::kSuperGroups == 0) {
      header = w;
      w += F::kHeader;
    }
    int8_t* codes = panel->codes + static_cast<size_t>(g) * kQ8Bytes;
    for (int i = 0; i < kGroupVectors; i++) {
      for (int lane = 0; lane < kBlockRows; lane += kLanes) {
        const Bytes code = _mm512_add_epi8(F::codes(w, i, lane), offset);
        memcpy(codes + (i * kBlockRows + lane) * 4, &code, sizeof(code));
      }
    }
    for (int lane = 0; lane < kBlockRows; lane += kLanes) {
      for (int part = 0; part < F::kParts; part++) {
        store(panel->scale + (g * F::kParts + part) * kBlockRows + lane, F::scale(header, w, part, lane));
      }
      if (F::kHasMin) store(panel->minus_least + g * kBlockRows + lane, zero() - F::least(header, w, lane));
    }
    for (size_t line = 0; ahead && line < F::kGroupBytes; line += kTileBytes) __builtin_prefetch(w + behind + line, 0, 2);
  }
}

// What up to 16 rows of activations bring to the groups of a panel.
struct PassValues {
  const int8_t* codes;  // [rows][stride] of the panel's first group
  size_t stride;
  uint64_t any_outlier = 0;  // bit g: any of the rows has an outlier in group g
  uint64_t has_outlier[kTileSide] = {};
  const Outlier* outlier[kTileSide] = {};  // of the panel's first group
  alignas(kTileBytes) float scale[kTileSide][kPanelGroups] = {};
  alignas(kTileBytes) float minus_sum[kTileSide][kPanelGroups] = {};
};

// Sums of a tile: [16 rows][16 weight rows].
struct alignas(kTileBytes) TileSums {
  int32_t at[kTileSide * kLanes];
};

template <class F>
struct GroupTiles {
  static constexpr int kParts = F::kParts;
  static constexpr size_t kPartBytes = kQ8Bytes / kParts;  // of a panel's codes
  static constexpr int kPartGroup = kGroup / kParts;

  static TileShapes shapes(int rows) {
    TileShapes shapes;
    shapes.set(0, rows, kTileBytes);
    shapes.set(4, rows, kPartGroup);
    shapes.set(5, kPartGroup / 4, kTileBytes);
    return shapes;
  }

  // Tile t of the panel, which is one of a group's parts; `codes` begin at the half block's first row.
  LOCKSTEP_INLINE void multiply(const int8_t* codes, const PassValues& v, int t) {
    _tile_zero(0);
    _tile_loadd(4, v.codes + static_cast<size_t>(t) * kPartGroup, v.stride);
    _tile_loadd(5, codes + t * kPartBytes, 4 * kBlockRows);
    _tile_dpbssd(0, 4, 5);
  }

  LOCKSTEP_INLINE void keep(TileSums* sums) {
    _tile_stored(0, sums->at, kTileBytes);
    written_for_tiles();
  }

  // The high bytes of tile t, in the rows that have an outlier there. Signed codes of weights are 128 less than what the product takes.
  static __attribute__((noinline)) void add_outliers(const int8_t* codes, const PassValues& v, int t, TileSums* sums) {
    const int g = t / kParts;
    for (int r = 0; r < kTileSide; r++) {
      if ((v.has_outlier[r] >> g & 1) == 0) continue;
      const Outlier& outlier = v.outlier[r][g];
      if (outlier.vector / (kGroupVectors / kParts) != t % kParts) continue;
      const int8_t* high = outlier.high;
      const Bytes weight = _mm512_xor_si512(load_bytes(codes + g * kQ8Bytes + outlier.vector * kBlockRows * 4), _mm512_set1_epi8(-128));
      const Int product = dot_u8s8(set1_int(-128 * (high[0] + high[1] + high[2] + high[3])), weight, set1_bytes(high));
      int32_t* sum = sums->at + r * kLanes;
      _mm512_store_si512(sum, shift_add<7>(product, _mm512_load_si512(sum)));
    }
  }

  LOCKSTEP_INLINE void add_scaled(const TileSums& sums, Float scale, Float minus_least, const PassValues& v, int g,
                                  Float (&acc)[kTileSide]) {
#pragma GCC unroll 16
    for (int r = 0; r < kTileSide; r++) {
      Float value = to_float(load_pairs(sums.at + r * kLanes)) * scale;
      if (F::kHasMin) value = fma(minus_least, set1(v.minus_sum[r][g]), value);
      acc[r] = fma(value, set1(v.scale[r][g]), acc[r]);
    }
  }

  // y[16, 32], of which 16 columns from `lane` on, += the groups of the panel. is_first: nothing is in y yet.
  static void add(const Panel<F>& panel, int groups, const PassValues& v, int lane, bool is_first, float* y) {
    const int8_t* codes = panel.codes + lane * 4;
    TileSums sums[2];
    Float acc[kTileSide];
#pragma GCC unroll 16
    for (int r = 0; r < kTileSide; r++) acc[r] = is_first ? zero() : load(y + r * kBlockRows + lane);
    const int tiles = groups * kParts;
    multiply(codes, v, 0);
    keep(&sums[0]);
    for (int t = 0; t < tiles; t++) {
      // The next tile is multiplied while this one's sums are scaled.
      const int next = t + 1 < tiles ? t + 1 : t;
      multiply(codes, v, next);
      const int g = t / kParts;
      const Float scale = load(panel.scale + t * kBlockRows + lane);
      const Float minus_least = F::kHasMin ? load(panel.minus_least + g * kBlockRows + lane) : zero();
      if (__builtin_expect((v.any_outlier >> g & 1) != 0, 0)) add_outliers(codes, v, t, &sums[t & 1]);
      add_scaled(sums[t & 1], scale, minus_least, v, g, acc);
      keep(&sums[next & 1]);
    }
#pragma GCC unroll 16
    for (int r = 0; r < kTileSide; r++) store(y + r * kBlockRows + lane, acc[r]);
  }
};

// Takes in the rows' groups from `from` on; rows that do not lie one behind the other are copied to `gathered`.
template <class F>
void take_rows(const Input& in, const TileRows& index, int rows, int from, int groups, int8_t* gathered, PassValues* v) {
  const Int8Layout layout(in.k_padded);
  const size_t bytes = static_cast<size_t>(groups) * kGroup;
  const size_t begin = static_cast<size_t>(from) * kGroup;
  v->codes = index.gather == nullptr ? reinterpret_cast<const int8_t*>(in.int8 + index.first * layout.bytes + begin) : gathered;
  v->stride = index.gather == nullptr ? layout.bytes : bytes;
  v->any_outlier = 0;
  for (int r = 0; r < rows; r++) {
    const Int8Row row(in.int8 + static_cast<size_t>(index[r]) * layout.bytes, layout);
    v->has_outlier[r] = row.has_outlier[from / kPanelGroups];
    v->any_outlier |= v->has_outlier[r];
    v->outlier[r] = row.outlier + from;
    if (index.gather != nullptr) memcpy(gathered + r * bytes, row.codes + begin, bytes);
    for (int g = 0; g < groups; g += kLanes) {
      const int n = groups - g < kLanes ? groups - g : kLanes;
      store(v->scale[r] + g, load_n(row.scale + from + g, n, 0.0f));
    }
    for (int g = 0; F::kHasMin && g < groups; g++) v->minus_sum[r][g] = static_cast<float>(row.sum[from + g]);
  }
  written_for_tiles();
}

template <class F>
void gemm_groups_tiles(const Packed& w, int first, int count, const Input& in, int m, const GemmOut& out) {
  const size_t bytes = block_bytes(w.format, w.cols);
  const int rows = pass_rows(m, kTileSide);
  const int passes = (m + rows - 1) / rows;
  const int all = in.k_padded / kGroup;
  Panel<F> panel;
  PassValues v;
  alignas(kTileBytes) int8_t gathered[kTileSide * kPanelGroups * kGroup];
  alignas(kTileBytes) float y[kPanelPasses][kTileSide * kBlockRows];
  configure_tiles(GroupTiles<F>::shapes(rows));
  for (int block = first; block < first + count; block++) {
    const uint8_t* data = w.data + static_cast<size_t>(block) * bytes;
    for (int begin = 0; begin < passes; begin += kPanelPasses) {
      const int end = begin + kPanelPasses < passes ? begin + kPanelPasses : passes;
      // The last pass goes back over rows that are done.
      const auto row_of = [&](int pass) { return pass * rows + rows <= m ? pass * rows : m - rows; };
      for (int from = 0; from < all; from += kPanelGroups) {
        const int groups = all - from < kPanelGroups ? all - from : kPanelGroups;
        unpack_groups<F>(data, from, groups, begin == 0, &panel);
        for (int pass = begin; pass < end; pass++) {
          take_rows<F>(in, TileRows{out.in_rows, row_of(pass)}, rows, from, groups, gathered, &v);
          for (int lane = 0; lane < kBlockRows; lane += kLanes) GroupTiles<F>::add(panel, groups, v, lane, from == 0, y[pass - begin]);
        }
      }
      for (int pass = begin; pass < end; pass++) {
        const int done = pass * rows - row_of(pass);
        store_tile(y[pass - begin] + done * kBlockRows, rows - done, pass * rows, block, w.rows, out);
      }
    }
  }
  release_tiles();
}

}  // namespace
}  // namespace lockstep::cpu::LOCKSTEP_ISA
