// What the attention kernels of all cache types share: where tiles lie, which keys a row sees, a thread's scratch, and the walk of a group
// of query rows over one piece. A cache type brings the arithmetic as a struct of static functions (attention.cpp, attention_int8.cpp,
// attention_amx.h):
//   kRows, kUnrolled                          most rows of a group; whether there is code of its own for every number of them
//   begin(args, rows)                         before the first of a group's other calls
//   load_query(args, query, r, scratch)       row r of the group into scratch
//   dots<rows, vectors, ahead>(…)             (q · k) * scale of some keys into the scores, in units of log2 unless they are to be capped
//   weigh(tiles, begin, end, r, scratch)      scores of the keys of tiles begin … end - 1 to weights 2^(score - max); their sum
//   values<rows>(…)                           sum of weight * V to its place
//   end()                                     after the last group
#pragma once

#include <cstddef>
#include <cstdint>

#include "../kernels.h"
#include "isa.h"
#include "math.h"

namespace lockstep::cpu::LOCKSTEP_ISA {
namespace {

constexpr int kMaxTiles = kPiece / kKeyTile;
constexpr int kTileKeyVectors = kKeyTile / kLanes;  // vectors that hold one word of each key of a tile
constexpr int kLine = 64;
constexpr float kLowest = -__builtin_inff();
constexpr float kLog2e = 1.44269504f;

#if defined(LOCKSTEP_HAS_TILES)
constexpr int kScratchRows = kTileSide;
#else
constexpr int kScratchRows = kQueryRows;
#endif

// Scratch of one group of rows. Strides are constants so that rows are reached by displacement.
struct Scratch {
  int rows;
  uint8_t q[kScratchRows][kMaxHeadDim * sizeof(float)];  // words along head_dim
  float scores[kScratchRows][kPiece];
  uint8_t weights[kScratchRows][2 * kPiece];  // bf16, or two int8 halves
  float most[kScratchRows][kLanes];           // largest score of each lane
  float q_scale[kScratchRows];                // int8: of the row's codes, and the sum of these
  int32_t q_sum[kScratchRows];
  float weight_scale[kScratchRows];
  int32_t weight_sum[kScratchRows];
};

// The tiles of one piece, and where a walk that fetches ahead may look: past the last tile stand those of the next piece.
struct Tiles {
  const uint8_t* k[kMaxTiles + kQueryVectors];
  const uint8_t* v[kMaxTiles];
  const uint8_t* scales[kMaxTiles];  // int8
};

// Keys of the piece that a row sees, counted from its start: first … last; none when first > last.
struct Span {
  int first;
  int last;
};

static inline uint8_t* block_of(const KvView& kv, int pos) {
  return kv.base + static_cast<size_t>(kv.table[pos / kv.block_size]) * kv.block_stride;
}
static inline uint8_t* key_tile(const KvView& kv, int pos) {
  return block_of(kv, pos) + static_cast<size_t>(pos % kv.block_size / kKeyTile) * kv_tile_bytes(kv.type, kv.head_dim);
}
// The V tiles of a block follow all its K tiles, and the scales those.
static inline uint8_t* value_tile(const KvView& kv, int pos) {
  return key_tile(kv, pos) + static_cast<size_t>(kv.block_size / kKeyTile) * kv_tile_bytes(kv.type, kv.head_dim);
}
static inline uint8_t* tile_scales(const KvView& kv, int pos) {
  return block_of(kv, pos) + 2 * static_cast<size_t>(kv.block_size / kKeyTile) * kv_tile_bytes(kv.type, kv.head_dim) +
         static_cast<size_t>(pos % kv.block_size / kKeyTile) * kTileScaleBytes;
}

static inline Span span_of(const AttentionArgs& a, int query) {
  const int pos = a.pos0 + query / a.heads;
  const int base = a.piece * kPiece;
  const int first = (a.window > 0 && pos - a.window + 1 > 0 ? pos - a.window + 1 : 0) - base;
  const int ahead = a.window > 0 && a.end - pos > a.window ? pos + a.window : a.end;
  const int last = (a.end > 0 ? ahead : pos + 1) - 1 - base;
  return Span{first > 0 ? first : 0, last < kPiece - 1 ? last : kPiece - 1};
}

static inline const float* query_of(const AttentionArgs& a, int query) {
  return a.q + static_cast<size_t>(query / a.heads) * a.q_row_stride + static_cast<size_t>(query % a.heads) * a.q_head_stride;
}

// Fetches K of the vectors after these and V of these, a line of each with every step of a walk over K: one pass over the keys then brings
// the whole context in the order in which it lies, which the hardware's own prefetch, lost at every 4 KiB, does not.
template <int vectors>
struct KeysAhead {
  static constexpr int kTiles = vectors < kTileKeyVectors ? 1 : vectors / kTileKeyVectors;
  const uint8_t* at[2 * kTiles];
  inline __attribute__((always_inline)) KeysAhead(const Tiles& tiles, int vector) {
    for (int t = 0; t < kTiles; t++) {
      at[t] = tiles.k[vector / kTileKeyVectors + kTiles + t];
      at[kTiles + t] = tiles.v[vector / kTileKeyVectors + t];
    }
  }
  inline __attribute__((always_inline)) void fetch() {
    for (int t = 0; t < 2 * kTiles; t++) {
      __builtin_prefetch(at[t], 0, 3);
      at[t] += kLine;
    }
  }
};

// What is rare in a row of scores: a soft cap, which wants them as they are and not in units of log2, and keys that the row does not see.
static inline void mend_scores(const AttentionArgs& a, Span span, int begin, int count, float* scores) {
  const Float cap = set1(a.softcap);
  for (int i = 0; a.softcap > 0.0f && i < count; i += kLanes) store(scores + i, cap * tanh(load(scores + i) / cap) * set1(kLog2e));
  for (int i = 0; i < count; i++) {
    if (begin + i < span.first || begin + i > span.last) scores[i] = kLowest;
  }
}

// Rows of the group: `most`, known to the compiler, or fewer.
template <class Kind, int most>
LOCKSTEP_INLINE int rows_of(const Scratch& s) {
  return Kind::kUnrolled ? most : s.rows;
}

// Scores of `vectors` vectors of keys from vector `at` of the piece on, -inf where a row does not see the key.
template <class Kind, int rows, int vectors, bool ahead>
void score(const AttentionArgs& a, const Tiles& tiles, const Span (&spans)[rows], int at, Scratch* s) {
  constexpr int kCount = vectors * kLanes;
  const int begin = at * kLanes;
  Kind::template dots<rows, vectors, ahead>(a, tiles, at, s);
  for (int r = 0; r < rows_of<Kind, rows>(*s); r++) {
    float* scores = s->scores[r] + begin;
    if (a.softcap > 0.0f || spans[r].first > begin || spans[r].last < begin + kCount - 1) mend_scores(a, spans[r], begin, kCount, scores);
    Float most = load(s->most[r]);
    for (int v = 0; v < vectors; v++) most = max(load(scores + v * kLanes), most);
    store(s->most[r], most);
  }
}

// All vectors begin … end - 1, as many at a time as there are registers for. The last ones may overlap those before: what is computed twice
// comes out the same, and a single vector would leave most of the multipliers waiting for each other.
template <class Kind, int rows, int vectors, bool ahead>
void score_all(const AttentionArgs& a, const Tiles& tiles, const Span (&spans)[rows], int begin, int end, Scratch* s) {
  if constexpr (vectors > 1) {
    if (end - begin < vectors) return score_all<Kind, rows, vectors / 2, ahead>(a, tiles, spans, begin, end, s);
  }
  for (int at = begin; at < end; at += vectors) {
    score<Kind, rows, vectors, ahead>(a, tiles, spans, at + vectors <= end ? at : end - vectors, s);
  }
}

// The same over head dims, with gather<rows, vectors>(…, acc) as the sum of some of them: vectors * kLanes of them from `dim` on. Head dims
// below kLanes are one vector with `lanes` values.
template <class Kind, int rows, int vectors>
void gather_all(const AttentionArgs& a, const Tiles& tiles, int tile_begin, int tile_end, int query, const Scratch& s) {
  constexpr int kWidth = vectors * kLanes;
  const int dims = a.kv.head_dim;
  if constexpr (vectors > 1) {
    if (dims < kWidth) return gather_all<Kind, rows, vectors / 2>(a, tiles, tile_begin, tile_end, query, s);
  }
  for (int dim = 0; dim < dims; dim += kWidth) {
    const int from = dim + kWidth <= dims || dims < kWidth ? dim : dims - kWidth;
    Float acc[rows][vectors];
    Kind::template gather<rows, vectors>(a, tiles, tile_begin, tile_end, from, dims < kLanes ? dims : kLanes, s, acc);
    for (int r = 0; r < rows; r++) {
      float* out = a.acc + static_cast<size_t>(query + r) * dims + from;
      if (dims < kLanes) {
        store_n(out, acc[r][0], dims);
      } else {
        for (int v = 0; v < vectors; v++) store(out + v * kLanes, acc[r][v]);
      }
    }
  }
}

// A group of s->rows query rows, counted over (row, head) from `query` on.
template <class Kind, int rows>
void attend(const AttentionArgs& a, const Tiles& tiles, int query, Scratch* s) {
  const int count = rows_of<Kind, rows>(*s);
  Span spans[rows];
  int first = kPiece;
  int last = -1;
  for (int r = 0; r < count; r++) {
    spans[r] = span_of(a, query + r);
    if (spans[r].first > spans[r].last) continue;
    if (spans[r].first < first) first = spans[r].first;
    if (spans[r].last > last) last = spans[r].last;
  }
  const int tile_begin = last < 0 ? 0 : first / kKeyTile;  // no row sees the piece: an empty range, and so -inf, 0, 0
  const int tile_end = last < 0 ? 0 : last / kKeyTile + 1;

  Kind::begin(a, count);
  for (int r = 0; r < count; r++) {
    Kind::load_query(a, query + r, r, s);
    store(s->most[r], set1(kLowest));
  }
  const int begin = tile_begin * kTileKeyVectors;
  const int end = tile_end * kTileKeyVectors;
  if (query == 0) {  // the rows after these find the piece in the cache
    score_all<Kind, rows, kQueryVectors, true>(a, tiles, spans, begin, end, s);
  } else {
    score_all<Kind, rows, kQueryVectors, false>(a, tiles, spans, begin, end, s);
  }
  for (int r = 0; r < count; r++) {
    const float largest = reduce_max(load(s->most[r]));
    a.max[query + r] = largest;
    a.sum[query + r] = Kind::weigh(tiles, tile_begin, tile_end, largest == kLowest ? 0.0f : largest, r, s);
  }
  Kind::template values<rows>(a, tiles, tile_begin, tile_end, query, *s);
}

using AttendFn = void (*)(const AttentionArgs&, const Tiles&, int query, Scratch*);

template <class Kind, int rows = Kind::kRows>
AttendFn attend_of(int wanted) {
  if constexpr (Kind::kUnrolled && rows > 1) {
    if (wanted < rows) return attend_of<Kind, rows - 1>(wanted);
  }
  return attend<Kind, rows>;
}

static inline void find_tiles(const AttentionArgs& a, Tiles* tiles) {
  const int base = a.piece * kPiece;
  const int context = a.end > 0 ? a.end : a.pos0 + a.rows;
  const int keys = context - base < kPiece ? context - base : kPiece;
  int t = 0;
  for (; t * kKeyTile < keys; t++) {
    tiles->k[t] = key_tile(a.kv, base + t * kKeyTile);
    tiles->v[t] = value_tile(a.kv, base + t * kKeyTile);
    if (a.kv.type == KvType::kInt8) tiles->scales[t] = tile_scales(a.kv, base + t * kKeyTile);
  }
  for (int ahead = 0; ahead < kQueryVectors; ahead++, t++) {
    tiles->k[t] = base + t * kKeyTile < context ? key_tile(a.kv, base + t * kKeyTile) : tiles->k[0];
  }
}

template <class Kind>
void attend_piece(const AttentionArgs& a) {
  Scratch* scratch = reinterpret_cast<Scratch*>((reinterpret_cast<uintptr_t>(a.scratch) + kLine - 1) / kLine * kLine);
  Tiles tiles;
  find_tiles(a, &tiles);
  const int queries = a.rows * a.heads;
  for (int query = 0; query < queries;) {
    int rows = queries - query;
    if (rows > Kind::kRows) rows = rows < 2 * Kind::kRows ? (rows + 1) / 2 : Kind::kRows;  // 7 as 4 + 3 rather than 6 + 1
    scratch->rows = rows;
    attend_of<Kind>(rows)(a, tiles, query, scratch);
    query += rows;
  }
  Kind::end();
}

// What a kind that multiplies vectors has of the interface.
template <class Kind>
struct ByVectors {
  static constexpr int kRows = kQueryRows;
  static constexpr bool kUnrolled = true;
  LOCKSTEP_INLINE void begin(const AttentionArgs&, int) {}
  template <int rows>
  LOCKSTEP_INLINE void values(const AttentionArgs& a, const Tiles& tiles, int tile_begin, int tile_end, int query, const Scratch& s) {
    gather_all<Kind, rows, kQueryVectors>(a, tiles, tile_begin, tile_end, query, s);
  }
  LOCKSTEP_INLINE void end() {}
};

}  // namespace
}  // namespace lockstep::cpu::LOCKSTEP_ISA
