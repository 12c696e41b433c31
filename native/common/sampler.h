// From one row of logits to an id and its log-probabilities. A pure function of logits, parameters and key: no state is kept from step to
// step, and no order of summing exists, since masses are integers (architecture, §5.4 and §5.5).
// Leaves where logits come from, and who samples which row, to the backend.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "common/grammar.h"
#include "common/philox.h"
#include "common/sampled_id.h"
#include "common/thinking.h"

namespace lockstep {

// What the sampler needs of a backend's kernels; see cpu/kernels.h.
struct VocabularyOps {
  void (*argmax)(const float* logits, int n, float* value, int32_t* index);
  uint64_t (*sum_exp)(const float* logits, int n, float max);
  uint64_t (*fixed_exp)(float logit, float max);
  void (*softcap)(float* logits, int n, float cap);
  void (*gumbel_words)(PhiloxKey key, uint32_t position, uint32_t choice, uint32_t tile, uint32_t* words);
  int fixed_bits;  // exp(0) is 2^fixed_bits
};

struct SampleParams {
  float temperature, top_p, min_p;
  int top_k;  // 0: off
  float presence, frequency, repetition;
  PhiloxKey key;
  uint32_t choice;
  uint32_t position;  // of the token that is sampled
  const int32_t* bias_ids;
  const float* bias_values;
  int num_bias;
  const int32_t* stop_ids;
  int num_stop;
  bool stop_masked;       // fewer than min_tokens are there
  const TokenMask* mask;  // what the grammar allows; null: there is none
  bool may_stop;          // with a mask: the grammar is complete
  const int32_t* allowed_ids;
  int num_allowed;           // 0: all
  const int32_t* bad_words;  // [bad_words_len] sequences that the output must not hold: length, ids, length, ids, ...
  int bad_words_len;
  ThinkingBudget thinking;
  const int32_t* tokens;  // [num_tokens] of the sequence so far; those from prompt_len on are output
  int num_tokens, prompt_len;
  const int32_t* drafts;  // [num_drafts] that follow them, taken to be right; all of them output
  int num_drafts;
};

inline bool is_restricted(const SampleParams& p) { return p.mask != nullptr || p.num_allowed > 0 || p.bad_words_len > 0; }
inline bool has_penalties(const SampleParams& p) { return p.presence != 0 || p.frequency != 0 || p.repetition != 1; }
constexpr float kGreedyBelow = 1e-5F;  // as vLLM: a lower temperature is greedy

// The id that comes whatever the logits are; -1: none.
int32_t forced_id(const SampleParams& params);
// [(vocab + 31) / 32] a bit for each id that grammar, allowed ids, bad words and the minimum length let come.
void write_allowed(const SampleParams& params, int vocab, uint32_t* words);
// Natural log of a sum of exp(l - max) in units of 2^-fixed_bits, and max.
double log_sum_exp(uint64_t sum, int fixed_bits, float max);

struct TokenScore {
  float logprob;  // natural log of the softmax of the raw logits
  int32_t rank;   // 1: the likeliest
};

// One thread's scratch for rows of `vocab` logits.
class Sampler {
 public:
  Sampler(const VocabularyOps& ops, int vocab);
  // The sampled id, kNotNumbers when the logits are not numbers, kNothingAllowed when no id may come.
  int32_t sample(const float* logits, const SampleParams& params);
  // Log-probability and rank of `id`, and the k best, best first and ties lowest id first.
  TokenScore score(const float* logits, int32_t id, int k, int32_t* top_ids, float* top_logprobs);
  // The same with the log-probabilities of `ids` in place of the k best; -1 and -infinity for what is no token.
  TokenScore score_ids(const float* logits, int32_t id, const int32_t* ids, int count, int32_t* out_ids, float* out_logprobs);

 private:
  struct Candidate {
    float value;
    int32_t id;
  };
  static bool better(const Candidate& a, const Candidate& b) { return a.value > b.value || (a.value == b.value && a.id < b.id); }
  void restrict(const float* logits, const SampleParams& params);
  void apply_bias_and_penalties(const SampleParams& params);
  void select_top(const float* logits, int k);
  void select_at_least(const float* logits, float least);
  void keep_nucleus(const float* logits, float max, float least, float top_p);
  double log_sum_of(const float* logits);
  TokenScore score_of(const float* logits, int32_t id, double log_sum) const;
  uint64_t mass(size_t first, size_t end, float max);
  int32_t race_all(const float* logits, int32_t best_id, const Candidate& last, const SampleParams& params) const;
  int32_t race_candidates(const SampleParams& params) const;

  const VocabularyOps ops_;
  const int vocab_;
  std::vector<float> work_;      // [vocab] logits as changed
  std::vector<float> values_;    // [vocab] of the candidates
  std::vector<int32_t> counts_;  // [vocab] zero between calls
  std::vector<Candidate> candidates_;
};

}  // namespace lockstep
