// Gumbel noise of a token: a function of (seed, choice, position, id) alone, so that any rank or thread may draw it.
#pragma once

#include <cstdint>

#include "common/philox.h"

namespace lockstep {

// Words are made for tiles of ids at once; id = tile * kGumbelTile + i takes word i / 256 of counter tile * 256 + i % 256, which lets a
// compiler put counters side by side in a vector.
constexpr int kGumbelTile = 1024;
constexpr double kGumbelMax = 22.9;  // of a 32-bit word: -log(-log1p(-2^-33)) = 22.87

void gumbel_words(PhiloxKey key, uint32_t position, uint32_t choice, uint32_t tile, uint32_t* words);
uint32_t gumbel_word(PhiloxKey key, uint32_t position, uint32_t choice, int32_t id);
// -log(-log(u)) for u = 1 - (word + 1/2) / 2^32: a low word is a high value.
double gumbel_of_word(uint32_t word);

// Not below gumbel_of_word(word), from the word's length in bits alone: -log(-log1p(-t)) <= -log(t), and t >= 2^(bits-33).
inline double gumbel_bound(uint32_t word) {
  if (word == 0) return kGumbelMax;
  const int bits = 32 - __builtin_clz(word);
  return 0.6931472 * (33 - bits);
}

}  // namespace lockstep
