// The table of one instruction set; dispatch.cpp chooses between the tables.
#include "families.h"
#include "isa/isa.h"

namespace lockstep::cpu::LOCKSTEP_ISA {
namespace {

void gemm(const Packed& w, int first, int count, const Input& in, int m, const GemmOut& out) {
  switch (w.format) {
    case Format::kF32:
      return gemm_f32(w, first, count, in, m, out);
    case Format::kBf16:
      return gemm_bf16(w, first, count, in, m, out);
    case Format::kQ8_0:
      return gemm_q8_0(w, first, count, in, m, out);
    case Format::kQ4_0:
      return gemm_q4_0(w, first, count, in, m, out);
    case Format::kQ4_1:
      return gemm_q4_1(w, first, count, in, m, out);
    case Format::kQ5_0:
      return gemm_q5_0(w, first, count, in, m, out);
    case Format::kQ5_1:
      return gemm_q5_1(w, first, count, in, m, out);
    case Format::kIq4Nl:
      return gemm_iq4_nl(w, first, count, in, m, out);
    case Format::kQ4_K:
      return gemm_q4_k(w, first, count, in, m, out);
    case Format::kQ5_K:
      return gemm_q5_k(w, first, count, in, m, out);
    case Format::kQ6_K:
      return gemm_q6_k(w, first, count, in, m, out);
  }
}

}  // namespace

extern const Kernels kTable;
const Kernels kTable = {
    kIsaName,
    packed_block_bytes,
    pack_float,
    pack_codes,
    quantize_blocks,
    unpack_row,
    row_to_bf16,
    row_to_int8,
    rms_norm,
    layer_norm,
    add_row,
    rope,
    gemm,
    kv_append,
    attention_scratch_bytes,
    attention,
    attention_merge,
    softcap_row,
    argmax_row,
    sum_exp,
    fixed_exp,
    gumbel_words,
};

}  // namespace lockstep::cpu::LOCKSTEP_ISA
