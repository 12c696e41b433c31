// The join of attention's pieces: with M the largest maximum, out = sum of acc[p] * 2^(max[p] - M) over sum of sum[p] * 2^(max[p] - M), p
// in order. A piece without keys is passed over; without any key out is 0. What a row becomes depends on its own pieces alone.
#include "families.h"
#include "isa/isa.h"
#include "isa/math.h"
#include "isa/partial.h"

namespace lockstep::cpu::LOCKSTEP_ISA {
namespace {

constexpr int kTogether = 16;  // pieces whose factors are known before their values are read
constexpr int kAhead = 8;      // queries; the lines of the result lie with the core that read them last

template <class Value>
LOCKSTEP_INLINE Value* place_of(const MergeArgs& a, Value* out, int query) {
  return out + static_cast<size_t>(query / a.heads) * a.ld + static_cast<size_t>(query % a.heads) * a.head_dim;
}

// Of the pieces from `first` on that have keys, at most kTogether: their factors and values; adds up their sums.
struct Pieces {
  int count = 0;
  float factors[kTogether];
  const float* values[kTogether];

  inline __attribute__((always_inline)) Pieces(const MergeArgs& a, int query, int first, float largest, float* total) {
    for (int p = first; p < a.pieces && p < first + kTogether; p++) {
      const size_t at = static_cast<size_t>(p) * a.stride + query;
      if (a.sum[at] == 0.0f) continue;
      // That of the piece with the largest maximum is exactly 1, as is that of an only piece.
      factors[count] = 1.0f;
      if (a.max[at] != largest) {
        float lanes[kLanes];
        store(lanes, exp2(set1(a.max[at] - largest)));
        factors[count] = lanes[0];
      }
      *total = *total + a.sum[at] * factors[count];
      values[count++] = a.acc + at * a.head_dim;
    }
  }
};

template <class Value>
void merge(const MergeArgs& a, Value* out) {
  const int queries = a.rows * a.heads;
  for (int query = 0; query < queries; query++) {
    if (query + kAhead < queries) {
      const char* next = reinterpret_cast<const char*>(place_of(a, out, query + kAhead));
      for (size_t i = 0; i < a.head_dim * sizeof(Value); i += 64) __builtin_prefetch(next + i, 1, 3);
    }
    float largest = -__builtin_inff();
    for (int p = 0; p < a.pieces; p++) {
      const float max = a.max[static_cast<size_t>(p) * a.stride + query];
      if (max > largest) largest = max;
    }
    float unfinished[kMaxHeadDim];  // of contexts of more than kTogether pieces
    float total = 0.0f;
    for (int first = 0; first < a.pieces; first += kTogether) {
      const Pieces pieces(a, query, first, largest, &total);
      const bool last = first + kTogether >= a.pieces;
      const Float inverse = set1(last && total != 0.0f ? 1.0f / total : 1.0f);
      for (int d = 0; d < a.head_dim; d += kLanes) {
        const int lanes = a.head_dim - d < kLanes ? a.head_dim - d : kLanes;
        Float value = first > 0 ? load_first(unfinished + d, lanes) : zero();
        for (int i = 0; i < pieces.count; i++) value = fma(load_first(pieces.values[i] + d, lanes), set1(pieces.factors[i]), value);
        if (last) {
          store_first(place_of(a, out, query) + d, value * inverse, lanes);
        } else {
          store_first(unfinished + d, value, lanes);
        }
      }
    }
  }
}

}  // namespace

void attention_merge(const MergeArgs& args) {
  if (args.bf16 != nullptr) return merge(args, args.bf16);
  merge(args, args.out);
}

}  // namespace lockstep::cpu::LOCKSTEP_ISA
