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

// A NaN never wins; where nothing does (all NaN or -inf), index 0 and -inf. First the largest value, then its first place:
// the second pass stops early and costs less than carrying indices through the first.
void argmax_row(const float* logits, int n, float* value, int32_t* index) {
  Float best = set1(kLowest);
  int i = 0;
  for (; i + kLanes <= n; i += kLanes) best = max(load(logits + i), best);
  if (i < n) best = max(load_n(logits + i, n - i, kLowest), best);
  const float largest = reduce_max(best);
  *value = largest;
  *index = 0;
  for (i = 0; i < n; i++) {
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
