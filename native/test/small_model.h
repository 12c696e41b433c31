// A small model of random weights and odd sizes, with a layer of every kind, and plans for it: what tests of whole ranks run, on whatever
// device.
#pragma once

#include <cmath>
#include <cstdio>
#include <cstdlib>

#include "check.h"
#include "common/model_spec.h"
#include "common/step_layout.h"

namespace lockstep::test {

inline constexpr int kHidden = 48, kVocab = 100, kHeads = 6, kKvHeads = 2, kHeadDim = 16, kIntermediate = 80, kExperts = 3;
inline constexpr int kPrompt = 270, kOutput = 9, kRows = 2;  // a prompt of two pieces of context
inline constexpr int kMaxDrafts = 3, kTop = 3;

inline NormSpec rms(float offset) {
  NormSpec norm;
  norm.present = true;
  norm.eps = 1e-5F;
  norm.weight_offset = offset;
  return norm;
}

inline ModelSpec small_spec() {
  ModelSpec spec;
  spec.hidden = kHidden, spec.vocab = kVocab, spec.heads = kHeads, spec.kv_heads = kKvHeads, spec.head_dim = kHeadDim;
  spec.tied = true;
  spec.ropes.push_back({kHeadDim, {1, 0.5F, 0.2F, 0.1F, 0.05F, 0.02F, 0.01F, 0.005F}, 1});
  LayerSpec plain;
  plain.scale = 0.25F;
  plain.rope = 0;
  plain.intermediate = kIntermediate;
  plain.before_attention = plain.before_mlp = rms(0);
  LayerSpec rich = plain;  // biases, window, caps, norms after
  rich.qkv_bias = rich.out_bias = rich.mlp_bias = true;
  rich.qk_norm = rms(0);
  rich.window = 9;
  rich.softcap = 20;
  rich.after_attention = rich.after_mlp = rms(1);
  rich.activation = Activation::kGeluTanh;
  LayerSpec experts = plain;
  experts.experts = kExperts;
  experts.experts_top_k = 2;
  experts.normalize_top_k = true;
  LayerSpec ungated = plain;
  ungated.gated = false;
  ungated.activation = Activation::kRelu;
  spec.layers = {plain, rich, experts, ungated};
  spec.final_norm = rms(0);
  spec.logit_softcap = 30;
  return spec;
}

// Random values in a file, and where each tensor lies in it.
class WeightFile {
 public:
  explicit WeightFile(WeightFormat format) : format_(format) {
    const char* folder = std::getenv("TMPDIR");
    path_ = std::string(folder != nullptr ? folder : "/tmp") + "/lockstep-rank-test-XXXXXX";
    file_ = fdopen(mkstemp(path_.data()), "wb");
    map_.files = {path_};
    matrix("embed", kVocab, kHidden);
    matrix("embedTypes", 2, kHidden);
    vector("finalNorm", kHidden);
    for (int i = 0; i < 4; i++) layer("layers." + std::to_string(i) + ".", i);
    std::fclose(file_);
  }
  ~WeightFile() { std::remove(path_.c_str()); }
  const WeightMap& map() const { return map_; }

 private:
  void layer(const std::string& name, int i) {
    for (const char* norm : {"attnNorm", "postAttnNorm", "mlpNorm", "postMlpNorm"}) vector(name + norm, kHidden);
    for (const char* norm : {"qNorm", "kNorm"}) vector(name + norm, kHeadDim);
    matrix(name + "q", kHeads * kHeadDim, kHidden);
    vector(name + "qBias", kHeads * kHeadDim);
    for (const char* part : {"k", "v"}) {
      matrix(name + part, kKvHeads * kHeadDim, kHidden);
      vector(name + part + "Bias", kKvHeads * kHeadDim);
    }
    matrix(name + "o", kHidden, kHeads * kHeadDim);
    vector(name + "oBias", kHidden);
    matrix(name + "router", kExperts, kHidden);
    for (int e = -1; e < kExperts; e++) {
      const std::string of = e < 0 ? name : name + "experts." + std::to_string(e) + ".";
      for (const char* part : {"gate", "up"}) {
        matrix(of + part, kIntermediate, kHidden);
        vector(of + part + "Bias", kIntermediate);
      }
      matrix(of + "down", kHidden, kIntermediate);
      vector(of + "downBias", kHidden);
    }
    (void)i;
  }
  void vector(const std::string& name, int n) { add(name, 1, n, WeightFormat::kF32, 1.0F); }
  void matrix(const std::string& name, int rows, int cols) { add(name, rows, cols, format_, 0.4F); }
  void add(const std::string& name, int rows, int cols, WeightFormat format, float scale) {
    const std::vector<float> values = random_.values(static_cast<size_t>(rows) * cols, scale);
    WeightTensor tensor;
    tensor.name = name, tensor.rows = rows, tensor.cols = cols, tensor.format = format;
    tensor.source.byte_offset = std::ftell(file_), tensor.source.rows = rows, tensor.source.cols = cols;
    std::fwrite(values.data(), sizeof(float), values.size(), file_);
    map_.tensors.push_back(tensor);
  }

  const WeightFormat format_;
  Random random_{7};
  std::string path_;
  std::FILE* file_;
  WeightMap map_;
};

#define LOCKSTEP_COUNT(name, type) +1
constexpr int kColumns = 0 LOCKSTEP_CONTROL_COLUMNS(LOCKSTEP_COUNT) LOCKSTEP_ROW_COLUMNS(LOCKSTEP_COUNT) +
                         kNumSlots * (0 LOCKSTEP_PLAN_COLUMNS(LOCKSTEP_COUNT) LOCKSTEP_RESULT_COLUMNS(LOCKSTEP_COUNT));
#undef LOCKSTEP_COUNT

// The step buffer, laid out as src/step/layout.ts does, with room to spare in each column.
struct Buffer {
  StepDims dims{kRows, 512, 512, 16, 64, kMaxDrafts, 4, 1, 0, 32};
  std::vector<int64_t> offsets;
  std::vector<uint8_t> bytes;
  StepBuffers views{};

  explicit Buffer(int world_size, int pooled_len = 0) {
    dims.world_size = world_size, dims.pooled_len = pooled_len;
    constexpr int64_t kColumn = 1 << 15;
    for (int i = 0; i < kColumns; i++) offsets.push_back(i * kColumn);
    bytes.resize(static_cast<size_t>(kColumn) * offsets.size() + 64);
    views.dims = dims;
    bind_step_buffers(base(), offsets.data(), static_cast<int>(offsets.size()), &views);
  }
  uint8_t* base() { return bytes.data() + (64 - reinterpret_cast<uintptr_t>(bytes.data()) % 64) % 64; }
};

inline Range cut(int total, int unit, int rank, int world) {
  const int units = (total + unit - 1) / unit;
  const auto at = [&](int r) { return std::min(total, (units / world * r + std::min(r, units % world)) * unit); };
  return {at(rank), at(rank + 1) - at(rank)};
}

inline RankShard shard_of(const ModelSpec& spec, ParallelMode mode, int rank, int world) {
  RankShard shard;
  shard.mode = mode, shard.rank = rank, shard.world_size = world;
  const bool reduce = mode == ParallelMode::kReduce;
  const int group = kHeads / kKvHeads;
  shard.heads = reduce ? cut(kHeads, world <= kKvHeads ? group : 1, rank, world) : Range{0, kHeads};
  const int first_kv = shard.heads.first / group;
  shard.kv_heads = shard.heads.count == 0 ? Range{0, 0} : Range{first_kv, (shard.heads.end() - 1) / group - first_kv + 1};
  shard.vocab = reduce ? cut(kVocab, 32, rank, world) : Range{0, kVocab};
  for (size_t i = 0; i < spec.layers.size(); i++)
    shard.intermediate.push_back(reduce ? cut(kIntermediate, 32, rank, world) : Range{0, kIntermediate});
  return shard;
}

// What came out of each row: ids, then the bits of log-probabilities.
struct Run {
  std::vector<int32_t> ids[kRows];
  std::vector<float> logprobs[kRows];
  int right = 0, wrong = 0;  // drafts
};

// Row 0 has the long prompt, row 1 a short one; in one step, then decode with at most `drafts` drafts.
inline void write_plan(StepBuffers& b, int epoch, int drafts, int prompt = kPrompt) {
  PlanColumns& plan = b.plan[epoch & 1];
  const bool prefill = epoch == 1;
  const int counts[kRows] = {prefill ? prompt : 1 + drafts, prefill ? 5 : 1 + drafts};
  const int outputs = prefill ? 1 : 1 + drafts;
  plan.queryStart[0] = plan.outputStart[0] = 0;
  for (int row = 0; row < kRows; row++) {
    plan.rows[row] = row;
    plan.queryStart[row + 1] = plan.queryStart[row] + counts[row];
    plan.startPosition[row] = prefill ? 0 : -1;
    plan.contextMax[row] = (row == 0 ? prompt : 5) + kOutput - 1;
    plan.entryFlags[row] = kEntrySample | (prefill ? kEntryReset : 0);
    plan.outputStart[row + 1] = (row + 1) * outputs;
  }
  plan.planHeader[0] = epoch, plan.planHeader[1] = kRows, plan.planHeader[2] = plan.queryStart[kRows];
  plan.planHeader[3] = kRows * outputs, plan.planHeader[4] = 1, plan.planHeader[5] = 3;
}

inline void read_result(const StepBuffers& b, int epoch, Run* run) {
  const ResultColumns& result = b.result[epoch & 1];
  for (int row = 0; row < kRows; row++) {
    const int first = b.plan[epoch & 1].outputStart[row];
    for (int j = 0; j < result.numSampled[row]; j++) {
      run->ids[row].push_back(result.sampledIds[row * (kMaxDrafts + 1) + j]);
      run->logprobs[row].push_back(result.outputLogprobs[first + j]);
      for (int t = 0; t < kTop; t++) run->logprobs[row].push_back(result.topLogprobs[(first + j) * b.dims.max_logprobs + t]);
    }
    const int drafts = result.numDrafts[row];
    run->right += std::min(drafts, result.numRight[row]);
    run->wrong += drafts - std::min(drafts, result.numRight[row]);
  }
}

inline void fill_rows(StepBuffers& b, int prompt = kPrompt) {
  for (int row = 0; row < kRows; row++) {
    for (int i = 0; i < kPrompt; i++) b.rows.tokens[row * b.dims.max_seq_len + i] = (i * 31 + row * 7) % kVocab;
    for (int i = 0; i < b.dims.max_blocks_per_row; i++) b.rows.blockTables[row * b.dims.max_blocks_per_row + i] = i * kRows + row;
    b.rows.temperature[row] = row == 0 ? 0.0F : 1.2F;
    b.rows.topP[row] = row == 0 ? 1.0F : 0.9F;
    b.rows.repetitionPenalty[row] = 1.1F;
    b.rows.promptLen[row] = row == 0 ? prompt : 5;
    b.rows.numLogprobs[row] = kTop;
    b.rows.thinkingBudget[row] = -1;
  }
  // Row 1 says two words, by chance: some drafts are right and some wrong.
  b.rows.numBias[1] = 2;
  for (int i = 0; i < 2; i++) b.rows.biasIds[kMaxBiasLen + i] = 40 + i, b.rows.biasValues[kMaxBiasLen + i] = 60;
}

// The same layers as an encoder: norms behind each half, two types of tokens, no mask.
inline ModelSpec encoder_spec() {
  ModelSpec spec = small_spec();
  spec.post_norm = true, spec.causal = false, spec.token_types = 2;
  return spec;
}

// One row's chunk, pooled as `flags` say.
inline void write_pooling_plan(StepBuffers& b, int epoch, int row, int start, int count, int flags) {
  PlanColumns& plan = b.plan[epoch & 1];
  plan.rows[0] = row, plan.queryStart[0] = plan.outputStart[0] = plan.outputStart[1] = 0;
  plan.queryStart[1] = count, plan.startPosition[0] = start, plan.contextMax[0] = start + count;
  plan.entryFlags[0] = flags | (start == 0 ? kEntryReset : 0);
  plan.planHeader[0] = epoch, plan.planHeader[1] = 1, plan.planHeader[2] = count, plan.planHeader[3] = 0;
}

}  // namespace lockstep::test
