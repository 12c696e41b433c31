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

class OutputSampler {
 public:
  OutputSampler(const StepBuffers* buffers, const ModelSpec* spec, GrammarStore* grammars, const VocabularyOps& ops)
      : buffers_(buffers), spec_(spec), grammars_(grammars), ops_(ops) {}
  // Samples or scores output `index` of the step from its row of logits, which are changed. Only one caller of one rank writes an output:
  // where every rank comes to the same id, the others pass `writes` false. False: the logits are not numbers.
  bool sample(const StepView& step, int index, float* logits, bool writes, Sampler* sampler) const;

 private:
  ThinkingBudget thinking_of(int row) const;
  SampleParams params_of(const StepView& step, const StepOutput& output) const;
  int32_t sample_row(const StepView& step, const StepOutput& output, const float* logits, Sampler* sampler) const;

  const StepBuffers* const buffers_;
  const ModelSpec* const spec_;
  GrammarStore* const grammars_;
  const VocabularyOps ops_;
};

}  // namespace lockstep
