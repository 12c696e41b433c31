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

// As philox4x32, with a counter in each lane. 49,152 words take 47 us in AVX-512, where a compiler's own vectors took 86.
void gumbel_words(PhiloxKey key, uint32_t position, uint32_t choice, uint32_t tile, uint32_t* words) {
  const Int multiplier0 = set1_int(static_cast<int32_t>(kPhiloxMultiplier0));
  const Int multiplier1 = set1_int(static_cast<int32_t>(kPhiloxMultiplier1));
  for (uint32_t i = 0; i < kGumbelCounters; i += kLanes) {
    uint32_t counters[kLanes];
    for (int lane = 0; lane < kLanes; lane++) counters[lane] = tile * kGumbelCounters + i + static_cast<uint32_t>(lane);
    Int first;
    memcpy(&first, counters, sizeof(first));
    Int c[4] = {first, set1_int(static_cast<int32_t>(position)), set1_int(static_cast<int32_t>(choice)),
                set1_int(static_cast<int32_t>(kGumbelDomain))};
    PhiloxKey round_key = key;
    for (int round = 0; round < kPhiloxRounds; round++) {
      Int low0, high0, low1, high1;
      wide_product(c[0], multiplier0, &low0, &high0);
      wide_product(c[2], multiplier1, &low1, &high1);
      c[0] = high1 ^ c[1] ^ set1_int(static_cast<int32_t>(round_key.low));
      c[2] = high0 ^ c[3] ^ set1_int(static_cast<int32_t>(round_key.high));
      c[1] = low1;
      c[3] = low0;
      round_key.low += kPhiloxKeyStep0;
      round_key.high += kPhiloxKeyStep1;
    }
    for (uint32_t word = 0; word < 4; word++) memcpy(words + word * kGumbelCounters + i, &c[word], sizeof(Int));
  }
}

}  // namespace lockstep::cpu::LOCKSTEP_ISA
