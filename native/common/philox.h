// Philox4x32-10 (Salmon, Moraes, Dror, Shaw: "Parallel random numbers: as easy as 1, 2, 3", SC 2011): a counter-based generator. Random
// numbers are a function of key and counter, so nobody has to draw them in order.
#pragma once

#include <cstdint>

#include "common/anywhere.h"
#include "common/noise_layout.h"

namespace lockstep {

// Four words for the counter (c0, c1, c2, c3).
LOCKSTEP_ANYWHERE inline void philox4x32(PhiloxKey key, uint32_t c0, uint32_t c1, uint32_t c2, uint32_t c3, uint32_t out[4]) {
  for (int round = 0; round < kPhiloxRounds; round++) {
    const uint64_t p0 = static_cast<uint64_t>(kPhiloxMultiplier0) * c0;
    const uint64_t p1 = static_cast<uint64_t>(kPhiloxMultiplier1) * c2;
    const uint32_t n0 = static_cast<uint32_t>(p1 >> 32) ^ c1 ^ key.low;
    const uint32_t n2 = static_cast<uint32_t>(p0 >> 32) ^ c3 ^ key.high;
    c0 = n0;
    c1 = static_cast<uint32_t>(p1);
    c2 = n2;
    c3 = static_cast<uint32_t>(p0);
    key.low += kPhiloxKeyStep0;
    key.high += kPhiloxKeyStep1;
  }
  out[0] = c0, out[1] = c1, out[2] = c2, out[3] = c3;
}

}  // namespace lockstep
