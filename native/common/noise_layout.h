// The numbers of a sampler's noise: without functions, which a linker could share between instruction sets.
#pragma once

#include <cstdint>

namespace lockstep {

// Philox4x32-10; see philox.h.
struct PhiloxKey {
  uint32_t low, high;
};
constexpr int kPhiloxRounds = 10;
constexpr uint32_t kPhiloxMultiplier0 = 0xD2511F53U, kPhiloxMultiplier1 = 0xCD9E8D57U;
constexpr uint32_t kPhiloxKeyStep0 = 0x9E3779B9U, kPhiloxKeyStep1 = 0xBB67AE85U;

// Words of Gumbel noise are made for tiles of ids at once; id = tile * kGumbelTile + i takes word i / 256 of counter tile * 256 + i % 256,
// which lets counters stand side by side in a vector (cpu/vocab.cpp).
constexpr int kGumbelTile = 1024;
constexpr uint32_t kGumbelCounters = kGumbelTile / 4;
constexpr uint32_t kGumbelDomain = 0x4C4F434B;  // sets these counters apart from any other use of a seed

}  // namespace lockstep
