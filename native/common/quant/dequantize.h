// Tensor types of GGUF files and of safetensors (floats, and the codes of quantised layers): block sizes and decoding to float32. Plain
// code, used at load and in tests; the kernels multiply with packed weights (cpu/isa/layout.h) and never come here.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "float_formats.h"
#include "k_blocks.h"
#include "small_blocks.h"

namespace lockstep::quant {

// `decode` turns one block of block_bytes bytes into block_values floats.
struct TypeInfo {
  const char* name;  // as ElementType of src/model/spec.ts
  int ggml_type;     // its number in GGUF files; -1: only in safetensors
  int block_values;
  int block_bytes;
  void (*decode)(const uint8_t* block, float* out);
};

inline void decode_f32(const uint8_t* block, float* out) { std::memcpy(out, block, 4); }
inline void decode_f16(const uint8_t* block, float* out) { *out = read_half(block); }
inline void decode_bf16(const uint8_t* block, float* out) { *out = bf16_to_float(read_u16(block)); }

inline void decode_u4(const uint8_t* block, float* out) {
  out[0] = static_cast<float>(*block & 15);
  out[1] = static_cast<float>(*block >> 4);
}
inline void decode_u8(const uint8_t* block, float* out) { *out = static_cast<float>(*block); }
inline void decode_i8(const uint8_t* block, float* out) { *out = static_cast<float>(static_cast<int8_t>(*block)); }
inline void decode_f8_e4m3(const uint8_t* block, float* out) { *out = f8_e4m3_to_float(*block); }

inline constexpr TypeInfo kTypes[] = {
    {"f32", 0, 1, 4, decode_f32},        {"f16", 1, 1, 2, decode_f16},          {"bf16", 30, 1, 2, decode_bf16},
    {"q4_0", 2, 32, 18, decode_q4_0},    {"q4_1", 3, 32, 20, decode_q4_1},      {"q5_0", 6, 32, 22, decode_q5_0},
    {"q5_1", 7, 32, 24, decode_q5_1},    {"q8_0", 8, 32, 34, decode_q8_0},      {"q2_k", 10, 256, 84, decode_q2_k},
    {"q3_k", 11, 256, 110, decode_q3_k}, {"q4_k", 12, 256, 144, decode_q4_k},   {"q5_k", 13, 256, 176, decode_q5_k},
    {"q6_k", 14, 256, 210, decode_q6_k}, {"iq4_nl", 20, 32, 18, decode_iq4_nl}, {"u4", -1, 2, 1, decode_u4},
    {"u8", -1, 1, 1, decode_u8},         {"i8", -1, 1, 1, decode_i8},           {"f8_e4m3", -1, 1, 1, decode_f8_e4m3},
};

// null: not a type that can be decoded.
inline const TypeInfo* type_info(const char* name) {
  for (const TypeInfo& type : kTypes) {
    if (std::strcmp(type.name, name) == 0) return &type;
  }
  return nullptr;
}

// Bytes of `count` values; count is a multiple of block_values.
inline size_t row_bytes(const TypeInfo& type, size_t count) { return count / type.block_values * type.block_bytes; }

// count values (a multiple of block_values) from row_bytes(type, count) bytes.
inline void dequantize_row(const TypeInfo& type, const uint8_t* bytes, size_t count, float* out) {
  for (size_t i = 0; i < count; i += type.block_values, bytes += type.block_bytes) type.decode(bytes, out + i);
}

}  // namespace lockstep::quant
