// Rotary position embedding of one head (Su et al. 2021), in the half-split order of Hugging Face: value i pairs with i + dim/2.
#include "families.h"
#include "isa/isa.h"

namespace lockstep::cpu::LOCKSTEP_ISA {

void rope(float* head, const float* cos, const float* sin, int rotary_dim) {
  const int half = rotary_dim / 2;
  for (int i = 0; i < half; i += kLanes) {
    const int n = half - i < kLanes ? half - i : kLanes;
    const Float c = load_n(cos + i, n, 0.0f);
    const Float s = load_n(sin + i, n, 0.0f);
    const Float a = load_n(head + i, n, 0.0f);
    const Float b = load_n(head + half + i, n, 0.0f);
    store_n(head + i, a * c - b * s, n);
    store_n(head + half + i, b * c + a * s, n);
  }
}

}  // namespace lockstep::cpu::LOCKSTEP_ISA
