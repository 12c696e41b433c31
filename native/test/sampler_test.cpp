// The sampler against plain definitions: restricted sets, the distribution that it draws from, penalties, scores, ties.
#include "common/sampler.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <set>

#include "check.h"
#include "common/gumbel.h"
#include "cpu/vocabulary_ops.h"

namespace lockstep::test {
namespace {

constexpr int kVocab = 3000;  // three tiles of noise, the last one not full
constexpr float kNone = -1e30F;

SampleParams neutral() {
  SampleParams p{};
  p.temperature = 1;
  p.top_p = 1;
  p.repetition = 1;
  return p;
}

Sampler make_sampler(const cpu::Kernels& k, int vocab) { return Sampler(cpu::vocabulary_ops(k), vocab); }

std::vector<double> softmax(const std::vector<float>& logits, double temperature) {
  double max = -1e300;
  for (const float l : logits) max = std::max(max, l / temperature);
  std::vector<double> p(logits.size());
  double sum = 0;
  for (size_t i = 0; i < p.size(); i++) sum += p[i] = std::exp(logits[i] / temperature - max);
  for (double& v : p) v /= sum;
  return p;
}

std::map<int32_t, int> draw(Sampler& sampler, const std::vector<float>& logits, SampleParams p, int draws) {
  std::map<int32_t, int> counts;
  for (int i = 0; i < draws; i++) {
    p.position = static_cast<uint32_t>(i);
    counts[sampler.sample(logits.data(), p)]++;
  }
  return counts;
}

// Philox4x32-10 as published: the known answers of Random123's kat_vectors.
void philox_vectors(Check& check) {
  uint32_t out[4];
  philox4x32({0, 0}, 0, 0, 0, 0, out);
  check.expect(out[0] == 0x6627e8d5 && out[1] == 0xe169c58d && out[2] == 0xbc57ac4c && out[3] == 0x9b00dbd8, "zeros: %08x", out[0]);
  philox4x32({0xffffffff, 0xffffffff}, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, out);
  check.expect(out[0] == 0x408f276d && out[1] == 0x41c83b0e && out[2] == 0xa20bc7c6 && out[3] == 0x6d5451fd, "ones: %08x", out[0]);
}

void noise(Check& check, const cpu::Kernels& k) {
  uint32_t words[kGumbelTile];
  k.gumbel_words({5, 6}, 7, 8, 2, words);
  for (int i = 0; i < kGumbelTile; i++) {
    check.expect(words[i] == gumbel_word({5, 6}, 7, 8, 2 * kGumbelTile + i), "word %d differs alone and in its tile", i);
    check.expect(gumbel_bound(words[i]) >= gumbel_of_word(words[i]), "bound of word %08x", words[i]);
  }
  for (const uint32_t word : {0U, 1U, 2U, 3U, 0x7fffffffU, 0x80000000U, 0xffffffffU}) {
    check.expect(gumbel_bound(word) >= gumbel_of_word(word), "bound of word %08x", word);
  }
  check.expect(gumbel_of_word(0) <= kGumbelMax, "the largest noise");
  // Of a gap between logit and best: the last word may reach it, or nearly so, and none above does.
  for (const double gap : {0.0, 1e-12, 0.1, 1.0, 3.0, 7.5, 12.0, 20.0, 22.0}) {
    const uint32_t last = last_gumbel_word(2.0, 2.0 + gap);
    if (last < 0xffffffffU) check.expect(gumbel_of_word(last + 1) < gap, "a word above the last one of a gap of %g reaches it", gap);
    if (gap >= 3) check.expect(gumbel_of_word(last / 16 * 15) > gap - 0.1, "the last word of a gap of %g is far above it", gap);
  }
  check.expect(last_gumbel_word(5, 4) == 0xffffffffU, "a logit above the best score");
}

void greedy(Check& check, const cpu::Kernels& k) {
  Sampler sampler = make_sampler(k, kVocab);
  std::vector<float> logits(kVocab, 0.0F);
  logits[77] = logits[2222] = 3;
  SampleParams p = neutral();
  p.temperature = 0;
  check.expect(sampler.sample(logits.data(), p) == 77, "a tie takes the lowest id");
  const int32_t bias_id = 2222;
  const float bias = 0.5F;
  p.bias_ids = &bias_id;
  p.bias_values = &bias;
  p.num_bias = 1;
  check.expect(sampler.sample(logits.data(), p) == 2222, "bias");
  p.stop_ids = &bias_id;
  p.num_stop = 1;
  p.stop_masked = true;
  check.expect(sampler.sample(logits.data(), p) == 77, "the minimum length's mask beats a bias");
  check.expect(logits[2222] == 3, "sampling changed the logits");
  std::fill(logits.begin(), logits.end(), NAN);
  check.expect(sampler.sample(logits.data(), neutral()) == -1, "no number is no id");
}

void penalties(Check& check, const cpu::Kernels& k) {
  Sampler sampler = make_sampler(k, 8);
  const std::vector<float> logits = {1, 2, 3, -1, 0, 0, 0, 0};
  const int32_t tokens[] = {0, 2, 1, 1, 1};  // a prompt of two, an output of three
  SampleParams p = neutral();
  p.temperature = 0;
  p.tokens = tokens;
  p.num_tokens = 5;
  p.prompt_len = 2;
  p.repetition = 2;  // 0.5, 1, 1.5
  check.expect(sampler.sample(logits.data(), p) == 2, "repetition halves what was seen, prompt included");
  const std::vector<float> with_zero = {1, 0, 3, -1, 0, 0, 0, 0};
  for (const float repetition : {0.0F, 1e-40F, 1e-30F, 1e30F, std::numeric_limits<float>::infinity()}) {
    p.repetition = repetition;
    const int32_t best = sampler.sample(with_zero.data(), p);
    check.expect(best == 0 || best == 2, "no penalty makes a logit that is no number");
    p.temperature = 1e-4F;
    check.expect(sampler.sample(with_zero.data(), p) >= 0, "nor does a low temperature after it");
    p.temperature = 0;
  }
  p.repetition = 1;
  p.frequency = 0.4F;
  check.expect(sampler.sample(logits.data(), p) == 2, "frequency leaves the prompt alone");
  const std::vector<float> output_first = {1, 4.1F, 3, -1, 0, 0, 0, 0};
  check.expect(sampler.sample(output_first.data(), p) == 2, "frequency counts occurrences: 4.1 - 3 * 0.4 < 3");
  p.frequency = 0;
  p.presence = 1;
  check.expect(sampler.sample(output_first.data(), p) == 1, "presence counts once: 4.1 - 1 > 3");
  p.presence = 1.2F;
  check.expect(sampler.sample(output_first.data(), p) == 2, "presence: 4.1 - 1.2 < 3");
}

// The frequencies of many draws against the softmax: a chi-square over the likeliest ids.
void distribution(Check& check, const cpu::Kernels& k) {
  Sampler sampler = make_sampler(k, kVocab);
  std::vector<float> logits = Random(3).values(kVocab, 3.0F);
  logits[2900] = 8;
  logits[5] = 7.5F;
  logits[1500] = 7;
  const int draws = 4000;
  for (const float temperature : {1.0F, 0.7F}) {
    SampleParams p = neutral();
    p.temperature = temperature;
    p.key = {11, 12};
    const std::map<int32_t, int> counts = draw(sampler, logits, p, draws);
    const std::vector<double> expected = softmax(logits, temperature);
    double rest = 1;
    int rest_drawn = draws;
    double chi_square = 0;
    const auto add = [&](double share, int drawn) { chi_square += (drawn - share * draws) * (drawn - share * draws) / (share * draws); };
    for (const int32_t id : {2900, 5, 1500}) {
      const int drawn = counts.count(id) != 0 ? counts.at(id) : 0;
      add(expected[static_cast<size_t>(id)], drawn);
      rest -= expected[static_cast<size_t>(id)];
      rest_drawn -= drawn;
    }
    add(rest, rest_drawn);
    check.expect(chi_square < 21.1, "chi-square %.1f at temperature %.1f, 3 degrees of freedom: one in 10000 is above 21.1", chi_square,
                 temperature);
  }
}

void restricted_sets(Check& check, const cpu::Kernels& k) {
  Sampler sampler = make_sampler(k, kVocab);
  const std::vector<float> logits = Random(9).values(kVocab, 4.0F);
  std::vector<int32_t> order(kVocab);
  for (int i = 0; i < kVocab; i++) order[static_cast<size_t>(i)] = i;
  std::sort(order.begin(), order.end(), [&](int32_t a, int32_t b) {
    return logits[static_cast<size_t>(a)] > logits[static_cast<size_t>(b)] ||
           (logits[static_cast<size_t>(a)] == logits[static_cast<size_t>(b)] && a < b);
  });
  const std::vector<double> p_all = softmax(logits, 1);
  const auto drawn_within = [&](const SampleParams& p, size_t count, const char* what) {
    std::set<int32_t> allowed(order.begin(), order.begin() + static_cast<long>(count));
    std::set<int32_t> seen;
    for (const auto& [id, times] : draw(sampler, logits, p, 600)) {
      check.expect(allowed.count(id) == 1, "%s: id %d is not among the best %zu", what, id, count);
      seen.insert(id);
    }
    check.expect(count > 8 || seen.size() == count, "%s: %zu of %zu ids were ever drawn", what, seen.size(), count);
  };
  for (const int top_k : {1, 3, 50, 1000}) {
    SampleParams p = neutral();
    p.top_k = top_k;
    drawn_within(p, static_cast<size_t>(top_k), "top_k");
  }
  for (const float top_p : {0.001F, 0.05F, 0.5F, 0.9F, 0.999F}) {
    double mass = 0;
    size_t count = 0;
    while (mass < top_p) mass += p_all[static_cast<size_t>(order[count++])];
    SampleParams p = neutral();
    p.top_p = top_p;
    drawn_within(p, count, "top_p");
  }
  SampleParams both = neutral();  // top_p of what top_k leaves: half of five equal-ish shares
  both.top_k = 5;
  both.top_p = 0.5F;
  double five = 0;
  for (size_t i = 0; i < 5; i++) five += p_all[static_cast<size_t>(order[i])];
  double mass = 0;
  size_t count = 0;
  while (mass < 0.5 * five) mass += p_all[static_cast<size_t>(order[count++])];
  drawn_within(both, count, "top_k and top_p");
  SampleParams min_p = neutral();
  min_p.min_p = 0.8F;
  count = 0;
  while (p_all[static_cast<size_t>(order[count])] >= 0.8 * p_all[static_cast<size_t>(order[0])]) count++;
  drawn_within(min_p, count, "min_p");
}

// Who else is a candidate changes nothing: the same noise decides with and without a restriction that keeps the winner.
void same_noise(Check& check, const cpu::Kernels& k) {
  Sampler sampler = make_sampler(k, kVocab);
  const std::vector<float> logits = Random(21).values(kVocab, 5.0F);
  for (uint32_t position = 0; position < 200; position++) {
    SampleParams p = neutral();
    p.key = {42, 0};
    p.position = position;
    const int32_t free = sampler.sample(logits.data(), p);
    p.min_p = 1e-12F;
    check.expect(sampler.sample(logits.data(), p) == free, "position %u", position);
    p.choice = 1;
    p.min_p = 0;
    double best = -1e300;
    int32_t winner = -1;
    for (int id = 0; id < kVocab; id++) {
      const double score = logits[static_cast<size_t>(id)] + gumbel_of_word(gumbel_word(p.key, position, 1, id));
      if (score > best) best = score, winner = id;
    }
    check.expect(sampler.sample(logits.data(), p) == winner, "screening lost the winner at position %u", position);
  }
}

void scores(Check& check, const cpu::Kernels& k) {
  Sampler sampler = make_sampler(k, kVocab);
  std::vector<float> logits = Random(33).values(kVocab, 6.0F);
  logits[8] = logits[900] = 7;
  const std::vector<double> p = softmax(logits, 1);
  int32_t ids[5];
  float logprobs[5];
  const TokenScore best = sampler.score(logits.data(), 900, 5, ids, logprobs);
  check.expect(best.rank == 1, "rank of a tied best is %d", best.rank);
  check.expect(ids[0] == 8 && ids[1] == 900, "ties: lowest id first");
  for (int i = 0; i < 5; i++) check.near(logprobs[i], std::log(p[static_cast<size_t>(ids[i])]), 1e-5, "top", i);
  const TokenScore some = sampler.score(logits.data(), 123, 0, nullptr, nullptr);
  int rank = 1;
  for (const float l : logits) rank += l > logits[123];
  check.expect(some.rank == rank, "rank %d, want %d", some.rank, rank);
  check.near(some.logprob, std::log(p[123]), 1e-5, "logprob", 123);
  const int32_t asked[3] = {123, kVocab, 7};
  const TokenScore same = sampler.score_ids(logits.data(), 900, asked, 3, ids, logprobs);
  check.expect(same.rank == best.rank && same.logprob == best.logprob, "the token's own score changes with what is asked beside it");
  check.expect(ids[0] == 123 && ids[1] == -1 && ids[2] == 7, "the ids that were asked for, and -1 for none");
  check.near(logprobs[0], some.logprob, 0, "asked", 0);
  check.expect(std::isinf(logprobs[1]), "no token has a log-probability");
  check.near(logprobs[2], std::log(p[7]), 1e-5, "asked", 2);
  logits.assign(kVocab, kNone);
  logits[4] = 0;
  check.near(sampler.score(logits.data(), 4, 0, nullptr, nullptr).logprob, 0, 1e-7, "certain", 4);
}

// After so many tokens of reasoning comes its end, once, and nowhere else.
void thinking_budget(Check& check, const cpu::Kernels& k) {
  Sampler sampler = make_sampler(k, kVocab);
  std::vector<float> logits(kVocab, 0);
  logits[9] = 5;
  // Tokens 30 … 39 are text: "a", "<", "/", "t", ">", "</", "t>", ">b", " <", "t>a"; the others are none.
  const std::string letters = "a</t></t>>b <t>a";
  std::vector<int32_t> ends(30, 0);
  for (const int end : {1, 2, 3, 4, 5, 7, 9, 11, 13, 16}) ends.push_back(end);
  const auto texts = std::make_shared<VocabularyTrie>(reinterpret_cast<const uint8_t*>(letters.data()), ends.data(), 40);
  constexpr int32_t kBegin = 20;
  constexpr int32_t kEnd = 21;
  const std::vector<int32_t> begin_text = {'<', 't', '>'};
  const std::vector<int32_t> end_text = {'<', '/', 't', '>'};
  const std::vector<int32_t> end_id = {kEnd};
  const std::vector<int32_t> end_ids = {35, 36};
  const auto budget_of = [&](Marker begin, bool by_text) {
    ThinkingBudget budget;
    budget.tokens = 3;
    budget.begin = begin;
    budget.end_ids = (by_text ? end_ids : end_id).data();
    budget.num_end_ids = by_text ? 2 : 1;
    if (by_text)
      budget.end.text = end_text.data(), budget.end.text_len = 4;
    else
      budget.end.id = kEnd;
    budget.texts = texts;
    return budget;
  };
  const auto sampled = [&](const std::vector<int32_t>& output, const ThinkingBudget& budget, int num_drafts) {
    std::vector<int32_t> tokens = {1, 2};
    tokens.insert(tokens.end(), output.begin(), output.end());
    SampleParams p = neutral();
    p.temperature = 0;
    p.prompt_len = 2;
    p.num_drafts = num_drafts;
    p.num_tokens = static_cast<int>(tokens.size()) - num_drafts;
    p.tokens = tokens.data();
    p.drafts = tokens.data() + p.num_tokens;
    p.thinking = budget;
    return sampler.sample(logits.data(), p);
  };
  Marker none, by_id, by_text;
  by_id.id = kBegin;
  by_text.text = begin_text.data();
  by_text.text_len = 3;
  const ThinkingBudget begun = budget_of(none, false);
  const ThinkingBudget marked = budget_of(by_id, false);
  const ThinkingBudget spelt = budget_of(none, true);
  const ThinkingBudget both = budget_of(by_text, true);
  for (const int drafts : {0, 1}) {
    check.expect(sampled({9, 9}, begun, drafts) == 9, "within the budget");
    check.expect(sampled({9, 9, 9}, begun, drafts) == kEnd, "the budget is spent");
    check.expect(sampled({9, 9, kEnd}, begun, drafts) == 9, "it ended in time");
    check.expect(sampled({9, 9, 9, kEnd, 9}, begun, drafts) == 9, "it ends once");
    check.expect(sampled({kBegin, 9, 9}, marked, drafts) == 9, "its beginning does not count");
    check.expect(sampled({kBegin, 9, 9, 9}, marked, drafts) == kEnd, "the budget behind the beginning is spent");
    check.expect(sampled({9, 9, 9, 9, 9}, marked, drafts) == 9, "no reasoning, no end");

    check.expect(sampled({30, 30, 30}, spelt, drafts) == 35, "the first token of the end");
    check.expect(sampled({30, 30, 30, 35}, spelt, drafts) == 36, "the second");
    check.expect(sampled({30, 30, 30, 35, 36}, spelt, drafts) == 9, "no third");
    check.expect(sampled({31, 32, 39, 30}, spelt, drafts) == 9, "it ended in other tokens, and within one");
    check.expect(sampled({31, 31, 32}, spelt, drafts) == 35, "half of an end is none");
    check.expect(sampled({31, 31, 32, 35}, spelt, drafts) == 36, "and what is forced behind it is whole");
    check.expect(sampled({31, 32, 9, 36}, spelt, drafts) == 36, "nothing goes on behind a token without text");
    check.expect(sampled({38, 36, 30, 30}, both, drafts) == 9, "a beginning behind white space");
    check.expect(sampled({38, 36, 30, 30, 30}, both, drafts) == 35, "and the budget behind it");
    check.expect(sampled({30, 31, 36, 30, 30, 30}, both, drafts) == 9, "a beginning elsewhere is none");
  }
  check.expect(sampled({}, marked, 0) == 9, "nothing yet");
}

}  // namespace

void test_sampler(Check& check, const cpu::Kernels& k) {
  philox_vectors(check);
  noise(check, k);
  greedy(check, k);
  penalties(check, k);
  distribution(check, k);
  restricted_sets(check, k);
  same_noise(check, k);
  scores(check, k);
  thinking_budget(check, k);
}

}  // namespace lockstep::test
