// Products by wgmma against float64, on an emulated device in tests and on a real one in scripts/gpu-check: tails of rows, columns and k,
// more tiles than blocks, and that a row's bits do not depend on the rows beside it. On another device than one of 9.0 there is nothing to
// check.
#include <array>

#include "device_bench.h"

namespace lockstep::test {

using namespace cuda;

void check_gemm_wide(Bench& b) {
  const auto gemm_wide = b.runtime->kernels->gemm_wide;
  DeviceInfo device;
  b.check.expect(b.runtime->device_info(0, &device) == kSuccess, "no device");
  if (!can_gemm_wide(device)) {
    b.kernels_run.insert(reinterpret_cast<const void*>(gemm_wide));
    return;
  }
  // The last has more rows than run together, and three turns for each block.
  for (const auto& [m, n, k, blocks] : std::vector<std::array<int, 4>>{
           {1, 1, 3, 4}, {65, 40, 64, 4}, {128, 256, 128, 1}, {130, 257, 300, 4}, {129, 544, 1100, 2}, {17 * 128 + 1, 300, 72, 13}}) {
    b.clear();
    const int ld = padded(k), ld_out = m % 2 == 1 ? n : padded(n) + kAlign;
    float* x = b.rows(m, k, ld);
    float* w = b.rows(n, k, ld);
    const uint16_t* x_half = b.halves(x, static_cast<size_t>(m) * ld);
    const uint16_t* w_half = b.halves(w, static_cast<size_t>(n) * ld);
    const float* bias = m % 2 == 1 ? b.rows(1, n, n) : nullptr;
    float* out = b.take<float>(static_cast<size_t>(m) * ld_out);
    GemmWideArgs args{{x_half, w_half, Type::kBf16, bias, nullptr, 1, m, n, k, ld, ld, out, ld_out}, blocks};
    b.run(gemm_wide, args);
    for (int i = 0; i < m; i++) {
      const float* row = out + static_cast<size_t>(i) * ld_out;
      for (int j = 0; j < n; j++) {
        double want = bias == nullptr ? 0 : wide(bias[j]);
        for (int c = 0; c < k; c++) want += wide(x[static_cast<size_t>(i) * ld + c]) * wide(w[static_cast<size_t>(j) * ld + c]);
        b.check.near(wide(row[j]), want, 3e-7 * (k + 4), "gemm by wgmma", i * n + j);
      }
      for (int j = n; j < ld_out; j++) b.check.expect(std::isnan(row[j]), "something was written behind row %d of %d", i, m);
    }
    expect_ends(b, args.gemm, {{"wgmma", [&, blocks = blocks](const GemmArgs& of) { b.run(gemm_wide, {of, blocks}); }}});
    float* alone = b.take<float>(n);
    args.gemm.x = x_half + static_cast<size_t>(m - 1) * ld, args.gemm.rows = 1, args.gemm.out = alone, args.gemm.ld_out = n;
    b.run(gemm_wide, args);
    b.check.expect(same_bits(alone, out + static_cast<size_t>(m - 1) * ld_out, n), "a row alone has other bits than among %d", m);
  }
  const GemmArgs experts{nullptr, nullptr, Type::kBf16, nullptr, b.take<int32_t>(1), 1, 1, 8, 8, 8, 8, nullptr, 8};
  b.check.expect(gemm_wide({experts, 1}, b.stream.get()) == kInvalidValue, "rows of several matrices are no product by wgmma");
}

}  // namespace lockstep::test
