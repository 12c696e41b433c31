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

// Sorts the choices of `tokens` tokens by expert, in the order of tokens.
void group_rows(const Routing& r, int tokens, int top_k, int experts) {
  std::fill(r.expert_first, r.expert_first + experts + 1, 0);
  for (int i = 0; i < tokens * top_k; i++) r.expert_first[r.choice[i] + 1]++;
  for (int e = 0; e < experts; e++) r.expert_first[e + 1] += r.expert_first[e];
  std::copy(r.expert_first, r.expert_first + experts, r.expert_fill);
  for (int i = 0; i < tokens * top_k; i++) {
    const int at = r.expert_fill[r.choice[i]]++;
    r.row_token[at] = i / top_k;
    r.row_weight[at] = r.choice_weight[i];
  }
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

// Every row is routed by whoever takes it, whole.
void CpuBackend::route(int layer) {
  const LayerSpec& spec = spec_.layers[layer];
  const Matrix& router = w_.layers[layer].router;
  const Routing& to = a_.routing;
  const int top_k = spec.experts_top_k;
  const size_t ld = s_.ld_router;
  constexpr int kMostRows = 32;  // hide the reading of the router
  deal(m_, std::clamp(m_ / (shard_.world_size * threads_->count()), 1, kMostRows), [&](int, int first, int n) {
    multiply_chunk(router, 0, router.num_blocks(), input_of(spec_.hidden, first), n, store_to(to.logits + ld * first, ld), nullptr);
    for (int i = first; i < first + n; i++)
      choose(to.logits + ld * i, spec.experts, top_k, spec.normalize_top_k, to.choice + i * top_k, to.choice_weight + i * top_k);
  });
  deal(1, 1, [&](int, int, int) { group_rows(to, m_, top_k, spec.experts); });
}

// The chunks of every expert's matrix in turn; those of experts without rows are nothing to do.
void CpuBackend::experts_gate_up(int layer) {
  const LayerSpec& spec = spec_.layers[layer];
  route(layer);
  const Routing& routing = a_.routing;
  const Input input = input_of(spec_.hidden, 0);
  const auto blocks_of = [=](const Weights& w) { return w.layers[layer].expert_gate_up[0].num_blocks(); };
  share_parts([&](const Weights& w) { return blocks_of(w) * spec.experts; },
              [&](const Weights& w, int first, int n) {
                const int blocks = blocks_of(w);
                for (int e = first / blocks; e * blocks < first + n; e++) {
                  const Range rows = routing.rows_of(e);
                  if (rows.count == 0) continue;
                  const int from = std::max(first - e * blocks, 0);
                  const int to = std::min(first + n - e * blocks, blocks);
                  GemmOut out = store_to(a_.act + static_cast<size_t>(rows.first) * s_.ld_act, s_.ld_act);
                  out.epilogue = spec.gated ? Epilogue::kGated : Epilogue::kAct;
                  out.activation = spec.activation;
                  out.in_rows = routing.row_token + rows.first;
                  multiply_chunk(w.layers[layer].expert_gate_up[e], from, to - from, input, rows.count, out, nullptr);
                }
              });
}

// A chunk is columns of the result, to which the experts are added in order.
void CpuBackend::experts_down(int layer) {
  const LayerSpec& spec = spec_.layers[layer];
  const Routing& routing = a_.routing;
  const int k = down_width(layer);
  float* y = adds_mlp(layer) ? a_.y : a_.x;
  if (!gather_ && w_.layers[layer].expert_down[0].segments.empty()) std::memset(a_.y, 0, sizeof(float) * partial_count());
  share_parts([=](const Weights& w) { return w.layers[layer].expert_down[0].num_blocks(); },
              [&](const Weights& w, int first, int n) {
                const std::vector<Matrix>& experts = w.layers[layer].expert_down;
                if (y == a_.y) clear_columns(experts[0].segments[0], first, n, y);
                for (int e = 0; e < spec.experts; e++) {
                  const Range rows = routing.rows_of(e);
                  if (rows.count == 0) continue;
                  GemmOut out = store_to(y, s_.ld_hidden);
                  out.epilogue = Epilogue::kAdd;
                  out.out_rows = routing.row_token + rows.first;
                  out.weight = routing.row_weight + rows.first;
                  multiply_chunk(experts[e], first, n, input_of(k, rows.first), rows.count, out, nullptr);
                }
              });
}

// The columns of y that blocks of a segment add to.
void CpuBackend::clear_columns(const Segment& segment, int first, int n, float* y) const {
  const int from = segment.out_first + first * kBlockRows;
  const int to = segment.out_first + std::min(segment.packed.rows, (first + n) * kBlockRows);
  for (float* row = y; row < y + static_cast<size_t>(m_) * s_.ld_hidden; row += s_.ld_hidden) std::fill(row + from, row + to, 0.0F);
}

}  // namespace lockstep::cpu
