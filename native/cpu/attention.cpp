// Attention of some query rows over one piece of kPiece keys, and the join of the pieces. One routine for prefill, decode and
// verification; a row's bits depend on its own query, its own visible keys and nothing else:
//   * pieces are counted from position 0 and joined in order;
//   * inside a piece all scores of a row are known before the first exp, so the maximum is that of the row's visible keys, exactly;
//   * sums run over keys in order. Where rows share a pass, keys that a row does not see weigh exactly 0 and leave no trace. (Cache slots
//     must hold finite values, written or not: the arena starts as zeros.)
// With a bf16 cache q and the weights of the values are rounded to bf16, and the sum is taken over the rounded weights.
// Bound: 4 * head_dim flops a query and key; K and V of a piece stay in L1 or L2 while all its rows pass.
#include <cstring>

#include "families.h"
#include "isa/isa.h"
#include "isa/math.h"

namespace lockstep::cpu::LOCKSTEP_ISA {
namespace {

constexpr int kMaxTiles = kPiece / kKeyTile;
constexpr int kTileKeyVectors = kKeyTile / kLanes;  // vectors that hold one word of each key of a tile
constexpr size_t kWord = 4;                         // bytes: one float, or a pair of bf16 (head dims of K, keys of V)
constexpr size_t kAlign = 64;
constexpr float kLowest = -__builtin_inff();

// Scratch of one group of rows. Strides are constants so that rows are reached by displacement.
struct Scratch {
  uint8_t q[kTileRows][kMaxHeadDim * kWord];  // words along head_dim
  float scores[kTileRows][kPiece];
  uint16_t rounded[kTileRows][kPiece];
};

// The tiles of one piece. Words of a K tile: [head_dim or head_dim/2][16 keys]; of a V tile: [16 keys or 8 pairs][head_dim].
struct Tiles {
  const uint8_t* k[kMaxTiles];
  const uint8_t* v[kMaxTiles];
};

// Keys of the piece that a row sees, counted from its start: first … last; none when first > last.
struct Span {
  int first;
  int last;
};

size_t tile_bytes(const KvView& kv) { return static_cast<size_t>(kKeyTile) * kv.head_dim * (kv.type == KvType::kBf16 ? 2 : 4); }

uint8_t* key_tile(const KvView& kv, int pos) {
  const int block = kv.table[pos / kv.block_size];
  return kv.base + static_cast<size_t>(block) * kv.block_stride + static_cast<size_t>(pos % kv.block_size / kKeyTile) * tile_bytes(kv);
}

// The V tiles of a block follow all its K tiles.
uint8_t* value_tile(const KvView& kv, int pos) {
  return key_tile(kv, pos) + static_cast<size_t>(kv.block_size / kKeyTile) * tile_bytes(kv);
}

template <bool bf16>
LOCKSTEP_INLINE Float dot_words(Float acc, Pairs a, Pairs b) {
  return bf16 ? dot_bf16(acc, a, b) : fma(bit_cast<Float>(a), bit_cast<Float>(b), acc);
}

Span span_of(const AttentionArgs& a, int query) {
  const int pos = a.pos0 + query / a.heads;
  const int base = a.piece * kPiece;
  const int first = (a.window > 0 && pos - a.window + 1 > 0 ? pos - a.window + 1 : 0) - base;
  const int last = pos - base;
  return Span{first > 0 ? first : 0, last < kPiece - 1 ? last : kPiece - 1};
}

template <bool bf16>
void load_query(const AttentionArgs& a, int query, uint8_t* words) {
  const float* q = a.q + static_cast<size_t>(query / a.heads) * a.q_row_stride + static_cast<size_t>(query % a.heads) * a.q_head_stride;
  for (int d = 0; d < a.kv.head_dim; d += kLanes) {
    const int n = a.kv.head_dim - d < kLanes ? a.kv.head_dim - d : kLanes;
    const Float v = load_n(q + d, n, 0.0f);
    if (bf16) {
      store_bf16(reinterpret_cast<uint16_t*>(words) + d, v);
    } else {
      store(reinterpret_cast<float*>(words) + d, v);
    }
  }
}

// scores[rows][vectors * kLanes] of the keys from vector `at` of the piece on: (q · k) * scale, soft-capped.
template <int rows, int vectors, bool bf16>
void score(const AttentionArgs& a, const Tiles& tiles, int at, Scratch* s) {
  const uint8_t* k[vectors];
  for (int v = 0; v < vectors; v++) k[v] = tiles.k[(at + v) / kTileKeyVectors] + (at + v) % kTileKeyVectors * kLanes * kWord;
  Float acc[rows][vectors] = {};
  const size_t words = static_cast<size_t>(a.kv.head_dim) / (bf16 ? 2 : 1);
  for (size_t i = 0; i < words; i++) {
    Pairs key[vectors];
    for (int v = 0; v < vectors; v++) key[v] = load_pairs(k[v] + i * kKeyTile * kWord);
    for (int r = 0; r < rows; r++) {
      const Pairs query = set1_pairs(s->q[r] + i * kWord);
      for (int v = 0; v < vectors; v++) acc[r][v] = dot_words<bf16>(acc[r][v], key[v], query);
    }
  }
  const Float scale = set1(a.scale);
  const Float cap = set1(a.softcap);
  for (int r = 0; r < rows; r++) {
    for (int v = 0; v < vectors; v++) {
      Float x = acc[r][v] * scale;
      if (a.softcap > 0.0f) x = cap * tanh(x / cap);
      store(s->scores[r] + (at + v) * kLanes, x);
    }
  }
}

// Scores of one row to weights exp(score - max) in place (and rounded, with a bf16 cache); keys begin … end - 1 are whole tiles.
template <bool bf16>
void weigh(Span span, int begin, int end, float* scores, uint16_t* rounded, float* max_out, float* sum_out) {
  for (int i = begin; i < span.first && i < end; i++) scores[i] = kLowest;
  for (int i = span.last + 1 > begin ? span.last + 1 : begin; i < end; i++) scores[i] = kLowest;
  Float most = set1(kLowest);
  for (int i = begin; i < end; i += kLanes) most = max(load(scores + i), most);
  const float largest = reduce_max(most);
  const Float shift = set1(largest == kLowest ? 0.0f : largest);
  Float sum = zero();
  for (int i = begin; i < end; i += kLanes) {
    Float p = exp(load(scores + i) - shift);
    if (bf16) {
      store_bf16(rounded + i, p);
      p = load_bf16(rounded + i);
    } else {
      store(scores + i, p);
    }
    sum = sum + p;
  }
  *max_out = largest;
  *sum_out = reduce_add(sum);
}

// acc[rows][vectors * kLanes] of head dims from `dim` on: sum over keys of weight * V. n: lanes of the last vector that exist.
template <int rows, int vectors, bool bf16>
void gather_values(const AttentionArgs& a, const Tiles& tiles, int tile_begin, int tile_end, int dim, int n, int query, const Scratch& s) {
  constexpr int kSteps = bf16 ? kKeyTile / 2 : kKeyTile;
  const size_t row_bytes = static_cast<size_t>(a.kv.head_dim) * kWord;
  const uint8_t* weights = bf16 ? reinterpret_cast<const uint8_t*>(s.rounded) : reinterpret_cast<const uint8_t*>(s.scores);
  constexpr size_t kWeightStride = kPiece * (bf16 ? 2 : 4);
  Float acc[rows][vectors] = {};
  for (int t = tile_begin; t < tile_end; t++) {
    const uint8_t* tile = tiles.v[t] + dim * kWord;
    for (int i = 0; i < kSteps; i++, tile += row_bytes) {
      Pairs value[vectors];
      for (int v = 0; v < vectors - 1; v++) value[v] = load_pairs(tile + v * kLanes * kWord);
      const uint8_t* last = tile + (vectors - 1) * kLanes * kWord;
      value[vectors - 1] = vectors == 1 && n < kLanes ? load_pairs_n(last, n) : load_pairs(last);
      for (int r = 0; r < rows; r++) {
        const Pairs weight = set1_pairs(weights + r * kWeightStride + static_cast<size_t>(t * kSteps + i) * kWord);
        for (int v = 0; v < vectors; v++) acc[r][v] = dot_words<bf16>(acc[r][v], value[v], weight);
      }
    }
  }
  for (int r = 0; r < rows; r++) {
    float* out = a.acc + static_cast<size_t>(query + r) * a.kv.head_dim + dim;
    for (int v = 0; v < vectors - 1; v++) store(out + v * kLanes, acc[r][v]);
    store_n(out + (vectors - 1) * kLanes, acc[r][vectors - 1], n);
  }
}

// A group of `rows` query rows, counted over (row, head) from `query` on.
template <int rows, bool bf16>
void attend(const AttentionArgs& a, const Tiles& tiles, int query, Scratch* s) {
  constexpr int kVectors = rows > 4 ? kWideVectors / 2 : kWideVectors;
  Span spans[rows];
  int first = kPiece;
  int last = -1;
  for (int r = 0; r < rows; r++) {
    spans[r] = span_of(a, query + r);
    if (spans[r].first > spans[r].last) continue;
    if (spans[r].first < first) first = spans[r].first;
    if (spans[r].last > last) last = spans[r].last;
  }
  const int tile_begin = last < 0 ? 0 : first / kKeyTile;  // no row sees the piece: an empty range, and so -inf, 0, 0
  const int tile_end = last < 0 ? 0 : last / kKeyTile + 1;

  for (int r = 0; r < rows; r++) load_query<bf16>(a, query + r, s->q[r]);
  int at = tile_begin * kTileKeyVectors;
  const int end = tile_end * kTileKeyVectors;
  for (; at + kVectors <= end; at += kVectors) score<rows, kVectors, bf16>(a, tiles, at, s);
  for (; at < end; at++) score<rows, 1, bf16>(a, tiles, at, s);
  for (int r = 0; r < rows; r++) {
    weigh<bf16>(spans[r], tile_begin * kKeyTile, tile_end * kKeyTile, s->scores[r], s->rounded[r], a.max + query + r, a.sum + query + r);
  }
  const int dims = a.kv.head_dim;
  int dim = 0;
  for (; dim + kVectors * kLanes <= dims; dim += kVectors * kLanes) {
    gather_values<rows, kVectors, bf16>(a, tiles, tile_begin, tile_end, dim, kLanes, query, *s);
  }
  for (; dim < dims; dim += kLanes) {
    gather_values<rows, 1, bf16>(a, tiles, tile_begin, tile_end, dim, dims - dim < kLanes ? dims - dim : kLanes, query, *s);
  }
}

template <int rows>
void attend_bf16(const AttentionArgs& a, const Tiles& tiles, int query, Scratch* s) {
  attend<rows, true>(a, tiles, query, s);
}
template <int rows>
void attend_f32(const AttentionArgs& a, const Tiles& tiles, int query, Scratch* s) {
  attend<rows, false>(a, tiles, query, s);
}

using AttendFn = void (*)(const AttentionArgs&, const Tiles&, int query, Scratch*);

}  // namespace

void kv_append(const KvView& kv, int pos, const float* k, const float* v) {
  const size_t key = static_cast<size_t>(pos % kKeyTile);
  const size_t dims = static_cast<size_t>(kv.head_dim);
  if (kv.type == KvType::kF32) {
    float* k_tile = reinterpret_cast<float*>(key_tile(kv, pos)) + key;
    memcpy(value_tile(kv, pos) + key * dims * sizeof(float), v, dims * sizeof(float));
    for (size_t d = 0; d < dims; d++) k_tile[d * kKeyTile] = k[d];
    return;
  }
  uint16_t rounded[2][kMaxHeadDim];
  for (int d = 0; d < kv.head_dim; d += kLanes) {
    const int n = kv.head_dim - d < kLanes ? kv.head_dim - d : kLanes;
    store_bf16(rounded[0] + d, load_n(k + d, n, 0.0f));
    store_bf16(rounded[1] + d, load_n(v + d, n, 0.0f));
  }
  uint16_t* k_tile = reinterpret_cast<uint16_t*>(key_tile(kv, pos)) + key * 2;
  uint16_t* v_tile = reinterpret_cast<uint16_t*>(value_tile(kv, pos)) + key / 2 * dims * 2 + key % 2;
  for (size_t d = 0; d < dims; d += 2) memcpy(k_tile + d * kKeyTile, rounded[0] + d, 2 * sizeof(uint16_t));
  for (size_t d = 0; d < dims; d++) v_tile[d * 2] = rounded[1][d];
}

size_t attention_scratch_bytes(int, int) { return sizeof(Scratch) + kAlign; }

void attention(const AttentionArgs& a) {
  static constexpr AttendFn kBf16[kTileRows] = LOCKSTEP_TILES(attend_bf16);
  static constexpr AttendFn kF32[kTileRows] = LOCKSTEP_TILES(attend_f32);
  Scratch* scratch = reinterpret_cast<Scratch*>((reinterpret_cast<uintptr_t>(a.scratch) + kAlign - 1) / kAlign * kAlign);
  Tiles tiles;
  const int base = a.piece * kPiece;
  const int keys = a.pos0 + a.rows - base < kPiece ? a.pos0 + a.rows - base : kPiece;
  for (int t = 0; t * kKeyTile < keys; t++) {
    tiles.k[t] = key_tile(a.kv, base + t * kKeyTile);
    tiles.v[t] = value_tile(a.kv, base + t * kKeyTile);
  }
  const int queries = a.rows * a.heads;
  for (int query = 0; query < queries;) {
    const int rows = queries - query < kTileRows ? queries - query : kTileRows;
    (a.kv.type == KvType::kBf16 ? kBf16 : kF32)[rows - 1](a, tiles, query, scratch);
    query += rows;
  }
}

// With M the largest maximum: out = sum of acc[p] * exp(max[p] - M) over sum of sum[p] * exp(max[p] - M), p in order. A piece without
// keys is passed over; without any key out is 0.
void attention_merge(const float* max_in, const float* sum, const float* acc, size_t scalar_stride, size_t acc_stride, int count,
                     int head_dim, float* out) {
  float largest = kLowest;
  for (int p = 0; p < count; p++) {
    if (max_in[p * scalar_stride] > largest) largest = max_in[p * scalar_stride];
  }
  float total = 0.0f;
  for (int d = 0; d < head_dim; d++) out[d] = 0.0f;
  for (int p = 0; p < count; p++) {
    if (sum[p * scalar_stride] == 0.0f) continue;
    float factors[kLanes];
    store(factors, exp(set1(max_in[p * scalar_stride] - largest)));
    total = total + sum[p * scalar_stride] * factors[0];
    const float* part = acc + p * acc_stride;
    for (int d = 0; d < head_dim; d += kLanes) {
      const int n = head_dim - d < kLanes ? head_dim - d : kLanes;
      store_n(out + d, fma(load_n(part + d, n, 0.0f), set1(factors[0]), load_n(out + d, n, 0.0f)), n);
    }
  }
  if (total == 0.0f) return;
  for (int d = 0; d < head_dim; d += kLanes) {
    const int n = head_dim - d < kLanes ? head_dim - d : kLanes;
    store_n(out + d, load_n(out + d, n, 0.0f) / set1(total), n);
  }
}

}  // namespace lockstep::cpu::LOCKSTEP_ISA
