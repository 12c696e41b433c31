// The checks of the kernels (device_bench.h) over an emulated device; and that they find a wrong value, a write behind a row, and a kernel
// that nobody checks.
#include "device_bench.h"
#include "fake/clean.h"

namespace lockstep::test {
namespace {

void run_checks(Check& check) {
  Bench bench(check, start_fake_cuda({1, 13000, size_t{256} << 20}));
  for (const DeviceCheck& one : device_checks()) {
    bench.clear();
    one.run(bench);
  }
  check.expect(unchecked_kernels(bench) == 0, "%d kernels of the table are not checked", unchecked_kernels(bench));
}

// Whether the check of that name finds that the kernel is wrong.
bool is_found(const std::string& kernel, const std::string& name) {
  Check found = Check::silent();
  FakeMachine machine{1, 13000, size_t{256} << 20};
  machine.wrong_kernel = kernel;
  Bench bench(found, start_fake_cuda(machine));
  for (const DeviceCheck& one : device_checks()) {
    if (one.name == name) one.run(bench);
  }
  return found.failures > 0;
}

// What is wrong on purpose says so in lines that nobody needs to see.
void finds(Check& check, bool what, const char* text) { check.expect(what, "the checks do not find %s", text); }

void find_what_is_wrong(Check& check) {
  for (const auto& [kernel, name] : std::vector<std::pair<const char*, const char*>>{
           {"norm", "norms"}, {"gemm", "products"}, {"attention", "rope and attention"}, {"peer_join", "sums over ranks"}}) {
    finds(check, is_found(kernel, name), kernel);
  }
  Check found = Check::silent();
  Bench bench(found, start_fake_cuda({1, 13000, size_t{256} << 20}));
  finds(check, unchecked_kernels(bench) > 10, "kernels that none of them runs");
  // One row more than there is room for.
  float* x = bench.rows(2, 8, 8);
  const cuda::NormWeights norm{bench.rows(1, 8, 8), nullptr, 0, 1e-5F, false};
  bench.run(bench.runtime->kernels->norm, {x, nullptr, 2, 8, 8, norm, false, bench.out(1, 8)});
  finds(check, found.failures > 0, "what is written behind a row");
}

}  // namespace

void test_cuda_kernels(Check& check) {
  run_checks(check);
  expect_clean(check);
  find_what_is_wrong(check);
}

void test_cuda_sampler(Check& check) {
  {
    Bench bench(check, start_fake_cuda({1, 13000, size_t{256} << 20}));
    for (int i = 0; i < 8; i++) check_sampling(bench);
  }
  expect_clean(check);
}

}  // namespace lockstep::test
