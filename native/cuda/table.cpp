#include "cuda/families.h"

namespace lockstep::cuda {

const Kernels& kernels() {
  static const Kernels table = {embed,      add_embedding, norm,      add,           gemm,           gemm_tiles,  gemm_wide, dequantize,
                                rope_table, rope_append,   attention, attention_few, attention_many, activation,  route,     combine,
                                pool,       generate,      peer_join, peer_gather,   finish_logits,  note_tokens, sample};
  return table;
}

}  // namespace lockstep::cuda
