// Whole ranks on GPUs, over the fake CUDA runtime with its emulated kernels and the fake libnccl: the ids and log-probabilities of the CPU,
// for every kind of layer and 1 to 8 ranks; and what becomes of the others when one fails.
#include <atomic>
#include <functional>
#include <thread>

#include "check.h"
#include "cpu/rank.h"
#include "cpu/vocabulary_ops.h"
#include "fake/clean.h"
#include "fake/cublaslt.h"
#include "fake/nccl_hooks.h"
#include "nccl/rank.h"
#include "small_model.h"

namespace lockstep::test {
namespace {

using nccl::GpuRank;
using nccl::SumChoice;

constexpr std::chrono::milliseconds kTimeout(20000);
constexpr int kShortPrompt = 37;  // of three blocks: an emulated device is slow

// Launches of the norms' own kernel since a runtime was last made to count them.
std::atomic<long> norms_launched;

const cuda::Runtime* counting_norms(const cuda::Runtime* runtime) {
  static cuda::Runtime counting;
  static cuda::Kernels kernels;
  static cuda::Error (*norm)(const cuda::NormArgs&, cuda::Stream);
  counting = *runtime, kernels = *runtime->kernels, norm = kernels.norm, norms_launched = 0;
  kernels.norm = [](const cuda::NormArgs& args, cuda::Stream stream) {
    norms_launched++;
    return norm(args, stream);
  };
  counting.kernels = &kernels;
  return &counting;
}

// All ranks of a model, each with a device and, for each call, a thread of its own.
class GpuRanks {
 public:
  GpuRanks(Check& check, Buffer* buffer, const ModelSpec& spec, cuda::Type kv_type, std::chrono::milliseconds timeout, bool records = true,
           SumChoice sums = SumChoice::kQuickest, const cuda::LtFunctions* cublaslt = nullptr)
      : check_(check),
        world_(buffer->dims.world_size),
        runtime_(counting_norms(start_fake_cuda({world_, 13000, size_t{64} << 20}))),
        library_(nccl::open_nccl(LOCKSTEP_FAKE_NCCL, {})),
        group_(world_ == 1 || sums == SumChoice::kPeersAlone ? nullptr : &library_, world_, timeout),
        meeting_(world_, cpu::WaitPolicy(), timeout, nullptr),
        spec_(spec) {
    open_fake_nccl(LOCKSTEP_FAKE_NCCL);
    check.expect(group_.init().ok(), "no unique id");
    const cpu::Kernels& k = *cpu::kernels_for(nullptr);
    const VocabularyOps ops = cpu::vocabulary_ops(k);
    const cuda::QuantizeBlocks quantize = [&k](WeightFormat format, const float* const* rows, int count, int cols, uint8_t* const* blocks) {
      k.quantize_blocks(static_cast<cpu::Format>(format), rows, count, cols, blocks);
    };
    const nccl::RankContext context = {runtime_, &group_, &spec_, &buffer->views, &grammars_, &mask_maker_, ops,
                                       kv_type,  sums,    "",     records,        cublaslt,   quantize};
    for (int r = 0; r < world_; r++) hosts_.push_back(std::make_unique<cpu::ShmCommunicator>(&meeting_, r));
    for (int r = 0; r < world_; r++) ranks_.push_back(std::make_unique<GpuRank>(context, hosts_[r].get(), r));
  }
  // Calls of one rank are made on its own thread, as a worker's are; here a new one each time, bound to the same device.
  ~GpuRanks() {
    on_ranks([this](int r) {
      ranks_[r].reset();
      return Status();
    });
  }

  std::vector<Status> on_ranks(const std::function<Status(int)>& body) {
    std::vector<Status> results(world_);
    std::vector<std::thread> running;
    for (int r = 0; r < world_; r++) {
      running.emplace_back([&, r] {
        (void)cuda::Device(runtime_, r).bind();
        results[r] = body(r);
      });
    }
    for (std::thread& thread : running) thread.join();
    return results;
  }
  void load(const WeightMap& weights) {
    for (const Status& status :
         on_ranks([&](int r) { return ranks_[r]->load(shard_of(spec_, ParallelMode::kReduce, r, world_), weights); }))
      check_.expect(status.ok(), "load: %s", status.text().c_str());
  }
  std::vector<Status> step(int epoch) {
    return on_ranks([&](int r) { return ranks_[r]->step(epoch); });
  }
  long steps_ahead() const { return ranks_[0]->steps_ahead(); }
  void expect_step(int epoch) {
    for (const Status& status : step(epoch)) check_.expect(status.ok(), "step %d: %s", epoch, status.text().c_str());
  }

 private:
  Check& check_;
  const int world_;
  const cuda::Runtime* const runtime_;
  const nccl::Library library_;
  nccl::Group group_;
  cpu::ShmGroup meeting_;
  const ModelSpec spec_;
  GrammarStore grammars_;
  MaskMaker mask_maker_;
  std::vector<std::unique_ptr<cpu::ShmCommunicator>> hosts_;
  std::vector<std::unique_ptr<GpuRank>> ranks_;
};

Run run_gpu(Check& check, int world, int drafts, cuda::Type kv_type, const WeightMap& weights, bool records = true,
            SumChoice sums = SumChoice::kQuickest, const cuda::LtFunctions* cublaslt = nullptr, int prompt = kShortPrompt) {
  Buffer buffer(world);
  fill_rows(buffer.views, prompt);
  Run run;
  {
    GpuRanks ranks(check, &buffer, small_spec(), kv_type, kTimeout, records, sums, cublaslt);
    ranks.load(weights);
    for (int epoch = 1; epoch <= kOutput; epoch++) {
      write_plan(buffer.views, epoch, drafts, prompt);
      ranks.expect_step(epoch);
      read_result(buffer.views, epoch, &run);
    }
  }
  expect_clean(check);
  // The prompt is too long to be recorded; of the decode steps the first is recorded and run: the layers, then what comes of them.
  const long launches = records && drafts == 0 ? 2L * (kOutput - 1) * world : cuda_graph_launches();
  check.expect(cuda_graph_launches() == launches && (records || launches == 0), "%ld launches of recordings", cuda_graph_launches());
  return run;
}

struct CpuRank {
  std::shared_ptr<cpu::Group> group;
  std::unique_ptr<cpu::Rank> rank;

  CpuRank(Check& check, Buffer* buffer, const ModelSpec& spec, cpu::KvType kv_type, const WeightMap& weights) {
    cpu::GroupConfig config;
    config.dims = buffer->dims, config.spec = spec, config.kv_type = kv_type;
    std::string error;
    group = cpu::Group::create(config, buffer->base(), buffer->offsets, cpu::kernels_for(nullptr), 1, &error);
    rank = std::make_unique<cpu::Rank>(group, 0);
    cpu::PackedSource packed;
    check.expect(rank->load(shard_of(spec, ParallelMode::kGather, 0, 1), weights, &packed).ok(), "no CPU rank");
  }
};

Run run_cpu(Check& check, cpu::KvType kv_type, const WeightMap& weights, int prompt = kShortPrompt) {
  Buffer buffer(1);
  fill_rows(buffer.views, prompt);
  CpuRank cpu(check, &buffer, small_spec(), kv_type, weights);
  Run run;
  for (int epoch = 1; epoch <= kOutput; epoch++) {
    write_plan(buffer.views, epoch, 0, prompt);
    check.expect(cpu.rank->step(epoch).ok(), "a CPU step failed");
    read_result(buffer.views, epoch, &run);
  }
  return run;
}

bool same_run(const Run& a, const Run& b, int row) {
  return a.ids[row] == b.ids[row] && a.logprobs[row].size() == b.logprobs[row].size() &&
         same_bits(a.logprobs[row].data(), b.logprobs[row].data(), a.logprobs[row].size());
}

// In bf16 attention runs in tiles, and many rows' products by wgmma: with a context of two pieces, and on ranks that have some of the
// heads.
void in_tiles(Check& check) {
  const WeightFile halves(WeightFormat::kBf16);
  for (const auto& [world, prompt] : std::vector<std::pair<int, int>>{{1, kPrompt}, {2, kShortPrompt}}) {
    const auto run = [&, world = world, prompt = prompt](bool records) {
      return run_gpu(check, world, 0, cuda::Type::kBf16, halves.map(), records, SumChoice::kQuickest, nullptr, prompt);
    };
    const Run cpu = run_cpu(check, cpu::KvType::kBf16, halves.map(), prompt);
    const Run recorded = run(true);
    // On one GPU the products of a decode step norm what they read, but for experts; a norm is left for these and one for the head. What
    // is recorded is launched once.
    constexpr long kOfPrompt = 2 * 4 + 1, kOfDecode = 2;
    check.expect(world > 1 || norms_launched == kOfPrompt + kOfDecode, "%ld norms in recorded steps", norms_launched.load());
    const Run eager = run(false);
    check.expect(world > 1 || norms_launched == kOfPrompt + (kOutput - 1) * kOfDecode, "%ld norms", norms_launched.load());
    for (int row = 0; row < kRows; row++) {
      check.expect(same_run(recorded, eager, row), "%d GPUs: recorded steps in bf16 give row %d other bits", world, row);
      check.near(recorded.logprobs[row][0], static_cast<double>(cpu.logprobs[row][0]), 5e-3, "log-probability in bf16", row);
    }
  }
}

// Who makes a product (cuda/backend.h): of 4,096 columns, on a device of 132 multiprocessors.
void by_the_table(Check& check) {
  using cuda::ProductBy;
  const auto by = [](cuda::Type type, cuda::Bricks bricks, int rows, bool has_library, int blocks, int n = 4096) {
    cuda::GemmArgs args{};
    args.type = type, args.bricks = bricks, args.rows_per_input = 1;
    args.rows = rows, args.n = n, args.k = 4096;
    return cuda::product_by(args, has_library, blocks);
  };
  const auto expect = [&](ProductBy made, ProductBy want, const char* what) { check.expect(made == want, "another makes %s", what); };
  constexpr cuda::Type kBf16 = cuda::Type::kBf16;
  constexpr cuda::Bricks kNone = cuda::Bricks::kNone, kInt4 = cuda::Bricks::kInt4;
  expect(by(kBf16, kNone, 64, true, 132), ProductBy::kGemm, "few rows");
  expect(by(kBf16, kNone, 65, true, 132), ProductBy::kLibrary, "many rows, where there is a library");
  expect(by(kBf16, kNone, 2048, false, 0), ProductBy::kGemm, "those of another device, or with one order");
  expect(by(kBf16, kNone, 2048, false, 132), ProductBy::kWide, "those of 9.0 without a library");
  expect(by(kBf16, kNone, 256, false, 132), ProductBy::kGemm, "those of too few tiles");
  expect(by(kBf16, kNone, 65, false, 132, 32000), ProductBy::kWide, "a wide matrix's");
  expect(by(kBf16, kInt4, 511, false, 132), ProductBy::kGemm, "some rows with bricks");
  expect(by(kBf16, kInt4, 512, false, 132), ProductBy::kWide, "many rows with bricks");
  expect(by(kBf16, kInt4, 512, true, 132), ProductBy::kLibrary, "many rows with bricks, where there is a library");
  expect(by(cuda::Type::kF32, kNone, 2048, false, 132), ProductBy::kGemm, "those of float32");
}

enum class Planned : uint8_t { kBehind, kBefore, kAmid };  // the step before: ended, not begun, at any moment

// Whether some ranks, all of them or none find the next plan in time, the bits are the same as of one step after the other.
void goes_ahead(Check& check) {
  constexpr Planned kMoments[] = {Planned::kBehind, Planned::kBefore, Planned::kAmid};
  const WeightFile floats(WeightFormat::kF32);
  for (const int world : {1, 3}) {
    std::vector<Run> runs;
    for (const Planned planned : kMoments) {
      Buffer buffer(world);
      StepBuffers& b = buffer.views;
      const auto plan_step = [&b](int epoch) {
        write_plan(b, epoch, 0, kShortPrompt);
        b.plan[epoch & 1].planHeader[4] = 0;  // nothing is looked up, though there is room for drafts
      };
      const auto dispatch = [&b](int epoch) {
        __atomic_store_n(b.control.control + kControlDispatched, std::min(epoch, static_cast<int>(kOutput)), __ATOMIC_RELEASE);
      };
      fill_rows(b, kShortPrompt);
      Run run;
      {
        GpuRanks ranks(check, &buffer, small_spec(), cuda::Type::kF32, kTimeout, true, SumChoice::kPeersAlone);
        ranks.load(floats.map());
        plan_step(1);
        for (int epoch = 1; epoch <= kOutput; epoch++) {
          dispatch(planned == Planned::kBefore ? epoch + 1 : epoch);
          if (epoch < kOutput && planned != Planned::kBehind) plan_step(epoch + 1);
          std::thread amid([&] {
            if (planned != Planned::kAmid) return;
            std::this_thread::sleep_for(std::chrono::microseconds(400 * ((7 * epoch + static_cast<int>(runs.size())) % 10)));
            dispatch(epoch + 1);
          });
          ranks.expect_step(epoch);
          amid.join();
          read_result(b, epoch, &run);
          if (planned == Planned::kBehind) plan_step(epoch + 1);
        }
        // With other ranks a step that lacks its recording, and the next one that makes it, are not ahead.
        const long fewest = planned == Planned::kBefore ? kOutput / 2 : 0;
        check.expect(ranks.steps_ahead() >= fewest && (planned != Planned::kBehind || ranks.steps_ahead() == 0), "%ld steps were ahead",
                     ranks.steps_ahead());
      }
      expect_clean(check);
      runs.push_back(std::move(run));
    }
    for (size_t i = 1; i < runs.size(); i++) {
      for (int row = 0; row < kRows; row++) {
        check.expect(same_run(runs[0], runs[i], row) && runs[0].ids[row].size() == kOutput,
                     "%d GPUs: row %d has other bits when steps go ahead", world, row);
      }
    }
  }
}

void as_on_the_cpu(Check& check) {
  const WeightFile floats(WeightFormat::kF32);
  const Run cpu = run_cpu(check, cpu::KvType::kF32, floats.map());
  FakeLt* const fake = open_fake_cublaslt(LOCKSTEP_FAKE_CUBLASLT);
  const cuda::CublasLt library = cuda::open_cublaslt(LOCKSTEP_FAKE_CUBLASLT, {}, 13);
  const std::vector<std::pair<int, SumChoice>> groups = {
      {1, SumChoice::kQuickest}, {8, SumChoice::kQuickest}, {2, SumChoice::kPeersAlone}, {3, SumChoice::kLibraryAlone}};
  for (const auto& [world, sums] : groups) {
    const Run gpu =
        run_gpu(check, world, 0, cuda::Type::kF32, floats.map(), true, sums, sums == SumChoice::kPeersAlone ? nullptr : &library.functions);
    for (int row = 0; row < kRows; row++) {
      check.expect(gpu.ids[row] == cpu.ids[row], "%d GPUs: row %d has other ids than the CPU", world, row);
      check.expect(gpu.logprobs[row].size() == cpu.logprobs[row].size(), "row %d has other log-probabilities", row);
      for (size_t i = 0; i < std::min(gpu.logprobs[row].size(), cpu.logprobs[row].size()); i++)
        check.near(gpu.logprobs[row][i], static_cast<double>(cpu.logprobs[row][i]), 2e-4, "log-probability", static_cast<int>(i));
    }
  }
  check.expect(fake->products > 0 && fake->alive == 0, "%d products of cuBLASLt, of which %d things are left", fake->products.load(),
               fake->alive.load());
  const Run recorded = run_gpu(check, 2, 0, cuda::Type::kF32, floats.map(), true, SumChoice::kPeersAlone);
  const Run eager = run_gpu(check, 2, 0, cuda::Type::kF32, floats.map(), false, SumChoice::kPeersAlone);
  for (int row = 0; row < kRows; row++) {
    check.expect(same_run(recorded, eager, row), "recorded steps give row %d other bits", row);
  }
  const Run drafting = run_gpu(check, 2, 3, cuda::Type::kF32, floats.map());
  check.expect(drafting.ids[1] == cpu.ids[1] && drafting.right > 0, "drafts give other ids");
}

template <class Step>
std::vector<float> pool(Buffer* buffer, bool encodes, Step step) {
  StepBuffers& b = buffer->views;
  fill_rows(b, kShortPrompt);
  b.rows.secondSegment[0] = 25, b.rows.secondSegment[1] = 5;
  const int chunk = encodes ? kShortPrompt : 20;
  int epoch = 0;
  for (int start = 0; start < kShortPrompt; start += chunk) {
    write_pooling_plan(b, ++epoch, 0, start, std::min(chunk, kShortPrompt - start), kEntryPoolSum);
    step(epoch);
  }
  write_pooling_plan(b, ++epoch, 1, 0, 5, kEntryPoolLast);
  step(epoch);
  return {b.rows.pooled, b.rows.pooled + 2 * kHidden};
}

void pools(Check& check) {
  const WeightFile file(WeightFormat::kF32);
  for (const bool encodes : {false, true}) {
    const ModelSpec spec = encodes ? encoder_spec() : small_spec();
    Buffer for_cpu(1, kHidden);
    CpuRank cpu(check, &for_cpu, spec, cpu::KvType::kF32, file.map());
    const std::vector<float> want =
        pool(&for_cpu, encodes, [&](int epoch) { check.expect(cpu.rank->step(epoch).ok(), "a CPU step failed"); });
    for (const int world : {1, 3}) {
      Buffer buffer(world, kHidden);
      {
        GpuRanks ranks(check, &buffer, spec, cuda::Type::kF32, kTimeout);
        ranks.load(file.map());
        const std::vector<float> got = pool(&buffer, encodes, [&](int epoch) { ranks.expect_step(epoch); });
        for (size_t i = 0; i < want.size(); i++)
          check.near(got[i], static_cast<double>(want[i]), 1e-3 + 1e-4 * std::fabs(want[i]), "pooled", static_cast<int>(i));
      }
      expect_clean(check);
    }
  }
}

// A device that breaks in a step, and one that hangs in it: one rank says why, and the others end because it did and not by their deadline.
void failures_end(Check& check) {
  const WeightFile file(WeightFormat::kF32);
  for (const bool hangs : {false, true}) {
    Buffer buffer(3);
    fill_rows(buffer.views, kShortPrompt);
    {
      GpuRanks ranks(check, &buffer, small_spec(), cuda::Type::kF32, std::chrono::milliseconds(hangs ? 500 : 20000));
      const std::vector<Status> early = ranks.step(1);
      for (const Status& status : early)
        check.expect(status.fault() == Fault::kNotLoaded || status.fault() == Fault::kAborted, "a step before load: %s",
                     status.text().c_str());
    }
    GpuRanks ranks(check, &buffer, small_spec(), cuda::Type::kF32, std::chrono::milliseconds(hangs ? 2000 : 20000));
    ranks.load(file.map());
    write_plan(buffer.views, 1, 0, kShortPrompt);
    fail_cuda_work(1, hangs ? cuda::kNotReady : cuda::kIllegalAddress, 20);
    int told = 0;
    for (const Status& status : ranks.step(1)) {
      check.expect(!status.ok(), "a rank goes on beside one that failed");
      const bool is_reason = status.text().find(hangs ? "made no progress for 2000 ms" : "cudaErrorIllegalAddress") != std::string::npos;
      if (is_reason) told++;
      check.expect(is_reason || status.fault() == Fault::kAborted, "a rank says: %s", status.text().c_str());
    }
    check.expect(told >= 1, "no rank says why");
    const int32_t fault = buffer.views.result[1].resultHeader[1];
    check.expect(fault == static_cast<int32_t>(hangs ? Fault::kTimeout : Fault::kDevice), "the result says fault %d", fault);
  }
}

}  // namespace

void test_gpu_ranks(Check& check) {
  as_on_the_cpu(check);
  goes_ahead(check);
  by_the_table(check);
  in_tiles(check);
  pools(check);
  failures_end(check);
}

}  // namespace lockstep::test
