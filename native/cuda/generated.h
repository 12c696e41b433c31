// The values of weights that are in no file, by counting: of a tensor's name and a value's place in it, so that every rank, whatever part
// it has, and every program has the same.
#pragma once

#include <cstdint>

#include "common/anywhere.h"

namespace lockstep::cuda {

// FNV-1a (Fowler, Noll, Vo) of the tensor's name.
inline uint64_t generated_key(const char* name) {
  uint64_t key = 0xcbf29ce484222325u;
  for (; *name != '\0'; name++) key = (key ^ static_cast<uint8_t>(*name)) * 0x100000001b3u;
  return key;
}

// The sum of four uniform 16-bit parts of a word of splitmix64 (Steele, Lea, Flood 2014), about its mean: near a normal distribution of
// standard deviation 0.02. All but the last step is in whole numbers, and that is one product of float32.
LOCKSTEP_ANYWHERE inline float generated_value(uint64_t key, uint64_t at) {
  constexpr float kScale = 0.02f / 37837.2227f;  // sqrt(4 * (2^32 - 1) / 12)
  uint64_t z = key + (at + 1) * 0x9e3779b97f4a7c15u;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  z ^= z >> 31;
  const int sum = static_cast<int>((z & 0xffff) + (z >> 16 & 0xffff) + (z >> 32 & 0xffff) + (z >> 48));
  return static_cast<float>(sum - 2 * 0xffff) * kScale;
}

}  // namespace lockstep::cuda
