// The CUDA kernels against float64, on an emulated device in tests and on a real one in scripts/gpu-check: odd sizes, both types, and that
// a row's bits do not depend on the rows beside it.
#include <algorithm>
#include <array>
#include <limits>

#include "cuda/generated.h"
#include "device_bench.h"

namespace lockstep::test {
namespace {

using namespace cuda;

std::vector<double> normed(const float* x, int n, const NormWeights& norm) {
  double mean = 0, squares = 0;
  for (int i = 0; norm.layer_norm && i < n; i++) mean += wide(x[i]) / n;
  for (int i = 0; i < n; i++) squares += (wide(x[i]) - mean) * (wide(x[i]) - mean) / n;
  std::vector<double> out(n);
  for (int i = 0; i < n; i++) {
    out[i] = (wide(x[i]) - mean) / std::sqrt(squares + wide(norm.eps)) * (wide(norm.weight[i]) + wide(norm.weight_offset));
    if (norm.bias != nullptr) out[i] += wide(norm.bias[i]);
  }
  return out;
}

void norms(Bench& b) {
  for (const int n : {1, 7, 64, 300, 576}) {
    for (const bool layer : {false, true}) {
      const int ld = padded(n);
      const NormWeights norm{b.rows(1, n, ld), layer ? b.rows(1, n, ld) : nullptr, layer ? 0.0F : 1.0F, 1e-5F, layer};
      float* x = b.rows(5, n, ld, 3);
      const RowsOut out = b.out(3, ld);
      const std::vector<int32_t> rows = {4, 0, 2};
      std::vector<double> want;
      for (const int32_t row : rows) {
        const std::vector<double> one = normed(x + static_cast<size_t>(row) * ld, n, norm);
        want.insert(want.end(), one.begin(), one.end());
      }
      NormArgs args{x, b.values(rows), 3, n, ld, norm, false, out};
      b.run(b.runtime->kernels->norm, args);
      b.expect_rows(out, want, 3, n, 2e-6, "norm");
      args.row_of = nullptr, args.rows = 1, args.replaces = true;
      const std::vector<double> first = normed(x, n, norm);
      b.run(b.runtime->kernels->norm, args);
      for (int c = 0; c < n; c++) b.check.near(wide(x[c]), first[c], 2e-6 * (1 + std::fabs(first[c])), "norm in place", c);

      const float* y = b.rows(2, n, ld, 3);
      const std::vector<float> before(x, x + 2 * ld);
      AddArgs add{y, x, 2, n, ld, norm};
      b.run(b.runtime->kernels->add, add);
      for (int i = 0; i < 2; i++) {
        const std::vector<double> sum = normed(y + static_cast<size_t>(i) * ld, n, norm);
        for (int c = 0; c < n; c++) {
          const size_t at = static_cast<size_t>(i) * ld + c;
          b.check.near(wide(x[at]), wide(before[at]) + sum[c], 4e-6 * (1 + std::fabs(sum[c])), "add of a norm", c);
        }
      }
      const float was = x[0];
      add.norm.weight = nullptr;
      b.run(b.runtime->kernels->add, add);
      b.check.expect(x[0] == was + y[0], "add");
    }
  }
}

void gemms(Bench& b) {
  for (const Type type : {Type::kF32, Type::kBf16}) {
    for (const auto& [m, n, k] : std::vector<std::array<int, 3>>{{1, 5, 3},
                                                                 {2, 33, 48},
                                                                 {3, 64, 100},
                                                                 {8, 17, 576},
                                                                 {9, 4, 64},
                                                                 {17, 40, 257},
                                                                 {40, 20, 112},
                                                                 {7, 18, 80},
                                                                 {5, 1, 208},
                                                                 {2, 24, 1300}}) {
      const int ld = padded(k);
      float* x = b.rows(m, k, ld);
      float* w = b.rows(n, k, ld);
      const void* x_typed = type == Type::kF32 ? static_cast<void*>(x) : b.halves(x, static_cast<size_t>(m) * ld);
      const void* w_typed = type == Type::kF32 ? static_cast<void*>(w) : b.halves(w, static_cast<size_t>(n) * ld);
      const float* bias = m % 2 == 1 ? b.rows(1, n, n) : nullptr;
      float* out = b.take<float>(static_cast<size_t>(m) * n);
      GemmArgs args{x_typed, w_typed, type, bias, nullptr, 1, m, n, k, ld, ld, out, n};
      b.run(b.runtime->kernels->gemm, args);
      for (int i = 0; i < m; i++) {
        for (int j = 0; j < n; j++) {
          double want = bias == nullptr ? 0 : wide(bias[j]);
          for (int c = 0; c < k; c++) want += wide(x[static_cast<size_t>(i) * ld + c]) * wide(w[static_cast<size_t>(j) * ld + c]);
          b.check.near(wide(out[static_cast<size_t>(i) * n + j]), want, 3e-7 * (k + 4), "gemm", i * n + j);
        }
      }
      // The last row alone.
      float* alone = b.take<float>(n);
      const size_t row = static_cast<size_t>(m - 1) * ld * type_bytes(type);
      args.x = static_cast<const uint8_t*>(x_typed) + row, args.rows = 1, args.out = alone;
      b.run(b.runtime->kernels->gemm, args);
      b.check.expect(same_bits(alone, out + static_cast<size_t>(m - 1) * n, n), "a row alone has other bits than among %d", m);
    }
  }
  // Experts: row r of two for each input goes to expert_of[r].
  const int n = 6, k = 16, experts = 3;
  const float* x = b.rows(2, k, k);
  const float* w = b.rows(experts * n, k, k);
  const std::vector<int32_t> expert_of = {2, 0, 1, 1};
  float* out = b.take<float>(4 * n);
  b.run(b.runtime->kernels->gemm, {x, w, Type::kF32, nullptr, b.values(expert_of), 2, 4, n, k, k, k, out, n});
  for (int r = 0; r < 4; r++) {
    for (int j = 0; j < n; j++) {
      double want = 0;
      for (int c = 0; c < k; c++) want += wide(x[r / 2 * k + c]) * wide(w[(expert_of[r] * n + j) * k + c]);
      b.check.near(wide(out[r * n + j]), want, 1e-5, "gemm of experts", r * n + j);
    }
  }
}

// Products in tiles of both shapes: the bits of each row alone, over tails of rows, columns and k, and over sums of one slice to all.
void gemm_tiles(Bench& b) {
  for (const auto& [m, n, k] :
       std::vector<std::array<int, 3>>{{1, 1, 3}, {33, 40, 64}, {64, 130, 136}, {70, 64, 300}, {129, 65, 1100}, {17, 9, 2200}}) {
    const int ld = padded(k);
    float* x = b.rows(m, k, ld);
    float* w = b.rows(n, k, ld);
    const uint16_t* x_half = b.halves(x, static_cast<size_t>(m) * ld);
    const uint16_t* w_half = b.halves(w, static_cast<size_t>(n) * ld);
    const float* bias = m % 2 == 1 ? b.rows(1, n, n) : nullptr;
    std::vector<float*> alone(m);
    for (int i = 0; i < m; i++) {
      alone[i] = b.take<float>(n);
      b.run(b.runtime->kernels->gemm,
            {x_half + static_cast<size_t>(i) * ld, w_half, Type::kBf16, bias, nullptr, 1, 1, n, k, ld, ld, alone[i], n});
    }
    for (const bool is_wide : {false, true}) {
      const int ld_out = padded(n) + kAlign;
      float* out = b.take<float>(static_cast<size_t>(m) * ld_out);
      b.run(b.runtime->kernels->gemm_tiles, {{x_half, w_half, Type::kBf16, bias, nullptr, 1, m, n, k, ld, ld, out, ld_out}, is_wide});
      for (int i = 0; i < m; i++) {
        const float* row = out + static_cast<size_t>(i) * ld_out;
        b.check.expect(same_bits(row, alone[i], n), "row %d of %d has other bits in tiles (%d, %d, wide %d)", i, m, n, k, is_wide);
        for (int j = 0; j < n; j++) {
          double want = bias == nullptr ? 0 : wide(bias[j]);
          for (int c = 0; c < k; c++) want += wide(x[static_cast<size_t>(i) * ld + c]) * wide(w[static_cast<size_t>(j) * ld + c]);
          b.check.near(wide(row[j]), want, 3e-7 * (k + 4), "gemm in tiles", i * n + j);
        }
      }
    }
  }
}

void embeddings(Bench& b) {
  const int n = 21, ld = 24, rows = 4;
  float* table = b.rows(10, n, ld);
  const uint16_t* halves = b.halves(table, 10 * ld);
  const std::vector<int32_t> ids = {5, 12, 9, 3}, given = {5, 12, -3, 3}, last = {1, 2, 9};  // the third is what sequence 2 sampled last
  float* out = b.take<float>(rows * ld);
  const int32_t *on_ids = b.values(given), *on_last = b.values(last);
  b.run(b.runtime->kernels->embed, {on_ids, on_last, halves, Type::kBf16, ld, 4, 6, rows, n, out, ld});  // rows 4 … 9 are here
  for (int i = 0; i < rows; i++) {
    const bool is_here = ids[i] >= 4 && ids[i] < 10;
    for (int c = 0; c < n; c++) b.check.expect(out[i * ld + c] == (is_here ? table[(ids[i] - 4) * ld + c] : 0), "embed: row %d", i);
  }
  float* x = b.take<float>(rows * ld);
  const float* types = b.rows(2, n, ld);
  const float* positions = b.rows(12, n, ld);
  const std::vector<int32_t> type_of = {0, 1, 1, 0}, position = {0, 3, 7, 9};
  b.run(b.runtime->kernels->add_embedding,
        {out, x, rows, n, ld, 2.5F, types, b.values(type_of), positions, b.values(position), 2, Type::kF32, Type::kF32, ld, ld});
  for (int i = 0; i < rows; i++) {
    for (int c = 0; c < n; c++) {
      const double want = 2.5 * wide(out[i * ld + c]) + wide(types[type_of[i] * ld + c]) + wide(positions[(position[i] + 2) * ld + c]);
      b.check.near(wide(x[i * ld + c]), want, 1e-6, "add_embedding", i);
    }
  }
}

struct Sequence {
  int row, position, count;  // slots
};

// rope_append of whole sequences, then attention over what it wrote.
void attention(Bench& b, Type type, int heads, int kv_heads, int dim, int block_size, int window, float softcap, bool sees_all) {
  const std::vector<Sequence> sequences = {{1, 0, 19}, {0, 0, 1}, {2, 0, block_size}};
  const int group = heads / kv_heads, ld = (heads + 2 * kv_heads) * dim, table_len = 4, rotary = dim / 4 * 2;
  const int kMaxRows = 3, num_blocks = kMaxRows * table_len;
  std::vector<int32_t> position, row_of, end_of, tables(kMaxRows * table_len);
  for (size_t i = 0; i < tables.size(); i++) tables[i] = static_cast<int32_t>(tables.size() - 1 - i);
  for (const Sequence& s : sequences) {
    for (int i = 0; i < s.count; i++) {
      position.push_back(i);
      row_of.push_back(s.row);
      end_of.push_back(s.count);
    }
  }
  const int slots = static_cast<int>(position.size());
  float* qkv = b.rows(slots, ld, ld);
  const std::vector<float> before(qkv, qkv + static_cast<size_t>(slots) * ld);
  const size_t cache = static_cast<size_t>(num_blocks) * kv_heads * block_size * dim * type_bytes(type);
  const KvCache kv{b.take<uint8_t>(cache), b.take<uint8_t>(cache), type, kv_heads, block_size, dim};
  const float *q_norm = b.rows(1, dim, dim), *k_norm = b.rows(1, dim, dim);
  const float* frequencies = b.rows(1, rotary / 2, rotary / 2);
  const bool normed_heads = softcap > 0;
  const int32_t *positions = b.values(position), *rows = b.values(row_of), *ends = b.values(end_of), *blocks = b.values(tables);
  float *cosines = b.take<float>(slots * rotary / 2), *sines = b.take<float>(slots * rotary / 2);
  b.run(b.runtime->kernels->rope_table, {positions, slots, rotary / 2, frequencies, 0.9F, cosines, sines});
  for (int i = 0; i < slots * rotary / 2; i++) {
    const double angle = wide(static_cast<float>(position[i / (rotary / 2)]) * frequencies[i % (rotary / 2)]);
    b.check.near(wide(cosines[i]), std::cos(angle) * wide(0.9F), 3e-8, "cosine", i);  // half a unit of rounding: the CPU's bits
    b.check.near(wide(sines[i]), std::sin(angle) * wide(0.9F), 3e-8, "sine", i);
  }
  b.run(b.runtime->kernels->rope_append,
        {qkv, slots, ld, heads, kv, positions, rows, blocks, table_len, normed_heads, 0, 1e-6F, q_norm, k_norm, cosines, sines, rotary});

  // Heads in double, as the cache stores them.
  std::vector<double> turned(static_cast<size_t>(slots) * (heads + kv_heads) * dim);
  for (int slot = 0; slot < slots; slot++) {
    for (int h = 0; h < heads + kv_heads; h++) {
      const float* from = before.data() + static_cast<size_t>(slot) * ld + h * dim;
      std::vector<double> head(from, from + dim);
      if (normed_heads) head = normed(from, dim, {h < heads ? q_norm : k_norm, nullptr, 0, 1e-6F, false});
      double* to = turned.data() + (static_cast<size_t>(slot) * (heads + kv_heads) + h) * dim;
      for (int d = 0; d < dim; d++) to[d] = head[d];
      for (int d = 0; d < rotary / 2; d++) {
        const double angle = wide(static_cast<float>(position[slot]) * frequencies[d]);
        to[d] = (head[d] * std::cos(angle) - head[rotary / 2 + d] * std::sin(angle)) * wide(0.9F);
        to[rotary / 2 + d] = (head[rotary / 2 + d] * std::cos(angle) + head[d] * std::sin(angle)) * wide(0.9F);
      }
      for (int d = 0; h < heads && d < dim; d++)
        b.check.near(wide(qkv[static_cast<size_t>(slot) * ld + h * dim + d]), to[d], 3e-6, "rope", d);
    }
  }
  const RowsOut out = b.out(slots, padded(heads * dim));
  const float scale = 0.3F;
  AttentionArgs args{qkv,  slots, ld,     heads,     0,        0,      group, kv,      positions,
                     ends, rows,  blocks, table_len, sees_all, window, scale, softcap, out};
  b.run(b.runtime->kernels->attention, args);

  std::vector<double> want(static_cast<size_t>(slots) * heads * dim);
  int first_slot = 0;
  for (const Sequence& s : sequences) {
    for (int i = 0; i < s.count; i++) {
      const int first = window > 0 ? std::max(0, i - window + 1) : 0;
      const int end = !sees_all ? i + 1 : window > 0 ? std::min(s.count, i + window) : s.count;
      for (int h = 0; h < heads; h++) {
        std::vector<double> scores;
        double max = -std::numeric_limits<double>::infinity(), sum = 0;
        const float* q = qkv + static_cast<size_t>(first_slot + i) * ld + h * dim;
        for (int key = first; key < end; key++) {
          const double* k = turned.data() + (static_cast<size_t>(first_slot + key) * (heads + kv_heads) + heads + h / group) * dim;
          double score = 0;
          for (int d = 0; d < dim; d++) score += wide(q[d]) * (type == Type::kF32 ? k[d] : wide(bf16_round(static_cast<float>(k[d]))));
          score *= wide(scale);
          if (softcap > 0) score = wide(softcap) * std::tanh(score / wide(softcap));
          scores.push_back(score);
          max = std::max(max, score);
        }
        for (double& score : scores) sum += score = std::exp(score - max);
        for (int d = 0; d < dim; d++) {
          double value = 0;
          for (int key = first; key < end; key++) {
            const float v = before[static_cast<size_t>(first_slot + key) * ld + (heads + kv_heads + h / group) * dim + d];
            value += scores[key - first] * wide(type == Type::kF32 ? v : bf16_round(v)) / sum;
          }
          want[(static_cast<size_t>(first_slot + i) * heads + h) * dim + d] = value;
        }
      }
    }
    first_slot += s.count;
  }
  // A k within half a unit of rounding may become the other bf16: then that score differs by 2^-9 of one product.
  b.expect_rows(out, want, slots, heads * dim, type == Type::kF32 ? 4e-6 : 4e-4, "attention");
}

void activations(Bench& b) {
  const int n = 19, rows = 3;
  const float* in = b.rows(rows, 2 * n, 2 * n, 4);
  const auto act = [](Activation kind, double x) {
    switch (kind) {
      case Activation::kSilu:
        return x / (1 + std::exp(-x));
      case Activation::kGeluTanh:
        return 0.5 * x * (1 + std::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
      case Activation::kGelu:
        return 0.5 * x * std::erfc(-x / std::sqrt(2));
      case Activation::kRelu:
        return std::max(x, 0.0);
    }
    return x;
  };
  for (const Activation kind : {Activation::kSilu, Activation::kGeluTanh, Activation::kGelu, Activation::kRelu}) {
    for (const bool gated : {true, false}) {
      const RowsOut out = b.out(rows, padded(n));
      b.run(b.runtime->kernels->activation, {in, rows, n, 2 * n, kind, gated, out});
      std::vector<double> want;
      for (int i = 0; i < rows; i++) {
        for (int c = 0; c < n; c++) want.push_back(act(kind, wide(in[i * 2 * n + c])) * (gated ? wide(in[i * 2 * n + n + c]) : 1));
      }
      b.expect_rows(out, want, rows, n, 3e-6, "activation");
    }
  }
}

void experts(Bench& b) {
  const int rows = 2, count = 70, top_k = 4, ld = 72;
  float* logits = b.rows(rows, count, ld, 3);
  logits[40] = logits[7] = 3.5F;  // a tie that the lower expert wins
  for (const bool normalize : {false, true}) {
    int32_t* expert_of = b.take<int32_t>(rows * top_k);
    float* weight_of = b.take<float>(rows * top_k);
    b.run(b.runtime->kernels->route, {logits, rows, count, top_k, ld, normalize, expert_of, weight_of});
    for (int i = 0; i < rows; i++) {
      std::vector<int> order(count);
      for (int e = 0; e < count; e++) order[e] = e;
      const float* row = logits + i * ld;
      std::stable_sort(order.begin(), order.end(), [&](int a, int c) { return row[a] > row[c]; });
      if (i == 0) b.check.expect(order[0] == 7 && order[1] == 40, "the tie is where it should be");
      double sum = 0, chosen = 0;
      for (int e = 0; e < count; e++) sum += std::exp(wide(row[e]));
      for (int j = 0; j < top_k; j++) chosen += std::exp(wide(row[order[j]])) / sum;
      std::sort(order.begin(), order.begin() + top_k);
      for (int j = 0; j < top_k; j++) {
        b.check.expect(expert_of[i * top_k + j] == order[j], "route: row %d, choice %d", i, j);
        const double want = std::exp(wide(row[order[j]])) / sum / (normalize ? chosen : 1);
        b.check.near(wide(weight_of[i * top_k + j]), want, 1e-6, "weight of an expert", j);
      }
    }
    const int n = 5, ld_parts = 8;
    const float* parts = b.rows(rows * top_k, n, ld_parts);
    float* y = b.take<float>(rows * ld_parts);
    b.run(b.runtime->kernels->combine, {parts, weight_of, rows, n, top_k, ld_parts, y});
    for (int i = 0; i < rows; i++) {
      for (int c = 0; c < n; c++) {
        double want = 0;
        for (int j = 0; j < top_k; j++) want += wide(weight_of[i * top_k + j]) * wide(parts[(i * top_k + j) * ld_parts + c]);
        b.check.near(wide(y[i * ld_parts + c]), want, 1e-6, "combine", c);
      }
    }
  }
}

void pooling(Bench& b) {
  const int n = 33, ld = 40;
  const float* x = b.rows(6, n, ld);
  const NormWeights norm{b.rows(1, n, ld), nullptr, 0, 1e-5F, false};
  float* pooled = b.take<float>(3 * ld);
  std::fill(pooled, pooled + 3 * ld, 100.0F);
  const std::vector<PoolEntry> entries = {{2, 1, 3, 0}, {0, 5, 1, 1}};
  b.run(b.runtime->kernels->pool, {b.values(entries), 2, x, n, ld, norm, pooled});
  for (const PoolEntry& entry : entries) {
    std::vector<double> want(n, entry.adds != 0 ? 100 : 0);
    for (int s = 0; s < entry.num_slots; s++) {
      const std::vector<double> one = normed(x + static_cast<size_t>(entry.first_slot + s) * ld, n, norm);
      for (int c = 0; c < n; c++) want[c] += one[c];
    }
    for (int c = 0; c < n; c++) b.check.near(wide(pooled[entry.row * ld + c]), want[c], 2e-5, "pool", c);
  }
  b.check.expect(pooled[ld] == 100, "a row that is not pooled was written");
}

void attentions(Bench& b) {
  for (const Type type : {Type::kF32, Type::kBf16}) {
    attention(b, type, 4, 2, 16, 16, 0, 0, false);
    attention(b, type, 3, 1, 40, 8, 5, 0, false);
    attention(b, type, 2, 2, 8, 16, 0, 20, false);
    attention(b, type, 2, 1, 64, 16, 0, 0, true);
    attention(b, type, 2, 1, 256, 16, 6, 0, true);
  }
}

// A sum over ranks that are all on this device, each with a part of its own, and the gathering of their parts.
void peers(Bench& b) {
  constexpr int kN = 50, kLd = 56, kRowsMax = 2 * kPeerBlocks + 3;
  for (const int world : {2, 4}) {
    b.clear();
    std::vector<PeerLinks> links(world);
    std::vector<float*> parts(world);
    std::vector<PeerJoinArgs> joins(world);
    std::vector<PeerGatherArgs> gathers(world);
    const auto zeros = [&b](size_t count) { return b.values(std::vector<uint32_t>(count)); };
    std::vector<uint32_t*> arrived(world);
    for (uint32_t*& words : arrived) words = zeros(kMaxPeers * kPeerBlocks);
    for (int r = 0; r < world; r++) {
      links[r] = {r, world, {}, zeros(kPeerBlocks), zeros(1), 10000000000};
      std::copy(arrived.begin(), arrived.end(), links[r].arrived);
    }
    for (const bool two_shots : {false, true}) {
      for (const int rows : {1, 5, kRowsMax}) {
        std::vector<float> sum(static_cast<size_t>(rows) * kLd);
        for (int r = 0; r < world; r++) parts[r] = b.rows(rows, kN, kLd);
        for (size_t i = 0; i < sum.size(); i++) {
          sum[i] = parts[0][i];
          for (int r = 1; r < world; r++) sum[i] += parts[r][i];
        }
        for (int r = 0; r < world; r++) {
          joins[r] = PeerJoinArgs{};
          joins[r].links = links[r];
          std::copy(parts.begin(), parts.end(), joins[r].part);
          joins[r].two_shots = two_shots;
          joins[r].rows = rows, joins[r].n = kN, joins[r].ld = kLd;
          joins[r].x = b.rows(rows, kN, kLd);
        }
        b.run_together(b.runtime->kernels->peer_join, joins);
        for (int r = 0; r < world; r++) {
          for (int i = 0; i < rows; i++) {
            const size_t at = static_cast<size_t>(i) * kLd;
            b.check.expect(same_bits(joins[r].x + at, sum.data() + at, kN), "rank %d of %d: row %d is not the sum in rank order", r, world,
                           i);
          }
        }
      }
    }
    constexpr size_t kCount = 96;
    std::vector<float*> logits(world);
    for (float*& part : logits) part = b.rows(1, kCount, kCount);
    for (int r = 0; r < world; r++) {
      gathers[r] = {links[r], {}, kCount, b.take<float>(kCount * world)};
      std::copy(logits.begin(), logits.end(), gathers[r].part);
    }
    b.run_together(b.runtime->kernels->peer_gather, gathers);
    for (const PeerGatherArgs& gather : gathers) {
      for (int r = 0; r < world; r++)
        b.check.expect(same_bits(gather.whole + kCount * r, logits[r], kCount), "part %d of %d is not what was gathered", r, world);
      b.check.expect(*gather.links.stop == 0, "a rank waited for too long");
    }
  }
}

// A part of a tensor, to the bit: a program in another language must make the same.
void generated(Bench& b) {
  constexpr int kRows = 3, kCols = 21, kLd = 24, kFirstRow = 5, kFirstCol = 2, kTotal = 40;
  const uint64_t key = generated_key("layers.3.q");
  b.check.expect(key == 0xfd42f92b5c5e0c11u, "the key of a name is %llx", static_cast<unsigned long long>(key));
  // The same in test/gpu/emulated.test.ts, of the program in another language.
  b.check.expect(generated_value(key, 202) == 3300 * (0.02F / 37837.2227F), "a value is %g", wide(generated_value(key, 202)));
  for (const Type type : {Type::kF32, Type::kBf16}) {
    auto* out = b.take<uint8_t>(kRows * kLd * type_bytes(type));
    b.run(b.runtime->kernels->generate, {out, type, kRows, kCols, kLd, kFirstRow, kFirstCol, kTotal, key});
    for (int i = 0; i < kRows; i++) {
      for (int c = 0; c < kLd; c++) {
        const float want = c < kCols ? generated_value(key, static_cast<uint64_t>(kFirstRow + i) * kTotal + kFirstCol + c) : 0;
        const float got =
            type == Type::kF32 ? reinterpret_cast<float*>(out)[i * kLd + c] : from_bf16(reinterpret_cast<uint16_t*>(out)[i * kLd + c]);
        b.check.expect(got == (type == Type::kF32 ? want : bf16_round(want)), "generated value %d of row %d is %g", c, i, wide(got));
      }
    }
  }
  double sum = 0, squares = 0;
  constexpr int kCount = 100000;
  for (int i = 0; i < kCount; i++) {
    const double value = wide(generated_value(key, i));
    sum += value, squares += value * value;
  }
  b.check.near(sum / kCount, 0, 3e-4, "mean of generated values", 0);
  b.check.near(std::sqrt(squares / kCount), 0.02, 2e-4, "deviation of generated values", 0);
}

}  // namespace

const std::vector<DeviceCheck>& device_checks() {
  static const std::vector<DeviceCheck> checks = {
      {"norms", norms},
      {"products", gemms},
      {"products in tiles", gemm_tiles},
      {"bricks", check_bricks},
      {"fused products", check_fused},
      {"embeddings", embeddings},
      {"rope and attention", attentions},
      {"attention in tiles", attention_tiles},
      {"activations", activations},
      {"experts", experts},
      {"pooling", pooling},
      {"sums over ranks", peers},
      {"generated weights", generated},
      {"sampling", check_sampling},
      {"products by wgmma", check_gemm_wide},
  };
  return checks;
}

}  // namespace lockstep::test
