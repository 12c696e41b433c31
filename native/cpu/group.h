// What all ranks of a model share: the step buffer, the meeting place, the KV cache and, in gather mode, the activations.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "common/grammar.h"
#include "common/mask_maker.h"
#include "common/model_spec.h"
#include "common/status.h"
#include "common/step_layout.h"
#include "cpu/arena.h"
#include "cpu/kernels.h"
#include "cpu/shm_communicator.h"
#include "cpu/weights.h"

namespace lockstep::cpu {

struct GroupConfig {
  StepDims dims;
  ParallelMode mode = ParallelMode::kGather;
  ModelSpec spec;
  KvType kv_type = KvType::kBf16;
  int threads_per_rank = 1;
  int step_timeout_ms = 60000;
};

// Rows of activations prepared for the kernels; see Input. Those of the kinds that nobody reads are never touched.
struct InputBuffers {
  float* f32 = nullptr;
  uint16_t* bf16 = nullptr;
  uint8_t* int8 = nullptr;
};

// Which experts take which rows: rows of `act` are grouped by expert.
struct Routing {
  float* logits = nullptr;          // [max_tokens, ld_router]
  int32_t* choice = nullptr;        // [max_tokens, experts per token] chosen experts
  float* choice_weight = nullptr;   // [max_tokens, experts per token]
  int32_t* expert_first = nullptr;  // [experts + 1] rows
  int32_t* expert_fill = nullptr;   // [experts]
  int32_t* row_token = nullptr;     // [max_tokens * experts per token] token of each row
  float* row_weight = nullptr;      // [max_tokens * experts per token]
  Range rows_of(int expert) const { return {expert_first[expert], expert_first[expert + 1] - expert_first[expert]}; }
};

// Buffers of a step, row-major; row strides ("ld") are whole cache lines.
struct Activations {
  float* x = nullptr;          // [max_tokens, ld_hidden] residual stream
  float* y = nullptr;          // [max_tokens, ld_hidden] of o and down, where it does not go straight to x
  float* qkv = nullptr;        // [max_tokens, ld_qkv]
  float* attn = nullptr;       // [max_tokens, ld_attn]
  float* act = nullptr;        // [max_tokens * experts per token, ld_act]
  float* logits = nullptr;     // [kHeadRows, ld_logits]
  float* split_max = nullptr;  // results of attention pieces that are joined later, see attention.cpp
  float* split_sum = nullptr;
  float* split_acc = nullptr;
  InputBuffers input;
  Routing routing;
};

// Sizes that follow from the spec, the bounds and what of the heads and of the intermediate is held here.
struct Shapes {
  int heads = 0, kv_heads = 0, head_dim = 0;
  int ld_hidden = 0, ld_qkv = 0, ld_attn = 0, ld_act = 0, ld_logits = 0;
  int max_input = 0;       // widest input of any matrix, padded
  int rows_per_token = 1;  // rows of `act` for each token: experts that it is sent to
  int max_experts = 0, ld_router = 0;
  int max_pieces = 0;
  QkvColumns qkv;
};

constexpr int kMaxSplitRows = 16;  // query rows whose context may be split over threads at a time

Shapes shapes_of(const GroupConfig& config, Range heads, Range kv_heads, int max_intermediate, int vocab_columns);
// Takes a step's buffers for `rows` tokens.
void take_activations(const Shapes& shapes, int rows, int split_rows, ArenaCursor* cursor, Activations* out);

// Bytes of one KV head's part of a block: K tiles, then V tiles.
size_t kv_head_block_bytes(const GroupConfig& config);

class Group {
 public:
  // null and a reason when the memory is refused.
  static std::shared_ptr<Group> create(GroupConfig config, uint8_t* shared, const std::vector<int64_t>& offsets, const Kernels* kernels,
                                       int cores, std::string* error);
  const GroupConfig& config() const { return config_; }
  const StepBuffers& buffers() const { return buffers_; }
  const Kernels& kernels() const { return *kernels_; }
  ShmGroup* meeting() { return &meeting_; }
  GrammarStore* grammars() { return &grammars_; }
  MaskMaker* mask_maker() { return &mask_maker_; }
  WaitPolicy wait_policy() const { return policy_; }
  std::chrono::milliseconds timeout() const { return std::chrono::milliseconds(config_.step_timeout_ms); }
  bool gather() const { return config_.mode == ParallelMode::kGather; }
  int world_size() const { return config_.dims.world_size; }

  // gather mode: shared by all ranks; else null.
  const Shapes& shapes() const { return shapes_; }
  const Activations& activations() const { return activations_; }
  const Arena& kv() const { return kv_; }

  // Set by each rank when it has loaded; null: it is gone.
  void publish(int rank, std::shared_ptr<const Weights> weights);
  bool all_loaded() const;
  // For those who may outlive the rank; null: not loaded.
  std::shared_ptr<const Weights> keep_weights(int rank) const;
  // Set when the group ends: what works on its behalf in the background gives up.
  std::atomic<bool> ending{false};

 private:
  Group(GroupConfig config, const StepBuffers& buffers, const Kernels* kernels, int cores);

  const GroupConfig config_;
  const StepBuffers buffers_;
  const Kernels* const kernels_;
  const WaitPolicy policy_;
  ShmGroup meeting_;
  GrammarStore grammars_;
  MaskMaker mask_maker_;
  Shapes shapes_;
  Activations activations_;
  Arena activation_memory_;
  Arena kv_;
  mutable std::mutex kept_mutex_;
  std::vector<std::shared_ptr<const Weights>> kept_;  // [world_size]
};

}  // namespace lockstep::cpu
