// A rank's weights on its device: its rows and columns of each matrix (reduce mode, as parallel/sharding.ts cuts), in float32, bf16 or
// bricks of a checkpoint's own codes, and the vectors beside them. What has no bricks, or is cut through a block, becomes bf16.
#pragma once

#include <vector>

#include "common/model_spec.h"
#include "cuda/device.h"
#include "cuda/kernels.h"
#include "cuda/pack.h"

namespace lockstep::cuda {

struct Matrix {
  const void* data = nullptr;  // [rows, ld], or bricks; of experts as many times
  Type type = Type::kF32;      // what it is multiplied with; without bricks also what it is
  Bricks bricks = Bricks::kNone;
  int rows = 0, cols = 0, ld = 0;
  const float* bias = nullptr;  // [rows] or null
};

struct LayerWeights {
  NormWeights before_attention{}, after_attention{}, before_mlp{}, after_mlp{};
  const float *q_norm = nullptr, *k_norm = nullptr;
  std::vector<Matrix> qkv;  // q heads, then k heads, then v heads; three where they are not all kept in one way
  Matrix o;
  Matrix gate_up, down;  // gate rows, then up rows; of experts: one after the other
  Matrix router;         // whole on every rank
};

struct Weights {
  Memory memory;
  std::vector<LayerWeights> layers;
  std::vector<const float*> inverse_frequencies;  // [ropes]
  Matrix embed, head;                             // this rank's part of the vocabulary; one matrix when tied
  Matrix positions, types;                        // whole
  NormWeights final_norm{};
};

constexpr int round_up(int n) { return (n + kAlign - 1) / kAlign * kAlign; }

// Bytes of device memory that the rank's weights take.
Status weight_bytes(const ModelSpec& spec, const RankShard& shard, const WeightMap& map, size_t* bytes);
// Reads, cuts, converts and copies; what is there is complete when this returns.
Status load_weights(const ModelSpec& spec, const RankShard& shard, const WeightMap& map, const QuantizeBlocks& quantize,
                    const Device& device, const WaitBounds& bounds, Weights* out);

}  // namespace lockstep::cuda
