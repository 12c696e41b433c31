// Attention over an int8 cache (kernels.h has the layout): a code a value, a scale for each token and head, for K and for V. Both products
// are taken in integers against codes of 15 bits in two int8 halves, as the linear layers do with their activations: of the query, and of
// the weights with V's scales multiplied in. Sums of codes are exact, so their order changes nothing; and the cache is read at half the
// bytes of bf16 with as many products. Largest sum: 255 * 16256 * 256 (head dims, or keys of a piece) < 2^30.
#include "families.h"
#include "isa/attention.h"

namespace lockstep::cpu::LOCKSTEP_ISA {
namespace {

constexpr float kMostCode = 127 * 128;

// n values from `x` as codes round(x * 16256 / largest) = 128 * high + low; n is padded with zeros to whole vectors. The sum of the codes.
LOCKSTEP_INLINE int32_t to_codes(const float* x, int n, float largest, int8_t* high, int8_t* low) {
  const Float inverse = set1(largest > 0.0f ? kMostCode / largest : 0.0f);
  Float total = zero();  // of whole numbers below 2^22: exact
  for (int i = 0; i < n; i += kLanes) {
    const Float value = n - i < kLanes ? load_n(x + i, n - i, 0.0f) : load(x + i);
    const Float code = round_even(min(set1(kMostCode), max(value * inverse, set1(-kMostCode))));
    total = total + code;
    const Float upper = round_even(code * set1(1.0f / 128.0f));
    store_bytes(high + i, to_int(upper));
    store_bytes(low + i, to_int(fma(upper, set1(-128.0f), code)));
  }
  return static_cast<int32_t>(reduce_add(total));
}

struct Codes : ByVectors<Codes> {
  // Both halves of a row in one array; head dims past the last are 0.
  static constexpr int kHalf = kMaxHeadDim;

  static void load_query(const AttentionArgs& a, int query, int r, Scratch* s) {
    const float* q = query_of(a, query);
    const int dims = a.kv.head_dim;
    Float most = zero();
    for (int d = 0; d < dims; d += kLanes) most = max(abs(load_n(q + d, dims - d < kLanes ? dims - d : kLanes, 0.0f)), most);
    const float largest = reduce_max(most);
    int8_t* codes = reinterpret_cast<int8_t*>(s->q[r]);
    s->q_sum[r] = to_codes(q, dims, largest, codes, codes + kHalf);
    s->q_scale[r] = largest * (1.0f / kMostCode);
  }

  template <int rows, int vectors, bool ahead>
  LOCKSTEP_INLINE void dots(const AttentionArgs& a, const Tiles& tiles, int at, Scratch* s) {
    const uint8_t* k[vectors];
    for (int v = 0; v < vectors; v++) k[v] = tiles.k[(at + v) / kTileKeyVectors] + (at + v) % kTileKeyVectors * kLanes * 4;
    const size_t words = static_cast<size_t>(a.kv.head_dim + 3) / 4;
    Int acc[rows][vectors] = {};
    KeysAhead<vectors> next(tiles, at);
    for (int half = 0; half < 2; half++) {
      for (size_t i = 0; i < words; i++) {
        if (ahead && half == 0) next.fetch();
        Bytes key[vectors];
        for (int v = 0; v < vectors; v++) key[v] = bit_cast<Bytes>(in_register(load_pairs(k[v] + i * kKeyTile * 4)));
        for (int r = 0; r < rows; r++) {
          const Bytes query = set1_bytes(s->q[r] + half * kHalf + i * 4);
          for (int v = 0; v < vectors; v++) acc[r][v] = dot_u8s8(acc[r][v], key[v], query);
        }
      }
      if (half == 1) break;
      for (int r = 0; r < rows; r++) {
        const Int offset = set1_int(-kByteZero * s->q_sum[r]);
        for (int v = 0; v < vectors; v++) acc[r][v] = shift_add<7>(acc[r][v], offset);
      }
    }
    for (int v = 0; v < vectors; v++) {
      const uint16_t* scales = reinterpret_cast<const uint16_t*>(tiles.scales[(at + v) / kTileKeyVectors]);
      const Float key_scale = load_bf16(scales + (at + v) % kTileKeyVectors * kLanes);
      for (int r = 0; r < rows; r++) {
        const float unit = s->q_scale[r] * (a.softcap > 0.0f ? a.scale : a.scale * kLog2e);
        store(s->scores[r] + (at + v) * kLanes, to_float(acc[r][v]) * set1(unit) * key_scale);
      }
    }
  }

  // The weights take V's scales along, so that the codes of all keys have one unit.
  static float weigh(const Tiles& tiles, int tile_begin, int tile_end, float largest, int r, Scratch* s) {
    float* scores = s->scores[r];
    const Float shift = set1(largest);
    Float sum = zero();
    Float most = zero();
    for (int t = tile_begin; t < tile_end; t++) {
      const uint16_t* scales = reinterpret_cast<const uint16_t*>(tiles.scales[t]) + kKeyTile;
      for (int i = 0; i < kKeyTile; i += kLanes) {
        Float p = exp2(load(scores + t * kKeyTile + i) - shift);
        sum = sum + p;
        p = p * load_bf16(scales + i);
        most = max(p, most);
        store(scores + t * kKeyTile + i, p);
      }
    }
    const float largest_weight = reduce_max(most);
    int8_t* codes = reinterpret_cast<int8_t*>(s->weights[r]);
    const int begin = tile_begin * kKeyTile;
    const int count = (tile_end - tile_begin) * kKeyTile;
    s->weight_sum[r] = to_codes(scores + begin, count, largest_weight, codes + begin, codes + kPiece + begin);
    s->weight_scale[r] = largest_weight * (1.0f / kMostCode);
    return reduce_add(sum);
  }

  template <int rows, int vectors>
  LOCKSTEP_INLINE void gather(const AttentionArgs& a, const Tiles& tiles, int tile_begin, int tile_end, int dim, int lanes,
                              const Scratch& s, Float (&out)[rows][vectors]) {
    constexpr int kSteps = kKeyTile / 4;
    const size_t row_bytes = static_cast<size_t>(a.kv.head_dim) * 4;
    Int acc[rows][vectors] = {};
    for (int half = 0; half < 2; half++) {
      for (int t = tile_begin; t < tile_end; t++) {
        const uint8_t* tile = tiles.v[t] + dim * 4;
        for (int i = 0; i < kSteps; i++, tile += row_bytes) {
          Bytes value[vectors];
          for (int v = 0; v < vectors; v++) {
            value[v] = bit_cast<Bytes>(vectors == 1 && lanes < kLanes ? load_pairs_n(tile, lanes)
                                                                      : in_register(load_pairs(tile + v * kLanes * 4)));
          }
          for (int r = 0; r < rows; r++) {
            const Bytes weight = set1_bytes(s.weights[r] + half * kPiece + (t * kSteps + i) * 4);
            for (int v = 0; v < vectors; v++) acc[r][v] = dot_u8s8(acc[r][v], value[v], weight);
          }
        }
      }
      if (half == 1) break;
      for (int r = 0; r < rows; r++) {
        const Int offset = set1_int(-kByteZero * s.weight_sum[r]);
        for (int v = 0; v < vectors; v++) acc[r][v] = shift_add<7>(acc[r][v], offset);
      }
    }
    for (int r = 0; r < rows; r++) {
      for (int v = 0; v < vectors; v++) out[r][v] = to_float(acc[r][v]) * set1(s.weight_scale[r]);
    }
  }
};

}  // namespace

void attention_int8(const AttentionArgs& a) { attend_piece<Codes>(a); }

}  // namespace lockstep::cpu::LOCKSTEP_ISA
