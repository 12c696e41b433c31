// Attention: against float64 over odd head sizes, windows, soft caps and piece bounds; equal bits whichever rows and heads share a call.
#include <limits>

#include "check.h"

namespace lockstep::test {
namespace {

using cpu::AttentionArgs;
using cpu::kPiece;
using cpu::KvType;

struct Shape {
  KvType type;
  int head_dim;
  int heads;
  int block_size;
  int window;
  float softcap;
  int end = 0;  // not causal: keys that every query sees
};

// One sequence of `len` tokens in a cache whose blocks lie in shuffled order; q of every position.
struct Sequence {
  Shape shape;
  int len;
  std::vector<float> q, k, v;  // [len, heads, head_dim], [len, head_dim] twice
  std::vector<uint8_t> cache;
  std::vector<int32_t> table;
  cpu::KvView view;

  Sequence(const cpu::Kernels& kernels, const Shape& s, int length) : shape(s), len(length) {
    Random random(static_cast<uint64_t>(s.head_dim * 7 + s.heads + length));
    const size_t d = static_cast<size_t>(s.head_dim);
    q = random.values(d * s.heads * len, 2.0f), k = random.values(d * len, 2.0f), v = random.values(d * len);
    const int blocks = (len + s.block_size - 1) / s.block_size;
    const size_t stride = cpu::kv_block_bytes(s.type, s.head_dim, s.block_size) + 64;
    cache.resize(stride * blocks);
    for (int b = 0; b < blocks; b++) table.push_back(b);
    for (int b = blocks - 1; b > 0; b--) std::swap(table[b], table[random.below(b + 1)]);
    view = {s.type, s.head_dim, s.block_size, cache.data(), stride, table.data()};
  }

  // K and V of the positions begin … end - 1 into the cache.
  void append(const cpu::Kernels& kernels, int begin, int end) {
    for (int pos = begin; pos < end; pos++) kernels.kv_append(view, pos, k.data() + at(pos), v.data() + at(pos));
  }
  size_t at(int pos) const { return static_cast<size_t>(pos) * shape.head_dim; }

  float cached(float x) const { return shape.type == KvType::kBf16 ? bf16_round(x) : x; }
  // What the cache holds of a token's K or V.
  std::vector<float> cached_row(const float* x) const {
    std::vector<float> row(x, x + shape.head_dim);
    if (shape.type != KvType::kInt8) {
      for (float& value : row) value = cached(value);
      return row;
    }
    float largest = 0;
    for (const float value : row) largest = std::fmax(largest, std::fabs(value));
    float scale = bf16_round(largest / 127);
    if (scale < largest / 127) scale = std::nextafter(scale, 1e30f), scale = bf16_round(scale * (1 + 0x1p-8f));
    for (float& value : row) value = std::nearbyint(value / scale) * scale;
    return row;
  }

  // out[rows, heads, head_dim] of the queries pos0 … pos0 + rows - 1, all pieces, merged. With `guard`, results are checked for writes
  // behind.
  std::vector<float> attend(const cpu::Kernels& kernels, int pos0, int rows) const {
    const int queries = rows * shape.heads;
    const int pieces = ((shape.end > 0 ? shape.end : pos0 + rows) - 1) / kPiece + 1;
    const size_t d = static_cast<size_t>(shape.head_dim);
    std::vector<float> max(static_cast<size_t>(queries) * pieces), sum = max, acc(max.size() * d), out(queries * d);
    std::vector<uint8_t> scratch(kernels.attention_scratch_bytes(queries, shape.head_dim));
    AttentionArgs a{};
    a.kv = view;
    a.q = q.data() + static_cast<size_t>(pos0) * shape.heads * d;
    a.q_row_stride = shape.heads * d;
    a.q_head_stride = d;
    a.rows = rows, a.heads = shape.heads, a.pos0 = pos0, a.window = shape.window, a.end = shape.end;
    a.scale = scale(), a.softcap = shape.softcap;
    a.scratch = scratch.data();
    for (int p = 0; p < pieces; p++) {
      a.piece = p;
      a.max = max.data() + p * queries, a.sum = sum.data() + p * queries, a.acc = acc.data() + p * queries * d;
      kernels.attention(a);
    }
    const size_t stride = static_cast<size_t>(queries), ld = shape.heads * d;
    cpu::MergeArgs merge = {max.data(), sum.data(), acc.data(), stride, pieces, rows, shape.heads, shape.head_dim, out.data(), nullptr, ld};
    kernels.attention_merge(merge);
    return out;
  }

  float scale() const { return 1.0f / std::sqrt(static_cast<float>(shape.head_dim)); }

  void exact(int pos, int head, std::vector<double>* out) const {
    const int first = shape.window > 0 ? std::max(0, pos - shape.window + 1) : 0;
    const int last = shape.end == 0 ? pos : shape.window > 0 ? std::min(shape.end, pos + shape.window) - 1 : shape.end - 1;
    std::vector<double> scores;
    double largest = -1e300, total = 0;
    for (int key = first; key <= last; key++) {
      const std::vector<float> row = cached_row(k.data() + at(key));
      double dot = 0;
      for (int d = 0; d < shape.head_dim; d++) {
        dot += static_cast<double>(cached(q[(static_cast<size_t>(pos) * shape.heads + head) * shape.head_dim + d])) * row[d];
      }
      dot *= scale();
      if (shape.softcap > 0) dot = shape.softcap * std::tanh(dot / shape.softcap);
      scores.push_back(dot);
      largest = std::fmax(largest, dot);
    }
    out->assign(static_cast<size_t>(shape.head_dim), 0.0);
    for (int key = first; key <= last; key++) {
      const double p = std::exp(scores[static_cast<size_t>(key - first)] - largest);
      total += p;
      const std::vector<float> row = cached_row(v.data() + at(key));
      for (int d = 0; d < shape.head_dim; d++) (*out)[static_cast<size_t>(d)] += p * row[d];
    }
    for (double& x : *out) x /= total;
  }
};

constexpr KvType kTypes[] = {KvType::kF32, KvType::kBf16, KvType::kInt8};

// bf16: half a unit of the rounded weights. int8: half a unit of the codes of query and weights, and where rounding to a code is a tie.
double tolerance_of(KvType type) { return type == KvType::kBf16 ? 4e-3 : type == KvType::kInt8 ? 1e-3 : 2e-6; }
const char* name_of(KvType type) { return type == KvType::kBf16 ? "bf16" : type == KvType::kInt8 ? "int8" : "f32"; }

void check_accuracy(Check& check, const cpu::Kernels& kernels, const Shape& shape, int len, int pos0, int rows) {
  Sequence s(kernels, shape, len);
  s.append(kernels, 0, shape.end > 0 ? shape.end : pos0 + rows);
  const std::vector<float> out = s.attend(kernels, pos0, rows);
  std::vector<double> want;
  char what[96];
  std::snprintf(what, sizeof(what), "%s head_dim %d heads %d block %d window %d cap %g at %d + %d", name_of(shape.type), shape.head_dim,
                shape.heads, shape.block_size, shape.window, static_cast<double>(shape.softcap), pos0, rows);
  for (int r = 0; r < rows; r++) {
    for (int h = 0; h < shape.heads; h++) {
      s.exact(pos0 + r, h, &want);
      for (int d = 0; d < shape.head_dim; d++) {
        check.near(out[(static_cast<size_t>(r) * shape.heads + h) * shape.head_dim + d], want[static_cast<size_t>(d)],
                   tolerance_of(shape.type), what, d);
      }
    }
  }
}

}  // namespace

void test_attention_accuracy(Check& check, const cpu::Kernels& k) {
  for (KvType type : kTypes) {
    for (int head_dim : {2, 16, 18, 24, 32, 64, 80, 96, 128, 256}) {
      check_accuracy(check, k, {type, head_dim, 3, 16, 0, 0}, 40, 0, 40);  // a prompt from its start
      check_accuracy(check, k, {type, head_dim, 1, 32, 0, 0}, 300, 297, 3);
    }
    for (int heads : {1, 2, 5, 9}) check_accuracy(check, k, {type, 24, heads, 16, 0, 0}, 90, 70, 5);
    for (int window : {1, 8, 100, 300}) check_accuracy(check, k, {type, 16, 2, 16, window, 0}, 600, 560, 40);
    check_accuracy(check, k, {type, 32, 2, 64, 0, 5.0f}, 130, 100, 30);
    check_accuracy(check, k, {type, 64, 3, 16, 8, 50.0f}, 530, 505, 20);  // the window leaves whole pieces unseen
    for (int end : {7, 300}) {                                            // all tokens of a sequence see each other
      check_accuracy(check, k, {type, 24, 3, 16, 0, 0, end}, end, 0, 7);
      check_accuracy(check, k, {type, 32, 1, 16, 0, 0, end}, end, end - 5, 5);
      check_accuracy(check, k, {type, 16, 2, 16, 5, 0, end}, end, 0, end);  // some of those before and behind
    }
  }
}

void test_attention_sameness(Check& check, const cpu::Kernels& k) {
  const Shape shapes[] = {{KvType::kF32, 24, 3, 16, 0, 0},   {KvType::kBf16, 64, 3, 16, 0, 0}, {KvType::kBf16, 80, 1, 32, 0, 0},
                          {KvType::kBf16, 16, 2, 16, 8, 30}, {KvType::kF32, 32, 4, 16, 40, 0}, {KvType::kBf16, 128, 7, 16, 270, 0},
                          {KvType::kInt8, 64, 3, 16, 0, 0},  {KvType::kInt8, 18, 2, 32, 40, 5}};
  constexpr int kLen = 540;
  for (const Shape& shape : shapes) {
    const size_t row = static_cast<size_t>(shape.heads) * shape.head_dim;
    Sequence one(k, shape, kLen);
    std::vector<float> alone;
    for (int pos = 0; pos < kLen; pos++) {  // decode: only what exists is in the cache
      one.append(k, pos, pos + 1);
      const std::vector<float> out = one.attend(k, pos, 1);
      alone.insert(alone.end(), out.begin(), out.end());
    }
    for (int chunk : {kLen, 64, 7}) {
      Sequence s(k, shape, kLen);
      for (int pos = 0; pos < kLen; pos += chunk) {
        const int rows = std::min(chunk, kLen - pos);
        s.append(k, pos, pos + rows);
        const std::vector<float> out = s.attend(k, pos, rows);
        check.expect(same_bits(out.data(), alone.data() + pos * row, out.size()), "head_dim %d: chunk of %d at %d differs", shape.head_dim,
                     rows, pos);
      }
    }
    // Heads one by one, as a rank that has only some of them.
    Sequence single = one;
    single.view.base = single.cache.data();
    single.view.table = single.table.data();
    single.shape.heads = 1;
    for (int h = 0; h < shape.heads; h++) {
      for (int pos : {0, 15, 16, 255, 256, 400, kLen - 1}) {
        std::copy_n(one.q.begin() + static_cast<long>(pos * row + h * shape.head_dim), shape.head_dim,
                    single.q.begin() + pos * shape.head_dim);
        const std::vector<float> out = single.attend(k, pos, 1);
        check.expect(same_bits(out.data(), alone.data() + pos * row + h * shape.head_dim, out.size()), "head %d at %d differs alone", h,
                     pos);
        std::copy_n(one.q.begin() + pos * shape.head_dim, shape.head_dim, single.q.begin() + pos * shape.head_dim);
      }
    }
  }
}

void test_attention_edges(Check& check, const cpu::Kernels& k) {
  for (KvType type : kTypes) {
    // A piece that a row does not see: -inf, 0, 0.
    Sequence s(k, {type, 16, 2, 16, 4, 0}, 300);
    s.append(k, 0, 300);
    std::vector<uint8_t> scratch(k.attention_scratch_bytes(2, 16));
    float max[2] = {1, 1}, sum[2] = {1, 1};
    std::vector<float> acc(32, 1.0f);
    AttentionArgs a{};
    a.kv = s.view, a.q = s.q.data(), a.q_row_stride = 32, a.q_head_stride = 16, a.rows = 1, a.heads = 2, a.pos0 = 299, a.window = 4;
    a.scale = 1, a.max = max, a.sum = sum, a.acc = acc.data(), a.scratch = scratch.data(), a.piece = 0;
    k.attention(a);
    for (int h = 0; h < 2; h++)
      check.expect(std::isinf(max[h]) && max[h] < 0 && sum[h] == 0, "unseen piece: max %g, sum %g", max[h], sum[h]);
    for (float x : acc) check.expect(x == 0, "unseen piece: acc %g", x);
    // Scores far apart neither overflow nor vanish: the largest key wins.
    Sequence far(k, {type, 16, 1, 16, 0, 0}, 20);
    for (float& x : far.q) x = 100;
    for (int pos = 0; pos < 20; pos++) std::fill_n(far.k.begin() + pos * 16, 16, pos == 7 ? 100.0f : -100.0f);
    far.append(k, 0, 20);
    const std::vector<float> out = far.attend(k, 19, 1);
    for (int d = 0; d < 16; d++)
      check.expect(std::fabs(out[d] - far.cached_row(far.v.data() + far.at(7))[d]) <= (type == KvType::kInt8 ? 1e-6F : 0.0F),
                   "largest score: %g", out[d]);
    // NaN in q or K ends and stays with its row; a key behind the row may hold NaN.
    Sequence odd(k, {type, 16, 1, 16, 0, 0}, 20);
    odd.append(k, 0, 20);
    const std::vector<float> before = odd.attend(k, 4, 8);
    std::fill_n(odd.k.begin() + 12 * 16, 16, std::numeric_limits<float>::quiet_NaN());
    odd.append(k, 12, 13);
    check.expect(same_bits(before.data(), odd.attend(k, 4, 8).data(), before.size()), "a NaN key behind the rows leaves a trace");
    std::fill_n(odd.q.begin() + 5 * 16, 16, std::numeric_limits<float>::quiet_NaN());
    const std::vector<float> after = odd.attend(k, 4, 8);
    check.expect(same_bits(before.data(), after.data(), 16) && same_bits(before.data() + 32, after.data() + 32, 96),
                 "a NaN query changes others");
  }
}

// Pieces joined against float64: more of them than are taken together, some without keys; in floats, and in bf16 the same rounded.
void test_attention_merge(Check& check, const cpu::Kernels& k) {
  for (const int pieces : {1, 2, 16, 17, 40}) {
    for (const int d : {8, 20, 64, 96}) {
      constexpr int kRows = 5, kHeads = 3, kQueries = kRows * kHeads;
      const size_t n = static_cast<size_t>(pieces) * kQueries, ld = static_cast<size_t>(kHeads * d) + 3;
      Random random(pieces * 100 + d);
      std::vector<float> max = random.values(n, 30.0f), sum = random.values(n), acc = random.values(n * d);
      for (size_t i = 0; i < n; i++) sum[i] = i % 7 == 3 || i % kQueries == 4 ? 0.0f : std::fabs(sum[i]) + 0.1f;
      for (size_t i = 0; i < n; i++) {
        if (sum[i] == 0.0f) max[i] = -std::numeric_limits<float>::infinity();
      }
      std::vector<float> out(kRows * ld, 7.0f);
      std::vector<uint16_t> bf16(out.size(), 7);
      cpu::MergeArgs args = {max.data(), sum.data(), acc.data(), kQueries, pieces, kRows, kHeads, d, out.data(), nullptr, ld};
      k.attention_merge(args);
      args.bf16 = bf16.data();
      k.attention_merge(args);
      for (int q = 0; q < kQueries; q++) {
        double largest = -1e300, total = 0;
        for (int p = 0; p < pieces; p++) largest = std::max<double>(largest, max[p * kQueries + q]);
        std::vector<double> factors;  // 0 of pieces without keys
        for (int p = 0; p < pieces; p++) factors.push_back(std::exp2(max[p * kQueries + q] - largest));
        for (int p = 0; p < pieces; p++) total += sum[p * kQueries + q] * factors[p];
        const size_t first = q / kHeads * ld + q % kHeads * d;
        std::vector<uint16_t> rounded(static_cast<size_t>(d) + 32);
        k.to_bf16(out.data() + first, d, (d + 31) / 32 * 32, rounded.data());
        for (int i = 0; i < d; i++) {
          double want = 0;
          for (int p = 0; p < pieces; p++) want += acc[(p * kQueries + q) * static_cast<size_t>(d) + i] * factors[p];
          check.near(out[first + i], total > 0 ? want / total : 0, 1e-5, "merged", q);
          check.expect(bf16[first + i] == rounded[i], "%d pieces, query %d: bf16", pieces, q);
        }
      }
      for (int r = 0; r < kRows; r++) {
        for (size_t i = kHeads * d; i < ld; i++) check.expect(out[r * ld + i] == 7.0f && bf16[r * ld + i] == 7, "written behind row %d", r);
      }
    }
  }
}

}  // namespace lockstep::test
