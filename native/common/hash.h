// Hashes of sequences of numbers; what is found by one is compared besides.
#pragma once

#include <cstdint>

namespace lockstep {

inline uint64_t mix(uint64_t hash, uint64_t value) {
  hash ^= value + 0x9e3779b97f4a7c15 + (hash << 6) + (hash >> 2);
  return hash * 0xff51afd7ed558ccd;
}

}  // namespace lockstep
