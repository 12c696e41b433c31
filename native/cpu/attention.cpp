// Attention of some query rows over one piece of kPiece keys, and the join of the pieces. One routine for prefill, decode and
// verification; a row's bits depend on its own query, its own visible keys and nothing else:
//   * pieces are counted from position 0 and joined in order;
//   * inside a piece all scores of a row are known before the first power, so the maximum is that of the row's visible keys, exactly;
//   * sums run over keys in order. Where rows share a pass, keys that a row does not see weigh exactly 0 and leave no trace. (Cache slots
//     must hold finite values, written or not: the arena starts as zeros.)
// Scores are kept in units of log2. With a bf16 cache q and the weights of the values are rounded to bf16, and the sum is taken over the
// rounded weights. Here are the cache types whose values are words; attention_int8.cpp has the other.
// Bound: 4 * head_dim flops a query and key; K and V of a piece stay in L1 or L2 while all its rows pass.
#include "isa/attention.h"

#include "families.h"

namespace lockstep::cpu::LOCKSTEP_ISA {
namespace {

constexpr size_t kWord = 4;  // bytes: one float, or a pair of bf16 (head dims of K, keys of V)

// Words of a K tile: [head_dim or head_dim/2][16 keys]; of a V tile: [16 keys or 8 pairs][head_dim].
template <bool bf16>
struct Words : ByVectors<Words<bf16>> {
  LOCKSTEP_INLINE Float dot(Float acc, Pairs a, Pairs b) {
    return bf16 ? dot_bf16(acc, a, b) : fma(bit_cast<Float>(a), bit_cast<Float>(b), acc);
  }

  static void load_query(const AttentionArgs& a, int query, int r, Scratch* s) {
    const float* q = query_of(a, query);
    for (int d = 0; d < a.kv.head_dim; d += kLanes) {
      const int n = a.kv.head_dim - d < kLanes ? a.kv.head_dim - d : kLanes;
      const Float v = n == kLanes ? load(q + d) : load_n(q + d, n, 0.0f);
      if (bf16) {
        store_bf16(reinterpret_cast<uint16_t*>(s->q[r]) + d, v);
      } else {
        store(reinterpret_cast<float*>(s->q[r]) + d, v);
      }
    }
  }

  template <int rows, int vectors, bool ahead>
  LOCKSTEP_INLINE void dots(const AttentionArgs& a, const Tiles& tiles, int at, Scratch* s) {
    const uint8_t* k[vectors];
    for (int v = 0; v < vectors; v++) k[v] = tiles.k[(at + v) / kTileKeyVectors] + (at + v) % kTileKeyVectors * kLanes * kWord;
    Float acc[rows][vectors] = {};
    KeysAhead<vectors> next(tiles, at);
    const size_t words = static_cast<size_t>(a.kv.head_dim) / (bf16 ? 2 : 1);
    for (size_t i = 0; i < words; i++) {
      if (ahead) next.fetch();
      Pairs key[vectors];
      for (int v = 0; v < vectors; v++) key[v] = in_register(load_pairs(k[v] + i * kKeyTile * kWord));
      for (int r = 0; r < rows; r++) {
        const Pairs query = set1_pairs(s->q[r] + i * kWord);
        for (int v = 0; v < vectors; v++) acc[r][v] = dot(acc[r][v], key[v], query);
      }
    }
    const Float scale = set1(a.softcap > 0.0f ? a.scale : a.scale * kLog2e);
    for (int r = 0; r < rows; r++) {
      for (int v = 0; v < vectors; v++) store(s->scores[r] + (at + v) * kLanes, acc[r][v] * scale);
    }
  }

  static float weigh(const Tiles&, int tile_begin, int tile_end, float largest, int r, Scratch* s) {
    float* scores = s->scores[r];
    const Float shift = set1(largest);
    Float sum = zero();
    if (!bf16) {
      for (int i = tile_begin * kKeyTile; i < tile_end * kKeyTile; i += kLanes) {
        const Float p = exp2(load(scores + i) - shift);
        store(scores + i, p);
        sum = sum + p;
      }
      return reduce_add(sum);
    }
    // Two tiles at a time, counted from the start of the piece: a product with ones adds up the rounded weights.
    const uint16_t kOnes[2] = {0x3f80, 0x3f80};
    const Pairs ones = set1_pairs(kOnes);
    uint16_t* rounded = reinterpret_cast<uint16_t*>(s->weights[r]);
    const int begin = tile_begin / 2 * 2 * kKeyTile;
    const int end = (tile_end + 1) / 2 * 2 * kKeyTile;
    for (int i = begin; i < tile_begin * kKeyTile; i++) scores[i] = kLowest;
    for (int i = tile_end * kKeyTile; i < end; i++) scores[i] = kLowest;
    for (int i = begin; i < end; i += 2 * kLanes) {
      store_bf16_two(rounded + i, exp2_coarse(load(scores + i) - shift), exp2_coarse(load(scores + i + kLanes) - shift));
      sum = dot_bf16(sum, load_pairs(rounded + i), ones);
    }
    return reduce_add(sum);
  }

  template <int rows, int vectors>
  LOCKSTEP_INLINE void gather(const AttentionArgs& a, const Tiles& tiles, int tile_begin, int tile_end, int dim, int lanes,
                              const Scratch& s, Float (&acc)[rows][vectors]) {
    constexpr int kSteps = bf16 ? kKeyTile / 2 : kKeyTile;
    const size_t row_bytes = static_cast<size_t>(a.kv.head_dim) * kWord;
    const uint8_t* weights = bf16 ? s.weights[0] : reinterpret_cast<const uint8_t*>(s.scores);
    constexpr size_t kWeightStride = bf16 ? sizeof(s.weights[0]) : sizeof(s.scores[0]);
    Float sums[rows][vectors] = {};
    for (int t = tile_begin; t < tile_end; t++) {
      const uint8_t* tile = tiles.v[t] + dim * kWord;
      for (int i = 0; i < kSteps; i++, tile += row_bytes) {
        Pairs value[vectors];
        for (int v = 0; v < vectors; v++) {
          value[v] = vectors == 1 && lanes < kLanes ? load_pairs_n(tile, lanes) : in_register(load_pairs(tile + v * kLanes * kWord));
        }
        for (int r = 0; r < rows; r++) {
          const Pairs weight = set1_pairs(weights + r * kWeightStride + static_cast<size_t>(t * kSteps + i) * kWord);
          for (int v = 0; v < vectors; v++) sums[r][v] = dot(sums[r][v], value[v], weight);
        }
      }
    }
    for (int r = 0; r < rows; r++) {
      for (int v = 0; v < vectors; v++) acc[r][v] = sums[r][v];
    }
  }
};

}  // namespace
}  // namespace lockstep::cpu::LOCKSTEP_ISA

#if defined(LOCKSTEP_HAS_TILES)
#include "isa/attention_amx.h"
#endif

namespace lockstep::cpu::LOCKSTEP_ISA {

size_t attention_scratch_bytes(int, int) { return sizeof(Scratch) + kLine; }

void attention(const AttentionArgs& a) {
  switch (a.kv.type) {
    case KvType::kF32:
      return attend_piece<Words<false>>(a);
    case KvType::kBf16:
#if defined(LOCKSTEP_HAS_TILES)
      if (a.kv.head_dim >= kTileSide) return attend_piece<InTiles>(a);  // narrower heads leave most of a tile empty
#endif
      return attend_piece<Words<true>>(a);
    case KvType::kInt8:
      return attention_int8(a);
  }
}

}  // namespace lockstep::cpu::LOCKSTEP_ISA
