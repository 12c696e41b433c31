// Loads and stores of the first `count` values of a vector, 1 … kLanes of them, where that is most often all.
#pragma once

#include "isa.h"

namespace lockstep::cpu::LOCKSTEP_ISA {
namespace {

LOCKSTEP_INLINE Float load_first(const float* p, int count) { return count == kLanes ? load(p) : load_n(p, count, 0.0f); }

LOCKSTEP_INLINE void store_first(float* p, Float v, int count) {
  if (count == kLanes) return store(p, v);
  store_n(p, v, count);
}
// Rounded to bf16.
LOCKSTEP_INLINE void store_first(uint16_t* p, Float v, int count) {
  if (count == kLanes) return store_bf16(p, v);
  uint16_t rounded[kLanes];
  store_bf16(rounded, v);
  for (int i = 0; i < count; i++) p[i] = rounded[i];
}

}  // namespace
}  // namespace lockstep::cpu::LOCKSTEP_ISA
