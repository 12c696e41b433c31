// What a product takes on of the kernels before and behind it, on an emulated device in tests and on a real one in scripts/gpu-check: the
// same bits as the kernels one after the other.
#include "device_bench.h"

namespace lockstep::test {
namespace {

using namespace cuda;

void expect_added(Bench& b, GemmArgs args, const std::vector<Maker>& makers) {
  const size_t values = static_cast<size_t>(args.rows) * args.ld_out;
  float* x = b.rows(args.rows, args.n, args.ld_out);
  const std::vector<float> before(x, x + values);
  float* want = b.values(before);
  makers.front().make(args);
  b.run(b.runtime->kernels->add, {args.out, want, args.rows, args.n, args.ld_out, {}});
  args.out = x, args.adds = true;
  for (const Maker& maker : makers) {
    maker.make(args);
    for (int i = 0; i < args.rows; i++) {
      const size_t at = static_cast<size_t>(i) * args.ld_out;
      b.check.expect(same_bits(x + at, want + at, args.n), "%d columns that add themselves have other bits in row %d, by %s", args.n, i,
                     maker.name);
    }
    std::copy(before.begin(), before.end(), x);
  }
}

void expect_gated(Bench& b, GemmArgs args, const std::vector<Maker>& makers) {
  const int half = args.n / 2;
  const size_t values = static_cast<size_t>(args.rows) * half;
  args.activation = args.rows % 2 == 1 ? Activation::kSilu : Activation::kGeluTanh;
  const RowsOut want = b.out(args.rows, half);
  makers.front().make(args);
  b.run(b.runtime->kernels->activation, {args.out, args.rows, half, args.ld_out, args.activation, true, want});
  args.gates = true, args.out = nullptr, args.gated = b.out(args.rows, half);
  for (const Maker& maker : makers) {
    maker.make(args);
    const bool is_same = same_bits(args.gated.f32, want.f32, values) && std::equal(want.bf16, want.bf16 + values, args.gated.bf16);
    b.check.expect(is_same, "gate and up of %d rows and bricks of kind %d have other bits than a product and its activation, by %s",
                   args.rows, static_cast<int>(args.bricks), maker.name);
    std::fill(args.gated.f32, args.gated.f32 + values, 0.0F);
    std::fill(args.gated.bf16, args.gated.bf16 + values, uint16_t{0});
  }
}

// Rows that norms tell apart: each of another size. For a layer norm with large values that go out against each other, so that another
// order of their sum is another mean, and that the norm's weights leave out, so that it shows in bf16.
struct NormSample {
  float* x;  // [rows, ld_x]
  NormWeights norm;
};

NormSample norm_sample(Bench& b, const GemmArgs& args, bool is_layer_norm) {
  float* x = b.rows(args.rows, args.k, args.ld_x);
  float* weight = b.rows(1, args.k, args.k);
  for (int i = 0; i < args.rows * args.ld_x; i++) x[i] *= static_cast<float>(1 + i / args.ld_x);
  if (!is_layer_norm) return {x, {weight, nullptr, 1, 1e-5F, false}};
  constexpr float kLarge = 1e6F;
  for (int c = 0; c < args.k; c++) weight[c] *= kLarge;
  for (int c = 3; c + 7 < args.k; c += 14) {
    weight[c] = weight[c + 7] = 0;
    for (int i = 0; i < args.rows; i++) {
      float* row = x + static_cast<size_t>(i) * args.ld_x;
      row[c + 7] = -(row[c] *= kLarge);
    }
  }
  return {x, {weight, b.rows(1, args.k, args.k), 0, 1e-5F, true}};
}

// Normed before the product and by it.
void expect_normed(Bench& b, GemmArgs args, bool is_layer_norm) {
  const NormSample sample = norm_sample(b, args, is_layer_norm);
  const RowsOut rows = b.out(args.rows, args.ld_x);
  b.run(b.runtime->kernels->norm, {sample.x, nullptr, args.rows, args.k, args.ld_x, sample.norm, false, rows});
  const size_t half_values = static_cast<size_t>(args.rows) * args.n / 2;
  const auto run = [&](bool norms, float* out, const RowsOut& gated) {
    args.x = norms ? static_cast<void*>(sample.x) : rows.bf16;
    args.norm = norms ? sample.norm : NormWeights{};
    args.out = out, args.gated = gated;
    for (const bool gates : {false, true}) {
      args.gates = gates;
      if (!gates || gemm_gates(args)) b.run(b.runtime->kernels->gemm, args);
    }
  };
  const auto take = [&] { return b.take<float>(static_cast<size_t>(args.rows) * args.ld_out); };
  float *want = take(), *out = take();
  const RowsOut want_gated = b.out(args.rows, args.n / 2), gated = b.out(args.rows, args.n / 2);
  run(false, want, want_gated);
  run(true, out, gated);
  const auto expect = [&](bool is_same, const char* what) {
    b.check.expect(is_same, "%s of %d rows and bricks of kind %d that norms has other bits", what, args.rows,
                   static_cast<int>(args.bricks));
  };
  for (int i = 0; i < args.rows; i++) {
    const size_t at = static_cast<size_t>(i) * args.ld_out;
    expect(same_bits(out + at, want + at, args.n), "a product");
  }
  if (gemm_gates(args)) expect(same_bits(gated.f32, want_gated.f32, half_values), "gate and up");
}

}  // namespace

void expect_ends(Bench& b, const GemmArgs& args, const std::vector<Maker>& makers) {
  expect_added(b, args, makers);
  if (gemm_gates(args)) expect_gated(b, args, makers);
}

void expect_fused(Bench& b, const GemmArgs& args) {
  const Kernels& kernels = *b.runtime->kernels;
  std::vector<Maker> makers = {{"the kernel of gemm's choice", [&](const GemmArgs& of) { b.run(kernels.gemm, of); }}};
  if (gemm_has_tiles(args)) {
    makers.push_back({"small tiles", [&](const GemmArgs& of) { b.run(kernels.gemm_tiles, {of, false}); }});
    makers.push_back({"wide tiles", [&](const GemmArgs& of) { b.run(kernels.gemm_tiles, {of, true}); }});
  }
  expect_ends(b, args, makers);
  for (const bool is_layer_norm : {false, true}) {
    if (gemm_norms(args)) expect_normed(b, args, is_layer_norm);
  }
}

void check_fused(Bench& b) {
  for (const Type type : {Type::kF32, Type::kBf16}) {
    for (const int rows : {1, 5, 8, 9, 16, 17, 33, 65}) {
      b.clear();
      constexpr int kN = 96, kK = 200;
      float* x = b.rows(rows, kK, kK);
      float* w = b.rows(kN, kK, kK);
      const void* x_typed = type == Type::kF32 ? static_cast<void*>(x) : b.halves(x, static_cast<size_t>(rows) * kK);
      const void* w_typed = type == Type::kF32 ? static_cast<void*>(w) : b.halves(w, static_cast<size_t>(kN) * kK);
      float* out = b.take<float>(static_cast<size_t>(rows) * kN);
      const float* bias = rows % 2 == 1 ? b.rows(1, kN, kN) : nullptr;
      expect_fused(b, {x_typed, w_typed, type, bias, nullptr, 1, rows, kN, kK, kK, kK, out, kN});
    }
  }
  // Experts, two for each input.
  constexpr int kN = 32, kK = 72, kExperts = 3;
  const std::vector<int32_t> expert_of = {2, 0, 1, 1};
  const uint16_t* x = b.halves(b.rows(2, kK, kK), 2 * kK);
  const uint16_t* w = b.halves(b.rows(kExperts * kN, kK, kK), kExperts * kN * kK);
  float* out = b.take<float>(expert_of.size() * kN);
  expect_fused(b, {x, w, Type::kBf16, nullptr, b.values(expert_of), 2, 4, kN, kK, kK, kK, out, kN});
  b.check.expect(!gemm_gates({x, w, Type::kBf16, nullptr, nullptr, 1, 1, kN + 16, kK, kK, kK, out, kN}), "half a tile gates");
}

}  // namespace lockstep::test
