// What the sampler takes of a kernel table.
#pragma once

#include "common/sampler.h"
#include "cpu/kernels.h"

namespace lockstep::cpu {

inline VocabularyOps vocabulary_ops(const Kernels& k) {
  return {k.argmax, k.sum_exp, k.fixed_exp, k.softcap, k.gumbel_words, kFixedExpBits};
}

}  // namespace lockstep::cpu
