// What becomes of a row of logits: what the row asks of the sampler, the id, and what the result says of it. Whose thread does which row,
// and where logits come from, is the backend's.
#pragma once

#include "common/grammar.h"
#include "common/model_spec.h"
#include "common/sampler.h"
#include "common/step_view.h"

namespace lockstep {

constexpr int kVocabUnit = 32;  // rows that parallel/sharding.ts keeps together when it cuts the vocabulary

// Row `row` of the logits, whole: parts[world_size][rows][ld] holds each rank's part of the vocabulary, as parallel/sharding.ts cuts it.
void join_vocabulary(const float* parts, int world_size, int rows, int row, int ld, int vocab, float* out);

// What an output asks of a sampler, on whatever device.
struct OutputRequest {
  bool samples;  // else scored_id, the prompt's next token, is scored
  int32_t scored_id;
  SampleParams params;                    // where it samples
  std::shared_ptr<const TokenMask> mask;  // keeps what params points to
  bool is_stuck;                          // its grammar cannot go on: the answer is kNothingAllowed
  int num_top;                            // best ids to tell; -1: nothing is told of the id
  const int32_t* ids;                     // [num_ids] with some, they are told in the place of the best
  int num_ids;
};

// Where the log-probabilities of an output go.
struct ScorePlace {
  float* logprob;
  int32_t* rank;
  int32_t* top_ids;  // [num_top]
  float* top_logprobs;
};

class OutputSampler {
 public:
  OutputSampler(const StepBuffers* buffers, const ModelSpec* spec, GrammarStore* grammars, const VocabularyOps& ops)
      : buffers_(buffers), spec_(spec), grammars_(grammars), ops_(ops) {}
  // Samples or scores output `index` of the step from its row of logits, which are changed. Only one caller of one rank writes an output:
  // where every rank comes to the same id, the others pass `writes` false. False: the logits are not numbers.
  bool sample(const StepView& step, int index, float* logits, bool writes, Sampler* sampler) const;
  // The parts of it, for devices that sample themselves.
  OutputRequest request_of(const StepView& step, const StepOutput& output) const;
  void write_id(const StepView& step, const StepOutput& output, int32_t id) const;
  ScorePlace score_place(const StepView& step, const StepOutput& output) const;

 private:
  ThinkingBudget thinking_of(int row) const;
  SampleParams params_of(const StepView& step, const StepOutput& output) const;

  const StepBuffers* const buffers_;
  const ModelSpec* const spec_;
  GrammarStore* const grammars_;
  const VocabularyOps ops_;
};

}  // namespace lockstep
