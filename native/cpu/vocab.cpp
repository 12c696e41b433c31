// What the sampler asks of a slice of logits. argmax keeps the lowest id of equal values; sums are integers (kernels.h).
#include "families.h"
#include "isa/isa.h"
#include "isa/math.h"

namespace lockstep::cpu::LOCKSTEP_ISA {
namespace {

constexpr float kLowest = -__builtin_inff();

int lanes_left(int n, int i) { return n - i < kLanes ? n - i : kLanes; }

}  // namespace

// cap * tanh(logit / cap)
void softcap_row(float* logits, int n, float cap) {
  const Float limit = set1(cap);
  for (int i = 0; i < n; i += kLanes) {
    const int left = lanes_left(n, i);
    store_n(logits + i, limit * tanh(load_n(logits + i, left, 0.0f) / limit), left);
  }
}

// A NaN never wins; where nothing does (all NaN or -inf), index 0 and -inf. The first chunk with the largest value is found by vectors,
// the place in it by one more look at that chunk: cheaper than carrying indices along.
void argmax_row(const float* logits, int n, float* value, int32_t* index) {
  constexpr int kChunk = 1024;
  float largest = kLowest;
  int first = 0;
  for (int begin = 0; begin < n; begin += kChunk) {
    const int end = n - begin < kChunk ? n : begin + kChunk;
    Float best = set1(kLowest);
    int i = begin;
    for (; i + kLanes <= end; i += kLanes) best = max(load(logits + i), best);
    if (i < end) best = max(load_n(logits + i, end - i, kLowest), best);
    const float here = reduce_max(best);
    if (here > largest) {
      largest = here;
      first = begin;
    }
  }
  *value = largest;
  *index = 0;
  for (int i = first; i < n && i < first + kChunk; i++) {
    if (logits[i] == largest) {
      *index = i;
      return;
    }
  }
}

uint64_t sum_exp(const float* logits, int n, float max) {
  FixedSum sum;
  const Float shift = set1(max);
  int i = 0;
  for (; i + kLanes <= n; i += kLanes) sum.add(exp(load(logits + i) - shift));
  if (i < n) sum.add(exp(load_n(logits + i, n - i, kLowest) - shift));
  return sum.total();
}

uint64_t fixed_exp(float logit, float max) {
  FixedSum sum;
  sum.add(exp(load_n(&logit, 1, kLowest) - set1(max)));
  return sum.total();
}

}  // namespace lockstep::cpu::LOCKSTEP_ISA
