// A model as data: src/model/spec.ts in C++, field for field, and src/addon/binding.ts's RankShard.
// `addon/convert.cpp` fills these and checks every number against the others; what is below trusts them.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "common/activation.h"

namespace lockstep {

struct NormSpec {
  bool present = false;  // where TypeScript has null
  bool layer_norm = false;
  float eps = 0;
  float weight_offset = 0;
  bool bias = false;
};

struct RopeSpec {
  int rotary_dim = 0;
  std::vector<float> inverse_frequencies;  // [rotary_dim / 2]
  float attention_factor = 1;
};

struct LayerSpec {
  // attention
  bool qkv_bias = false;
  bool out_bias = false;
  NormSpec qk_norm;
  int window = 0;     // 0: all
  float softcap = 0;  // 0: none
  float scale = 1;
  int rope = -1;  // index into ModelSpec::ropes; -1: none
  // MLP
  int intermediate = 0;  // of the dense MLP, or of each expert
  bool gated = true;
  Activation activation = Activation::kSilu;
  bool mlp_bias = false;
  int experts = 0;  // 0: dense
  int experts_top_k = 0;
  bool normalize_top_k = false;
  // norms
  NormSpec before_attention, after_attention, before_mlp, after_mlp;
};

struct ModelSpec {
  int hidden = 0, vocab = 0, heads = 0, kv_heads = 0, head_dim = 0;
  float embedding_scale = 1;
  bool learned_positions = false;
  int learned_offset = 0;
  int learned_count = 0;
  int token_types = 0;  // 0: none
  bool tied = false;
  std::vector<RopeSpec> ropes;
  std::vector<LayerSpec> layers;
  NormSpec final_norm;
  bool post_norm = false;
  bool causal = true;
  float logit_softcap = 0;  // 0: none
  float logit_scale = 1;
};

enum class ElementType : uint8_t {
  kF32,
  kF16,
  kBf16,
  kQ8_0,
  kQ4_0,
  kQ4_1,
  kQ5_0,
  kQ5_1,
  kQ2_K,
  kQ3_K,
  kQ4_K,
  kQ5_K,
  kQ6_K,
  kIq4Nl,
  kU4,
  kU8,
  kI8,
  kF8E4M3,
};

enum class WeightFormat : uint8_t { kF32, kBf16, kQ8_0, kQ4_0, kQ4_1, kQ5_0, kQ5_1, kIq4Nl, kQ4_K, kQ5_K, kQ6_K };

struct TensorSource {
  int file = 0;
  int64_t byte_offset = 0;
  ElementType type = ElementType::kF32;
  int64_t rows = 0, cols = 0;  // of the whole source tensor, as stored
  bool transposed = false;
  int64_t first_row = 0;
  int interleaved_head_dim = 0;
};

enum class PlaceType : uint8_t { kF32, kF16, kBf16, kI32, kI64 };

struct Place {
  bool present = false;  // where TypeScript has null
  int file = 0;
  int64_t byte_offset = 0;
  PlaceType type = PlaceType::kF32;
};

enum class CodeLayout : uint8_t { kRows, kGptq, kAwq };

struct Scaling {
  bool present = false;  // where TypeScript has null
  CodeLayout layout = CodeLayout::kRows;
  int64_t group_rows = 1, group_cols = 1;
  Place scales, zeros, group_of_column;
  int zero_point = 0;
};

struct WeightTensor {
  std::string name;
  int rows = 0, cols = 0;
  WeightFormat format = WeightFormat::kF32;
  TensorSource source;
  Scaling scaling;
  float bias = 0;
};

struct WeightMap {
  std::vector<std::string> files;
  std::vector<WeightTensor> tensors;
  bool generated = false;  // matrices are made on the GPU (cuda/generated.h), and only vectors are read
};

struct Range {
  int first = 0;
  int count = 0;
  int end() const { return first + count; }
};

enum class ParallelMode : uint8_t { kGather, kReduce };

struct RankShard {
  ParallelMode mode = ParallelMode::kGather;
  int rank = 0;
  int world_size = 1;
  Range heads, kv_heads;
  std::vector<Range> intermediate;  // one a layer
  Range vocab;
};

}  // namespace lockstep
