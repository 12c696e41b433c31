// That the fake runtime finds a kernel that begins early and does not wait, on every thread, for what is before it. The kernels here are
// compiled as those of native/cuda are.
#include "cuda/device.cuh"
#include "device_bench.h"
#include "fake/clean.h"

namespace lockstep::test {
namespace {

using namespace cuda;

struct WaitArgs {
  unsigned waiting;  // threads of a block that wait
  unsigned blocks;   // whose threads all do, before one where only these do
};

void wait_kernel(WaitArgs args) {
  let_next_begin();
  if (threadIdx.x < args.waiting || blockIdx.x < args.blocks) wait_for_earlier();
}

constexpr unsigned kBlocks = 3;
constexpr int kThreads = 64;

bool runs(Check& check, bool is_early, bool is_recorded, unsigned waiting) {
  Bench b(check, start_fake_cuda({1, 13000, size_t{512} << 20}));
  const WaitArgs args = {waiting, kBlocks - 1};
  const auto start = [&] {
    const Grid grid = {kBlocks, 1};
    return is_early ? launch_early(wait_kernel, grid, kThreads, args, b.stream.get())
                    : launch(wait_kernel, grid, kThreads, args, b.stream.get());
  };
  RecordedWork work;
  if (is_recorded) check.expect(work.begin(b.device, b.stream.get()).ok(), "no recording");
  check.expect(start() == kSuccess, "no launch");
  if (is_recorded) check.expect(work.end().ok() && work.launch().ok(), "no launch of the recording");
  return b.stream.wait({nullptr, std::chrono::milliseconds(5000)}).ok();
}

}  // namespace

void test_early_kernels(Check& check) {
  for (const bool is_recorded : {false, true}) {
    check.expect(runs(check, true, is_recorded, kThreads), "a kernel that waits was refused");
    expect_clean(check);
    check.expect(runs(check, false, is_recorded, 0), "a kernel that begins behind what is before it need not wait");
    expect_clean(check);
    check.expect(!runs(check, true, is_recorded, kThreads - 1), "a thread that does not wait was not found");
    check.expect(!cuda_complaints().empty() && cuda_complaints().back().find("does not wait") != std::string::npos,
                 "what is wrong is not said");
  }
}

}  // namespace lockstep::test
