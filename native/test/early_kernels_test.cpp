// That the fake runtime finds a kernel that begins early and does not wait, on every thread, for what is before it; and that products,
// which do something before they wait, do it with weights alone. The kernels here are compiled as those of native/cuda are.
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
const WaitBounds kBounds{nullptr, std::chrono::milliseconds(20000)};

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
  return b.stream.wait(kBounds).ok();
}

struct ReadArgs {
  const uint8_t* from;
  uint8_t* to;  // [2] what is there before the wait, and behind it
};

void read_kernel(ReadArgs args) {
  args.to[0] = *args.from;
  wait_for_earlier();
  args.to[1] = *args.from;
}

void what_is_withheld_is_not_seen(Check& check) {
  Bench b(check, start_fake_cuda({1, 13000, size_t{512} << 20}));
  Memory memory;
  check.expect(memory.reserve_device(b.device, 3, "bytes").ok(), "no memory");
  uint8_t* at = memory.data();
  at[2] = 5;
  withhold({{at + 2, 1}});
  check.expect(launch_early(read_kernel, {1, 1}, 1, ReadArgs{at + 2, at}, b.stream.get()) == kSuccess && b.stream.wait(kBounds).ok(),
               "no run");
  withhold({});
  check.expect(at[0] == 0xff && at[1] == 5 && at[2] == 5, "seen before the wait: %d, behind it: %d", at[0], at[1]);
}

// The same bits where, before they wait, threads see neither x nor which expert, and what they write is lost.
void products_begin_with_weights(Check& check) {
  constexpr int kN = 32, kK = 1200, kMostRows = 65, kValues = kMostRows * kN;
  Bench b(check, start_fake_cuda({1, 13000, size_t{512} << 20}));
  Memory weights, inputs, outputs;
  const bool has_memory = weights.reserve_device(b.device, 2 * kN * padded(kK) * sizeof(float), "weights").ok() &&
                          inputs.reserve_device(b.device, kMostRows * (kK + 1) * sizeof(float), "inputs").ok() &&
                          outputs.reserve_device(b.device, kValues * sizeof(float), "outputs").ok();
  check.expect(has_memory, "no memory");
  if (!has_memory) return;
  for (const Memory* memory : {&weights, &inputs}) {
    for (size_t i = 0; i < memory->bytes(); i++) memory->data()[i] = static_cast<uint8_t>(b.random.next() & 0x3f);  // no large numbers
  }
  auto* expert_of = inputs.as<int32_t>() + kMostRows * kK;
  for (int i = 0; i < kMostRows; i++) expert_of[i] = i % 2;
  const auto bits_of = [&](const GemmArgs& args, const std::vector<Withheld>& withheld) {
    std::fill(outputs.data(), outputs.data() + outputs.bytes(), uint8_t{0});
    withhold(withheld);
    const bool has_run = b.runtime->kernels->gemm(args, b.stream.get()) == kSuccess && b.stream.wait(kBounds).ok();
    withhold({});
    check.expect(has_run, "no run");
    return std::vector<uint8_t>(outputs.data(), outputs.data() + outputs.bytes());
  };
  const std::vector<Withheld> withheld = {{inputs.data(), inputs.bytes()}, {outputs.data(), outputs.bytes()}};
  const auto expect_same = [&](const GemmArgs& args) {
    check.expect(bits_of(args, withheld) == bits_of(args, {}),
                 "%d rows, bricks of kind %d, adds %d, gates %d: more than weights was read early", args.rows,
                 static_cast<int>(args.bricks), args.adds, args.gates);
  };
  for (const int rows : {1, 9, 17, kMostRows}) {
    GemmArgs args{inputs.data(), weights.data(), Type::kF32, nullptr, nullptr, 1, rows, kN, kK, kK, kK, outputs.as<float>(), kN};
    expect_same(args);
    args.type = Type::kBf16;
    args.gated = {outputs.as<float>(), nullptr, kN / 2};
    for (const Bricks bricks : {Bricks::kNone, Bricks::kInt4, Bricks::kInt6K}) {
      args.bricks = bricks;
      for (const bool gates : {false, true}) {
        args.gates = gates, args.adds = !gates;
        expect_same(args);
      }
    }
    if (gemm_norms(args)) {
      args.norm = {inputs.as<float>(), nullptr, 0, 1e-5F, false};
      for (const bool gates : {false, true}) {
        args.gates = gates, args.adds = !gates;
        expect_same(args);
      }
      args.norm = {};
    }
    args.bricks = Bricks::kNone, args.expert_of = expert_of;
    expect_same(args);
  }
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
  what_is_withheld_is_not_seen(check);
  products_begin_with_weights(check);
  expect_clean(check);
}

}  // namespace lockstep::test
