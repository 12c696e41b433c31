#include "cpu/group.h"

#include <algorithm>

#include "common/backend.h"

namespace lockstep::cpu {
namespace {

int max_intermediate(const ModelSpec& spec) {
  int most = 0;
  for (const LayerSpec& layer : spec.layers) most = std::max(most, layer.intermediate);
  return most;
}

WaitPolicy policy_for(const GroupConfig& config, int cores) {
  WaitPolicy policy;
  policy.spin = config.dims.world_size * config.threads_per_rank <= cores;
  return policy;
}

void take_input(const Shapes& shapes, int rows, ArenaCursor* cursor, InputBuffers* out) {
  // Experts: `down` reads a row for each expert of a token, of the intermediate's width; everything else one row a token.
  const size_t token_rows = static_cast<size_t>(rows);
  const size_t expert_rows = token_rows * shapes.rows_per_token;
  const size_t values = std::max(token_rows * shapes.max_input, expert_rows * shapes.ld_act);
  out->f32 = cursor->take<float>(values);
  out->bf16 = cursor->take<uint16_t>(values);
  out->int8 =
      cursor->take<uint8_t>(std::max(token_rows * Int8Layout(shapes.max_input).bytes, expert_rows * Int8Layout(shapes.ld_act).bytes));
}

void take_routing(const Shapes& shapes, size_t tokens, ArenaCursor* cursor, Routing* out) {
  const size_t rows = tokens * shapes.rows_per_token;
  out->logits = cursor->take<float>(tokens * shapes.ld_router);
  out->choice = cursor->take<int32_t>(rows);
  out->choice_weight = cursor->take<float>(rows);
  out->expert_first = cursor->take<int32_t>(shapes.max_experts + 1);
  out->expert_fill = cursor->take<int32_t>(shapes.max_experts);
  out->row_token = cursor->take<int32_t>(rows);
  out->row_weight = cursor->take<float>(rows);
}

}  // namespace

Shapes shapes_of(const GroupConfig& config, Range heads, Range kv_heads, int intermediate, int vocab_columns) {
  const ModelSpec& spec = config.spec;
  Shapes shapes;
  shapes.heads = heads.count;
  shapes.kv_heads = kv_heads.count;
  shapes.head_dim = spec.head_dim;
  shapes.qkv = qkv_columns(heads.count * spec.head_dim, kv_heads.count * spec.head_dim);
  shapes.ld_hidden = round_up(spec.hidden, kBlockRows);
  shapes.ld_qkv = std::max(shapes.qkv.end, kBlockRows);
  shapes.ld_attn = std::max(round_up(heads.count * spec.head_dim, kBlockRows), kBlockRows);
  shapes.ld_act = std::max(round_up(intermediate, kBlockRows), kBlockRows);
  shapes.ld_logits = round_up(vocab_columns, kBlockRows);
  shapes.max_input = std::max({shapes.ld_hidden, shapes.ld_attn, shapes.ld_act});
  for (const LayerSpec& layer : spec.layers) {
    shapes.rows_per_token = std::max(shapes.rows_per_token, layer.experts_top_k);
    shapes.max_experts = std::max(shapes.max_experts, layer.experts);
  }
  shapes.ld_router = round_up(shapes.max_experts, kBlockRows);
  shapes.max_pieces = (config.dims.max_seq_len + kPiece - 1) / kPiece;
  return shapes;
}

void take_activations(const Shapes& shapes, int rows, int split_rows, ArenaCursor* cursor, Activations* out) {
  const size_t m = static_cast<size_t>(rows);
  out->x = cursor->take<float>(m * shapes.ld_hidden);
  out->y = cursor->take<float>(m * shapes.ld_hidden);
  out->qkv = cursor->take<float>(m * shapes.ld_qkv);
  out->attn = cursor->take<float>(m * shapes.ld_attn);
  out->act = cursor->take<float>(m * shapes.rows_per_token * shapes.ld_act);
  out->logits = cursor->take<float>(static_cast<size_t>(kHeadRows) * shapes.ld_logits);
  const size_t pieces = static_cast<size_t>(split_rows) * shapes.heads * shapes.max_pieces;
  out->split_max = cursor->take<float>(pieces);
  out->split_sum = cursor->take<float>(pieces);
  out->split_acc = cursor->take<float>(pieces * shapes.head_dim);
  take_input(shapes, rows, cursor, &out->input);
  if (shapes.max_experts > 0) take_routing(shapes, m, cursor, &out->routing);
}

size_t kv_head_block_bytes(const GroupConfig& config) {
  return kv_block_bytes(config.kv_type, config.spec.head_dim, config.dims.block_size);
}

Group::Group(GroupConfig config, const StepBuffers& buffers, const Kernels* kernels, int cores)
    : config_(std::move(config)),
      buffers_(buffers),
      kernels_(kernels),
      policy_(policy_for(config_, cores)),
      meeting_(config_.dims.world_size, policy_, std::chrono::milliseconds(config_.step_timeout_ms),
               buffers.control.control + kControlAbort),
      kept_(config_.dims.world_size) {}

std::shared_ptr<Group> Group::create(GroupConfig config, uint8_t* shared, const std::vector<int64_t>& offsets, const Kernels* kernels,
                                     int cores, std::string* error) {
  StepBuffers buffers;
  buffers.dims = config.dims;
  if (!bind_step_buffers(shared, offsets.data(), static_cast<int>(offsets.size()), &buffers)) {
    *error = "the step buffer has " + std::to_string(offsets.size()) + " columns, which is not the native side's number: rebuild the addon";
    return nullptr;
  }
  std::shared_ptr<Group> group(new Group(std::move(config), buffers, kernels, cores));
  if (!group->gather()) return group;

  const GroupConfig& c = group->config_;
  group->shapes_ = shapes_of(c, {0, c.spec.heads}, {0, c.spec.kv_heads}, max_intermediate(c.spec), c.spec.vocab);
  ArenaCursor size(nullptr);
  take_activations(group->shapes_, c.dims.max_tokens, kMaxSplitRows, &size, &group->activations_);
  const size_t kv_bytes = kv_head_block_bytes(c) * c.spec.kv_heads * c.spec.layers.size() * c.dims.num_blocks;
  if (!group->activation_memory_.reserve(size.used(), false) || !group->kv_.reserve(kv_bytes, true)) {
    *error = "the system refuses " + std::to_string((size.used() + kv_bytes) >> 20) + " MiB for the KV cache and activations";
    return nullptr;
  }
  ArenaCursor place(group->activation_memory_.data());
  take_activations(group->shapes_, c.dims.max_tokens, kMaxSplitRows, &place, &group->activations_);
  return group;
}

void Group::publish(int rank, std::shared_ptr<const Weights> weights) {
  const std::lock_guard<std::mutex> lock(kept_mutex_);
  kept_[rank] = std::move(weights);
}

std::shared_ptr<const Weights> Group::keep_weights(int rank) const {
  const std::lock_guard<std::mutex> lock(kept_mutex_);
  return kept_[rank];
}

bool Group::all_loaded() const {
  const std::lock_guard<std::mutex> lock(kept_mutex_);
  return std::all_of(kept_.begin(), kept_.end(), [](const auto& weights) { return weights != nullptr; });
}

}  // namespace lockstep::cpu
