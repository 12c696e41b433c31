// The kernel functions of one instruction set; table.cpp gathers them. Meanings and shapes stand in kernels.h.
#pragma once

#include "kernels.h"

namespace lockstep::cpu::LOCKSTEP_ISA {

// pack.cpp
size_t packed_block_bytes(Format format, int cols);
void pack_float(Format format, const float* const* rows, int num_rows, int cols, uint8_t* dst);
void unpack_row(Format format, const uint8_t* block, int row, int cols, float* dst);

// pack_codes.cpp: of the quantised formats
void pack_codes(Format format, const uint8_t* const* rows, int num_rows, int cols, uint8_t* dst);
void unpack_codes(Format format, const uint8_t* block, int row, int cols, float* dst);

// quantize_weights.cpp
void quantize_blocks(Format format, const float* const* rows, int num_rows, int cols, uint8_t* const* blocks);

// quantize.cpp
void row_to_bf16(const float* x, int k, int k_padded, uint16_t* out);
void row_to_int8(const float* x, int k, int k_padded, uint8_t* out);

// norm.cpp
void rms_norm(const float* x, const float* weight, float weight_offset, float eps, int n, float* out);
void layer_norm(const float* x, const float* weight, const float* bias, float eps, int n, float* out);
void add_row(const float* x, int n, float* out);

// rope.cpp
void rope(float* head, const float* cos, const float* sin, int rotary_dim);

// gemm_f32.cpp, gemm_bf16.cpp, gemm_int8.cpp, gemm_int4.cpp, gemm_int5.cpp, gemm_k.cpp
void gemm_f32(const Packed& w, int first, int count, const Input& in, int m, const GemmOut& out);
void gemm_bf16(const Packed& w, int first, int count, const Input& in, int m, const GemmOut& out);
void gemm_q8_0(const Packed& w, int first, int count, const Input& in, int m, const GemmOut& out);
void gemm_q4_0(const Packed& w, int first, int count, const Input& in, int m, const GemmOut& out);
void gemm_q4_1(const Packed& w, int first, int count, const Input& in, int m, const GemmOut& out);
void gemm_q5_0(const Packed& w, int first, int count, const Input& in, int m, const GemmOut& out);
void gemm_q5_1(const Packed& w, int first, int count, const Input& in, int m, const GemmOut& out);
void gemm_iq4_nl(const Packed& w, int first, int count, const Input& in, int m, const GemmOut& out);
void gemm_q4_k(const Packed& w, int first, int count, const Input& in, int m, const GemmOut& out);
void gemm_q5_k(const Packed& w, int first, int count, const Input& in, int m, const GemmOut& out);
void gemm_q6_k(const Packed& w, int first, int count, const Input& in, int m, const GemmOut& out);

// activation.cpp: y[tile_rows, 32] of one block to its place in out; row_first is the first of the m rows.
void store_tile(const float* y, int tile_rows, int row_first, int block, int rows, const GemmOut& out);

// kv_cache.cpp
void kv_append(const KvView& kv, int pos, const float* k, const float* v);

// attention.cpp, attention_int8.cpp
size_t attention_scratch_bytes(int query_rows, int head_dim);
void attention(const AttentionArgs& args);
void attention_int8(const AttentionArgs& args);

// attention_merge.cpp
void attention_merge(const MergeArgs& args);

// vocab.cpp
void softcap_row(float* logits, int n, float cap);
void argmax_row(const float* logits, int n, float* value, int32_t* index);
uint64_t sum_exp(const float* logits, int n, float max);
uint64_t fixed_exp(float logit, float max);
void gumbel_words(PhiloxKey key, uint32_t position, uint32_t choice, uint32_t tile, uint32_t* words);

}  // namespace lockstep::cpu::LOCKSTEP_ISA
