// The operations: each a kernel or a few, into the rank's stream.
#include "cuda/backend.h"

#include <algorithm>
#include <cstring>
#include <utility>

namespace lockstep::cuda {
namespace {

unsigned type_bit(Type type) { return 1U << static_cast<unsigned>(type); }

}  // namespace

void CudaBackend::run(Error error, const char* what) {
  if (error != kSuccess && status_.ok()) status_ = check(error, what);
}

RowsOut CudaBackend::input_rows(unsigned types, int ld) {
  return {(types & type_bit(Type::kF32)) != 0 ? input_f32_ : nullptr, (types & type_bit(Type::kBf16)) != 0 ? input_bf16_ : nullptr, ld};
}

GemmArgs CudaBackend::product(const Matrix& w, int rows, float* out, int ld_out, const int32_t* expert_of, int rows_per_input) const {
  GemmArgs args{};
  args.x = w.type == Type::kF32 ? static_cast<const void*>(input_f32_) : input_bf16_;
  args.w = w.data;
  args.type = w.type;
  args.bias = w.bias;
  args.expert_of = expert_of;
  args.rows_per_input = rows_per_input;
  args.rows = rows;
  args.n = w.rows;
  args.k = w.cols;
  args.ld_x = args.ld_w = w.ld;
  args.out = out;
  args.ld_out = ld_out;
  args.bricks = w.bricks;
  return args;
}

void CudaBackend::multiply(const GemmArgs& args) {
  if (args.n == 0) return;
  const ProductBy by = by_whom(args);
  if (by == ProductBy::kGemm || (by == ProductBy::kLibrary && !parts_.library->can(args)))
    return run(k_.gemm(args, parts_.stream->get()), "gemm");
  if (args.bricks != Bricks::kNone) return multiply_dequantized(args);
  if (by == ProductBy::kWide) return run(k_.gemm_wide({args, wide_blocks_}, parts_.stream->get()), "gemm_wide");
  multiply_by_library(args);
}

void CudaBackend::multiply_by_library(const GemmArgs& args) {
  Status status = parts_.library->multiply(args);
  if (!status.ok() && status_.ok()) status_ = std::move(status);
}

// As many columns at a time as there is room for.
void CudaBackend::multiply_dequantized(const GemmArgs& args) {
  const int step = static_cast<int>(std::min(kDequantizedMax, max_matrix_) / args.ld_w) / kBrickRows * kBrickRows;
  for (int first = 0; first < args.n; first += step) {
    GemmArgs some = args;
    some.n = std::min(step, args.n - first);
    some.w = dequantized_;
    some.w_is_new = true;
    some.bricks = Bricks::kNone;
    some.bias = args.bias == nullptr ? nullptr : args.bias + first;
    some.out = args.out + first;
    const uint8_t* tiles = static_cast<const uint8_t*>(args.w) + tile_bytes(args.bricks, args.k) * (first / kBrickRows);
    const DequantizeArgs bf16 = {tiles, args.bricks, some.n, args.k, dequantized_, args.ld_w};
    run(k_.dequantize(bf16, parts_.stream->get()), "dequantize");
    multiply(some);
  }
}

void CudaBackend::norm(const NormWeights& weights, const int32_t* row_of, int rows, unsigned types) {
  NormArgs args{};
  args.x = x_;
  args.row_of = row_of;
  args.rows = rows;
  args.n = spec_.hidden;
  args.ld_x = ld_hidden_;
  args.norm = weights;
  args.replaces = spec_.post_norm && row_of == nullptr;
  args.out = input_rows(types, ld_hidden_);
  run(k_.norm(args, parts_.stream->get()), "norm");
}

bool CudaBackend::products_norm_input(const NormWeights& weights, unsigned types) const {
  return !sums_ranks() && !spec_.post_norm && weights.weight != nullptr && types == type_bit(Type::kBf16) &&
         products_norm(m_, spec_.hidden);
}

bool CudaBackend::qkv_norms(int layer) const { return products_norm_input(w_.layers[layer].before_attention, qkv_types(layer)); }

bool CudaBackend::mlp_norms(int layer) const {
  return spec_.layers[layer].experts == 0 && products_norm_input(w_.layers[layer].before_mlp, mlp_types(layer));
}

GemmArgs CudaBackend::normed(GemmArgs args, const NormWeights& weights) const {
  args.x = x_;
  args.norm = weights;
  return args;
}

void CudaBackend::join(PeerJoinArgs args) {
  args.two_shots = way_ == JoinWay::kTwoShots;
  args.rows = m_;
  args.n = spec_.hidden;
  args.ld = ld_hidden_;
  run(parts_.peers->join(args, turn_), "a sum over ranks");
  turn_ = 1 - turn_;
  y_ = parts_of_sum_[turn_];
}

// `next`: the norm that comes next, and what products read of it; null: none, or one that does more. Where ranks are summed by kernels the
// same one makes it.
void CudaBackend::add(const NormWeights& after, const NormWeights* next, unsigned types) {
  if (!sums_ranks()) {
    const AddArgs args = {y_, x_, m_, spec_.hidden, ld_hidden_, after};
    return run(k_.add(args, parts_.stream->get()), "add");
  }
  PeerJoinArgs args{};
  args.adds = true;
  args.x = x_;
  args.norm = after;
  if (next != nullptr && !spec_.post_norm) {
    args.next = *next;
    args.out = input_rows(types, ld_hidden_);
    input_is_ready_ = true;
  }
  join(args);
}

void CudaBackend::prepare_rotations() {
  for (size_t r = 0; r < rotations_.size(); r++) {
    const RopeSpec& rope = spec_.ropes[r];
    const RopeTableArgs args = {
        on_device_.position, m_, rope.rotary_dim / 2, w_.inverse_frequencies[r], rope.attention_factor, rotations_[r].cosines,
        rotations_[r].sines};
    run(k_.rope_table(args, parts_.stream->get()), "rope_table");
  }
}

void CudaBackend::embed() {
  prepare_rotations();
  const Matrix& table = w_.embed;
  EmbedArgs args{};
  args.ids = on_device_.ids;
  args.last = device_sampler_.last();
  args.table = table.data;
  args.type = table.type;
  args.ld = table.ld;
  args.bricks = table.bricks;
  args.first_row = shard_.vocab.first;
  args.table_rows = table.rows;
  args.rows = m_;
  args.n = spec_.hidden;
  args.out = y_;
  args.ld_out = ld_hidden_;
  run(k_.embed(args, parts_.stream->get()), "embed");
}

void CudaBackend::add_embedding() {
  AddEmbeddingArgs args{};
  args.embedding = y_;
  if (sums_ranks()) {
    PeerJoinArgs sum{};
    sum.x = sum_;
    join(sum);
    args.embedding = sum_;
  }
  args.x = x_;
  args.rows = m_;
  args.n = spec_.hidden;
  args.ld = ld_hidden_;
  args.scale = spec_.embedding_scale;
  args.types = w_.types.data;
  args.type_of = on_device_.type_of;
  args.positions = w_.positions.data;
  args.position = on_device_.position;
  args.position_offset = spec_.learned_offset;
  args.types_type = w_.types.type;
  args.positions_type = w_.positions.type;
  args.ld_types = w_.types.ld;
  args.ld_positions = w_.positions.ld;
  run(k_.add_embedding(args, parts_.stream->get()), "add_embedding");
}

void CudaBackend::attention_input(int layer) {
  const LayerWeights& lw = w_.layers[layer];
  if (!std::exchange(input_is_ready_, false) && !qkv_norms(layer)) norm(lw.before_attention, nullptr, m_, qkv_types(layer));
}

void CudaBackend::qkv(int layer) {
  float* out = qkv_;
  const LayerWeights& lw = w_.layers[layer];
  for (const Matrix& part : lw.qkv) {
    const GemmArgs args = product(part, m_, out, ld_qkv_);
    multiply(qkv_norms(layer) ? normed(args, lw.before_attention) : args);
    out += part.rows;
  }
}

void CudaBackend::rope_append(int layer) {
  const LayerSpec& spec = spec_.layers[layer];
  const LayerWeights& lw = w_.layers[layer];
  RopeAppendArgs args{};
  args.qkv = qkv_;
  args.slots = m_;
  args.ld = ld_qkv_;
  args.heads = shard_.heads.count;
  args.kv = kv_of(layer);
  args.position = on_device_.position;
  args.row_of = on_device_.table_row;
  args.tables = on_device_.tables;
  args.table_len = dims_.max_blocks_per_row;
  args.normed = spec.qk_norm.present;
  args.weight_offset = spec.qk_norm.weight_offset;
  args.eps = spec.qk_norm.eps;
  args.q_norm = lw.q_norm;
  args.k_norm = lw.k_norm;
  if (spec.rope >= 0) {
    args.cosines = rotations_[spec.rope].cosines;
    args.sines = rotations_[spec.rope].sines;
    args.rotary_dim = spec_.ropes[spec.rope].rotary_dim;
  }
  run(k_.rope_append(args, parts_.stream->get()), "rope_append");
}

void CudaBackend::attention(int layer) {
  const LayerSpec& spec = spec_.layers[layer];
  const Matrix& o = w_.layers[layer].o;
  AttentionArgs args{};
  args.q = qkv_;
  args.slots = m_;
  args.ld_q = ld_qkv_;
  args.heads = shard_.heads.count;
  args.first_head = shard_.heads.first;
  args.first_kv_head = shard_.kv_heads.first;
  args.group = spec_.heads / spec_.kv_heads;
  args.kv = kv_of(layer);
  args.position = on_device_.position;
  args.end_of = on_device_.end_of;
  args.row_of = on_device_.table_row;
  args.tables = on_device_.tables;
  args.table_len = dims_.max_blocks_per_row;
  args.sees_all = !spec_.causal;
  args.window = spec.window;
  args.scale = spec.scale;
  args.softcap = spec.softcap;
  args.out = input_rows(type_bit(o.type), o.ld);
  if (attends_in_tiles()) return attend_in_tiles(args);
  run(k_.attention(args, parts_.stream->get()), "attention");
}

void CudaBackend::attend_in_tiles(const AttentionArgs& attention) {
  const size_t window = std::find(windows_.begin(), windows_.end(), attention.window) - windows_.begin();
  const int32_t* counts = on_host_[step_->slot].num_items + 2 * window;
  AttentionTilesArgs args{};
  args.attention = attention;
  args.items = on_device_.items + window * max_items_;
  args.num_items = on_device_.num_items + 2 * window;
  // A recording is launched for other items too.
  args.max_items = is_recorded_ ? std::min(max_items_, m_ * max_pieces_) : counts[0];
  args.parts = attention_parts_;
  args.ended = attention_ended_;
  run(k_.attention_few(args, parts_.stream->get()), "attention of few slots");
  if (is_recorded_) return;
  args.items += counts[0];
  args.num_items++;
  args.max_items = counts[1];
  run(k_.attention_many(args, parts_.stream->get()), "attention of many slots");
}

unsigned CudaBackend::qkv_types(int layer) const {
  unsigned types = 0;
  for (const Matrix& part : w_.layers[layer].qkv) types |= type_bit(part.type);
  return types;
}

GemmArgs CudaBackend::added(GemmArgs args, const NormWeights& after) const {
  args.adds = by_whom(args) != ProductBy::kLibrary && shard_.world_size == 1 && after.weight == nullptr;
  if (args.adds) args.out = x_;
  return args;
}

GemmArgs CudaBackend::out_product(int layer) const {
  const LayerWeights& lw = w_.layers[layer];
  return added(product(lw.o, m_, y_, ld_hidden_), lw.after_attention);
}

void CudaBackend::out_projection(int layer) { multiply(out_product(layer)); }

unsigned CudaBackend::mlp_types(int layer) const {
  const LayerWeights& lw = w_.layers[layer];
  return type_bit(lw.gate_up.type) | (spec_.layers[layer].experts > 0 ? type_bit(lw.router.type) : 0);
}

void CudaBackend::add_attention(int layer) { add(w_.layers[layer].after_attention, &w_.layers[layer].before_mlp, mlp_types(layer)); }

void CudaBackend::mlp_input(int layer) {
  if (!std::exchange(input_is_ready_, false) && !mlp_norms(layer)) norm(w_.layers[layer].before_mlp, nullptr, m_, mlp_types(layer));
}

GemmArgs CudaBackend::gate_up_product(int layer) const {
  const LayerSpec& spec = spec_.layers[layer];
  const LayerWeights& lw = w_.layers[layer];
  const int rows_of_token = this->rows_of_token(layer);
  GemmArgs args = product(lw.gate_up, m_ * rows_of_token, act_, ld_act_, spec.experts > 0 ? expert_of_ : nullptr, rows_of_token);
  if (mlp_norms(layer)) args = normed(args, lw.before_mlp);
  // Of bricks the others make some columns after the others.
  const ProductBy by = by_whom(args);
  const bool has_both = by == ProductBy::kGemm || (by == ProductBy::kWide && args.bricks == Bricks::kNone);
  args.gates = spec.gated && has_both && gemm_gates(args);
  args.activation = spec.activation;
  if (lw.down.type == Type::kF32) {
    args.gated = {act_, nullptr, lw.down.ld};
  } else {
    args.gated = {nullptr, reinterpret_cast<uint16_t*>(act_), lw.down.ld};
  }
  return args;
}

void CudaBackend::gate_up(int layer) {
  const LayerSpec& spec = spec_.layers[layer];
  if (spec.experts > 0) {
    multiply(product(w_.layers[layer].router, m_, router_logits_, ld_router_));
    const RouteArgs args = {router_logits_, m_, spec.experts, spec.experts_top_k, ld_router_, spec.normalize_top_k, expert_of_, weight_of_};
    run(k_.route(args, parts_.stream->get()), "route");
  }
  multiply(gate_up_product(layer));
}

void CudaBackend::down_input(int layer) {
  if (gate_up_product(layer).gates) return;
  const LayerSpec& spec = spec_.layers[layer];
  const Matrix& down = w_.layers[layer].down;
  const RowsOut out = input_rows(type_bit(down.type), down.ld);
  const ActivationArgs args = {act_, m_ * rows_of_token(layer), down.cols, ld_act_, spec.activation, spec.gated, out};
  run(k_.activation(args, parts_.stream->get()), "activation");
}

GemmArgs CudaBackend::down_product(int layer) const {
  const LayerWeights& lw = w_.layers[layer];
  const bool is_routed = spec_.layers[layer].experts > 0;
  GemmArgs args = is_routed ? product(lw.down, m_ * rows_of_token(layer), parts_of_experts_, ld_hidden_, expert_of_)
                            : added(product(lw.down, m_, y_, ld_hidden_), lw.after_mlp);
  if (gate_up_product(layer).gates) args.x = act_;
  return args;
}

void CudaBackend::down(int layer) {
  const LayerSpec& spec = spec_.layers[layer];
  multiply(down_product(layer));
  if (spec.experts == 0) return;
  const CombineArgs args = {parts_of_experts_, weight_of_, m_, spec_.hidden, spec.experts_top_k, ld_hidden_, y_};
  run(k_.combine(args, parts_.stream->get()), "combine");
}

void CudaBackend::add_mlp(int layer) {
  const LayerWeights* next = layer + 1 < static_cast<int>(w_.layers.size()) ? &w_.layers[layer + 1] : nullptr;
  add(w_.layers[layer].after_mlp, next == nullptr ? nullptr : &next->before_attention, next == nullptr ? 0 : qkv_types(layer + 1));
}

void CudaBackend::pool() {
  const PoolArgs args = {on_device_.pool, num_pooled_, x_, spec_.hidden, ld_hidden_, w_.final_norm, pooled_};
  run(k_.pool(args, parts_.stream->get()), "pool");
  const size_t bytes = sizeof(float) * dims_.max_rows * ld_hidden_;
  if (shard_.rank == 0) run(runtime_.copy(pooled_on_host_, pooled_, bytes, parts_.stream->get()), "pooled hidden states");
}

void CudaBackend::head_input(int first, int count) { norm(w_.final_norm, on_device_.output_slot + first, count, type_bit(w_.head.type)); }

void CudaBackend::head(int, int count) {
  multiply(product(w_.head, count, logits_, ld_logits_));
  if (spec_.logit_scale != 1 || spec_.logit_softcap > 0) {
    const FinishLogitsArgs args = {logits_, count, shard_.vocab.count, ld_logits_, spec_.logit_scale, spec_.logit_softcap};
    run(k_.finish_logits(args, parts_.stream->get()), "finish_logits");
  }
  if (gathers_ranks()) run(parts_.peers->gather(logits_whole_, logits_part_count()), "logits of all ranks");
}

Status CudaBackend::sample(int, int) {
  LOCKSTEP_RETURN_IF_ERROR(status_);
  return check(device_sampler_.launch({logits_whole_, shard_.world_size, ld_logits_}), "sample");
}

}  // namespace lockstep::cuda
