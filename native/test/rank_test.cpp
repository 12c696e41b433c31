// Whole ranks without Node, run as the addon runs them. Bits do not depend on ranks and threads in gather mode, nor on a rank that comes
// late, and all ranks of reduce mode agree. Mainly for the sanitizers: goldens are in test/parity.
#include "cpu/rank.h"

#include <array>
#include <cmath>
#include <thread>

#include "check.h"
#include "small_model.h"

namespace lockstep::test {
namespace {

// All ranks of a group, each stepping in a thread of its own.
struct Group {
  std::vector<std::unique_ptr<cpu::Rank>> ranks;

  Group(Check& check, cpu::GroupConfig config, Buffer& buffer, const WeightMap& weights, const cpu::Kernels& k) {
    config.dims = buffer.dims;
    std::string error;
    const auto group = cpu::Group::create(config, buffer.base(), buffer.offsets, &k, 2, &error);
    if (!check.expect(group != nullptr, "no group: %s", error.c_str())) return;
    const int world = buffer.dims.world_size;
    for (int r = 0; r < world; r++) {
      ranks.push_back(std::make_unique<cpu::Rank>(group, r));
      cpu::PackedSource packed;
      const Status status = ranks.back()->load(shard_of(config.spec, config.mode, r, world), weights, &packed);
      check.expect(status.ok(), "rank %d: %s", r, status.text().c_str());
    }
  }

  // `late`: a rank that comes when the others may have done everything; -1: none.
  void step(Check& check, int epoch, int late = -1) {
    std::vector<Status> results(ranks.size());
    std::vector<std::thread> running;
    for (size_t r = 0; r < ranks.size(); r++) {
      running.emplace_back([&, r] {
        if (static_cast<int>(r) == late) std::this_thread::sleep_for(std::chrono::milliseconds(3));
        results[r] = ranks[r]->step(epoch);
      });
    }
    for (std::thread& thread : running) thread.join();
    for (const Status& status : results) check.expect(status.ok(), "step %d: %s", epoch, status.text().c_str());
  }
};

cpu::GroupConfig config_of(ParallelMode mode, int threads, cpu::KvType kv, ModelSpec spec) {
  cpu::GroupConfig config;
  config.mode = mode, config.spec = std::move(spec), config.kv_type = kv, config.threads_per_rank = threads;
  return config;
}

Run run_ranks(Check& check, ParallelMode mode, int world, int threads, int drafts, cpu::KvType kv, const WeightMap& weights,
              const cpu::Kernels& k) {
  Buffer buffer(world);
  fill_rows(buffer.views);
  Group group(check, config_of(mode, threads, kv, small_spec()), buffer, weights, k);
  Run run;
  // Rows at their end stay in the plan, as one does that ends while the next step is planned.
  for (int epoch = 1; epoch <= kOutput; epoch++) {
    write_plan(buffer.views, epoch, drafts);
    group.step(check, epoch, epoch % 3 == 0 ? epoch % world : -1);
    read_result(buffer.views, epoch, &run);
  }
  return run;
}

// The sum over row 0 in chunks, and the last token of row 1.
std::vector<float> pool_ranks(Check& check, ParallelMode mode, int world, int threads, int chunk, const ModelSpec& spec,
                              const WeightMap& weights, const cpu::Kernels& k) {
  Buffer buffer(world, kHidden);
  StepBuffers& b = buffer.views;
  fill_rows(b);
  b.rows.secondSegment[0] = 100, b.rows.secondSegment[1] = 5;
  Group group(check, config_of(mode, threads, cpu::KvType::kF32, spec), buffer, weights, k);
  int epoch = 0;
  for (int start = 0; start < kPrompt; start += chunk) {
    write_pooling_plan(b, ++epoch, 0, start, std::min(chunk, kPrompt - start), kEntryPoolSum);
    group.step(check, epoch);
  }
  write_pooling_plan(b, ++epoch, 1, 0, 5, kEntryPoolLast);
  group.step(check, epoch);
  return {b.rows.pooled, b.rows.pooled + 2 * kHidden};
}

}  // namespace

void test_ranks(Check& check, const cpu::Kernels& k) {
  for (const bool f32 : {true, false}) {
    const WeightFile file(f32 ? WeightFormat::kF32 : WeightFormat::kBf16);
    const cpu::KvType kv = f32 ? cpu::KvType::kF32 : cpu::KvType::kBf16;
    const Run alone = run_ranks(check, ParallelMode::kGather, 1, 1, 0, kv, file.map(), k);
    check.expect(alone.ids[0].size() == kOutput && alone.ids[1].size() == kOutput, "a row has another number of ids");
    for (const auto& [world, threads, drafts] :
         std::vector<std::array<int, 3>>{{1, 3, 0}, {2, 2, 0}, {5, 1, 0}, {1, 1, 3}, {1, 2, 1}, {3, 1, 2}}) {
      const Run run = run_ranks(check, ParallelMode::kGather, world, threads, drafts, kv, file.map(), k);
      for (int row = 0; row < kRows; row++) {
        const bool same = run.ids[row] == alone.ids[row] && run.logprobs[row].size() == alone.logprobs[row].size() &&
                          same_bits(run.logprobs[row].data(), alone.logprobs[row].data(), alone.logprobs[row].size());
        check.expect(same, "gather mode on %d ranks of %d threads with %d drafts: row %d has other bits than one thread", world, threads,
                     drafts, row);
      }
      if (drafts > 0) check.expect(run.right > 0 && run.wrong > 0, "%d drafts were right and %d wrong", run.right, run.wrong);
    }
    const Run bytes = run_ranks(check, ParallelMode::kGather, 1, 1, 0, cpu::KvType::kInt8, file.map(), k);
    const Run bytes_apart = run_ranks(check, ParallelMode::kGather, 3, 2, 2, cpu::KvType::kInt8, file.map(), k);
    for (int row = 0; row < kRows; row++) {
      const bool same = bytes.ids[row] == bytes_apart.ids[row] && bytes.logprobs[row].size() == bytes_apart.logprobs[row].size() &&
                        same_bits(bytes.logprobs[row].data(), bytes_apart.logprobs[row].data(), bytes.logprobs[row].size());
      check.expect(same, "an int8 cache, 3 ranks, drafts: row %d has other bits than one thread", row);
    }
    for (const int world : {1, 2, 3, 8}) {
      const Run run = run_ranks(check, ParallelMode::kReduce, world, 1, world == 3 ? 2 : 0, kv, file.map(), k);
      for (int row = 0; f32 && row < kRows; row++)
        check.expect(run.ids[row] == alone.ids[row], "reduce mode on %d ranks: row %d", world, row);
    }
  }
}

void test_pooling(Check& check, const cpu::Kernels& k) {
  const WeightFile file(WeightFormat::kF32);
  for (const bool encodes : {false, true}) {
    const ModelSpec spec = encodes ? encoder_spec() : small_spec();
    const std::vector<float> alone = pool_ranks(check, ParallelMode::kGather, 1, 1, kPrompt, spec, file.map(), k);
    for (const float value : alone) check.expect(std::isfinite(value), "%g was pooled", static_cast<double>(value));
    for (const auto& [world, threads, chunk] : std::vector<std::array<int, 3>>{{1, 3, 7}, {2, 2, 64}, {5, 1, kPrompt}, {3, 1, 1}}) {
      const std::vector<float> pooled =
          pool_ranks(check, ParallelMode::kGather, world, threads, encodes ? kPrompt : chunk, spec, file.map(), k);
      check.expect(same_bits(pooled.data(), alone.data(), alone.size()), "%d ranks of %d threads pool other bits", world, threads);
    }
    const std::vector<float> reduced = pool_ranks(check, ParallelMode::kReduce, 3, 1, kPrompt, spec, file.map(), k);
    for (size_t i = 0; i < alone.size(); i++)
      check.near(reduced[i], static_cast<double>(alone[i]), 1e-3 + 1e-4 * std::fabs(alone[i]), "reduce mode", static_cast<int>(i));
  }
}

}  // namespace lockstep::test
