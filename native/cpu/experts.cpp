// Layers of experts: routing, and matrices that each take some of the rows.
// Sameness: the router is f32 and every rank holds it whole; ties go to the lowest expert; a row's experts are added in expert order.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "cpu/backend.h"

namespace lockstep::cpu {
namespace {

// The top_k largest of softmax(logits[count]), best first.
void choose(float* logits, int count, int top_k, bool normalize, int32_t* experts, float* weights) {
  float max = logits[0];
  for (int e = 1; e < count; e++) max = std::max(max, logits[e]);
  float sum = 0;
  for (int e = 0; e < count; e++) sum += logits[e] = std::exp(logits[e] - max);
  float chosen = 0;
  for (int i = 0; i < top_k; i++) {
    int best = 0;
    for (int e = 1; e < count; e++) {
      if (logits[e] > logits[best]) best = e;
    }
    experts[i] = best;
    weights[i] = logits[best] / sum;
    chosen += weights[i];
    logits[best] = -1;
  }
  for (int i = 0; normalize && i < top_k; i++) weights[i] /= chosen;
}

}  // namespace

unsigned CpuBackend::mlp_input_kinds(int layer) const {
  const LayerWeights& lw = w_.layers[layer];
  unsigned kinds = lw.gate_up.input_kinds | lw.router.input_kinds;
  for (const Matrix& expert : lw.expert_gate_up) kinds |= expert.input_kinds;
  return kinds;
}

unsigned CpuBackend::down_input_kinds(int layer) const {
  const LayerWeights& lw = w_.layers[layer];
  unsigned kinds = lw.down.input_kinds;
  for (const Matrix& expert : lw.expert_down) kinds |= expert.input_kinds;
  return kinds;
}

void CpuBackend::reserve_experts() {
  int experts = 0;
  int top_k = 0;
  for (const LayerSpec& layer : spec_.layers) {
    experts = std::max(experts, layer.experts);
    top_k = std::max(top_k, layer.experts_top_k);
  }
  const size_t rows = static_cast<size_t>(group_->config().dims.max_tokens) * top_k;
  choice_.resize(rows);
  choice_weight_.resize(rows);
  expert_rows_.resize(rows);
  expert_weights_.resize(rows);
  expert_first_.resize(experts + 1);
  expert_fill_.resize(experts);
  active_.reserve(experts);
  active_blocks_.reserve(experts + 1);
}

// Every rank routes all rows for itself: a small product, cheaper than a meeting.
void CpuBackend::route(int layer) {
  const LayerSpec& spec = spec_.layers[layer];
  GemmOut out{Epilogue::kStore, Activation::kSilu, nullptr, router_logits_, static_cast<size_t>(ld_router_), nullptr, nullptr, nullptr};
  multiply(w_.layers[layer].router, input_of(spec_.hidden, 0), m_, out, nullptr);
  const int top_k = spec.experts_top_k;
  threads_->run(m_, row_grain(spec.experts * 8), [&](int, int first, int n) {
    for (int i = first; i < first + n; i++) {
      choose(router_logits_ + static_cast<size_t>(i) * ld_router_, spec.experts, top_k, spec.normalize_top_k, choice_.data() + i * top_k,
             choice_weight_.data() + i * top_k);
    }
  });
  std::fill(expert_first_.begin(), expert_first_.begin() + spec.experts + 1, 0);
  for (int i = 0; i < m_ * top_k; i++) expert_first_[choice_[i] + 1]++;
  for (int e = 0; e < spec.experts; e++) expert_first_[e + 1] += expert_first_[e];
  std::copy(expert_first_.begin(), expert_first_.begin() + spec.experts, expert_fill_.begin());
  for (int i = 0; i < m_ * top_k; i++) {
    const int at = expert_fill_[choice_[i]]++;
    expert_rows_[at] = i / top_k;
    expert_weights_[at] = choice_weight_[i];
  }
}

void CpuBackend::experts_gate_up(int layer) {
  const LayerSpec& spec = spec_.layers[layer];
  const LayerWeights& lw = w_.layers[layer];
  route(layer);
  active_.clear();
  active_blocks_.assign(1, 0);
  for (int e = 0; e < spec.experts; e++) {
    if (expert_first_[e + 1] == expert_first_[e]) continue;
    active_.push_back(e);
    active_blocks_.push_back(active_blocks_.back() + lw.expert_gate_up[e].num_blocks());
  }
  const Input input = input_of(spec_.hidden, 0);
  threads_->run(active_blocks_.back(), linear_grain(active_blocks_.back()), [&](int, int first, int n) {
    size_t i = std::upper_bound(active_blocks_.begin(), active_blocks_.end(), first) - active_blocks_.begin() - 1;
    for (; i < active_.size() && active_blocks_[i] < first + n; i++) {
      const int e = active_[i];
      const int from = std::max(first, active_blocks_[i]) - active_blocks_[i];
      const int to = std::min(first + n, active_blocks_[i + 1]) - active_blocks_[i];
      GemmOut out{spec.gated ? Epilogue::kGated : Epilogue::kAct,
                  spec.activation,
                  nullptr,
                  a_.act + static_cast<size_t>(expert_first_[e]) * s_.ld_act,
                  static_cast<size_t>(s_.ld_act),
                  expert_rows_.data() + expert_first_[e],
                  nullptr,
                  nullptr};
      multiply_chunk(lw.expert_gate_up[e], from, to - from, input, expert_first_[e + 1] - expert_first_[e], out, nullptr);
    }
  });
}

void CpuBackend::experts_down(int layer) {
  const LayerSpec& spec = spec_.layers[layer];
  const LayerWeights& lw = w_.layers[layer];
  const int k = gather_ ? spec.intermediate : shard_.intermediate[layer].count;
  float* to = adds_mlp(layer) ? a_.y : a_.x;
  // Sums begin at zero, so each rank clears the columns that it writes.
  const Matrix& shape = lw.expert_down[0];
  if (to == a_.y) {
    const int first = gather_ ? (shape.segments.empty() ? 0 : shape.segments[0].out_first) : 0;
    const int columns = gather_ ? (shape.segments.empty() ? 0 : shape.segments[0].packed.rows) : s_.ld_hidden;
    for (int i = 0; i < m_; i++) std::memset(a_.y + static_cast<size_t>(i) * s_.ld_hidden + first, 0, sizeof(float) * columns);
  }
  // A thread owns columns of the result and takes the experts in order.
  const int blocks = shape.num_blocks();
  threads_->run(blocks, 1, [&](int, int first, int n) {
    for (const int e : active_) {
      GemmOut out{Epilogue::kAdd,
                  Activation::kSilu,
                  nullptr,
                  to,
                  static_cast<size_t>(s_.ld_hidden),
                  nullptr,
                  expert_rows_.data() + expert_first_[e],
                  expert_weights_.data() + expert_first_[e]};
      multiply_chunk(lw.expert_down[e], first, n, input_of(k, expert_first_[e]), expert_first_[e + 1] - expert_first_[e], out, nullptr);
    }
  });
}

}  // namespace lockstep::cpu
