// Gumbel noise of a token: a function of (seed, choice, position, id) alone, so that any rank, thread or device may draw it.
#pragma once

#include <cmath>
#include <cstdint>

#include "common/philox.h"

namespace lockstep {

constexpr double kGumbelMax = 22.9;  // of a 32-bit word: -log(-log1p(-2^-33)) = 22.87

// The words of ids tile * kGumbelTile + within, + 256, + 512 and + 768; within < kGumbelCounters.
LOCKSTEP_ANYWHERE inline void four_gumbel_words(PhiloxKey key, uint32_t position, uint32_t choice, uint32_t tile, uint32_t within,
                                                uint32_t words[4]) {
  philox4x32(key, tile * kGumbelCounters + within, position, choice, kGumbelDomain, words);
}
uint32_t gumbel_word(PhiloxKey key, uint32_t position, uint32_t choice, int32_t id);

// -log(-log(u)) for u = 1 - (word + 1/2) / 2^32: a low word is a high value.
LOCKSTEP_ANYWHERE inline double gumbel_of_word(uint32_t word) {
  const double t = (static_cast<double>(word) + 0.5) * 0x1p-32;
  return -log(-log1p(-t));
}

// No word above this one scores `best` at a logit of `most` or less, since -log(-log1p(-t)) <= -log(t).
inline uint32_t last_gumbel_word(double most, double best) {
  constexpr double kWords = 4294967296.0, kSlack = 1 + 1e-9;  // far more than what a logarithm is rounded by
  const double last = std::exp(most - best) * kWords * kSlack;
  return last < kWords - 2 ? static_cast<uint32_t>(last) + 1 : 0xffffffffU;
}

// Not below gumbel_of_word(word), from the word's length in bits alone: -log(-log1p(-t)) <= -log(t), and t >= 2^(bits-33).
LOCKSTEP_ANYWHERE inline double gumbel_bound(uint32_t word) {
  if (word == 0) return kGumbelMax;
#ifdef __CUDA_ARCH__
  const int bits = 32 - __clz(static_cast<int>(word));
#else
  const int bits = 32 - __builtin_clz(word);
#endif
  return 0.6931472 * (33 - bits);
}

}  // namespace lockstep
