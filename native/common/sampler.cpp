#include "common/sampler.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "common/gumbel.h"

namespace lockstep {
namespace {

constexpr int kRaceAllShare = 16;
constexpr int kGumbelStride = 32;  // words looked at together
constexpr float kNever = -std::numeric_limits<float>::infinity();

// Bounded, so that no penalty that a request may name makes an infinite logit, be it divided by the lowest temperature next: that would
// look as if the weights were broken. What is not a number stays so.
float penalized(float logit, float repetition) {
  constexpr float kMost = 1e30F;
  const float by = std::min(repetition, std::numeric_limits<float>::max());  // 0 times infinity is no number
  return std::clamp(logit > 0 ? logit / by : logit * by, -kMost, kMost);
}

// Calls forbid(id) for the last id of every bad word whose other ids the output ends with. Bounded by the column: a length that runs over
// its end ends the list.
template <class Forbid>
void for_bad_words(const SampleParams& p, int vocab, Forbid forbid) {
  const int length = p.num_tokens + p.num_drafts;
  const auto token = [&](int i) { return i < p.num_tokens ? p.tokens[i] : p.drafts[i - p.num_tokens]; };
  for (int at = 0; at < p.bad_words_len;) {
    const int count = p.bad_words[at];
    const int32_t* word = p.bad_words + at + 1;
    at += 1 + count;
    if (count < 1 || at > p.bad_words_len) return;
    if (length - p.prompt_len < count - 1) continue;
    int same = 0;
    while (same < count - 1 && token(length - (count - 1) + same) == word[same]) same++;
    const int32_t last = word[count - 1];
    if (same == count - 1 && last >= 0 && last < vocab) forbid(last);
  }
}

bool any_at_most(const uint32_t* words, uint32_t last) {  // of kGumbelStride
  unsigned any = 0;
  for (int i = 0; i < kGumbelStride; i++) any |= words[i] <= last ? 1U : 0U;
  return any != 0;
}

}  // namespace

int32_t forced_id(const SampleParams& p) {
  const auto output = [&](int i) {
    return p.prompt_len + i < p.num_tokens ? p.tokens[p.prompt_len + i] : p.drafts[p.prompt_len + i - p.num_tokens];
  };
  const int32_t end = forced_end_of_thinking(p.thinking, p.num_tokens + p.num_drafts - p.prompt_len, output);
  if (end >= 0) return end;
  // The only id that a grammar allows needs no look at the logits.
  const bool is_only = p.mask != nullptr && p.mask->count == 1 && p.num_allowed == 0 && p.bad_words_len == 0;
  return is_only ? std::max(p.mask->only, -1) : -1;
}

void write_allowed(const SampleParams& p, int vocab, uint32_t* words) {
  const int num_words = (vocab + 31) / 32;
  const auto is_id = [vocab](int32_t id) { return id >= 0 && id < vocab; };
  const auto put = [words](int32_t id, bool may) {
    const uint32_t bit = uint32_t{1} << (id % 32);
    words[id / 32] = may ? words[id / 32] | bit : words[id / 32] & ~bit;
  };
  std::fill(words, words + num_words, ~uint32_t{0});
  if (p.mask != nullptr) {
    const int known = std::min(num_words, static_cast<int>(p.mask->words.size()));
    std::copy(p.mask->words.begin(), p.mask->words.begin() + known, words);
    std::fill(words + known, words + num_words, 0);
    for (int i = 0; p.may_stop && i < p.num_stop; i++) {
      if (is_id(p.stop_ids[i])) put(p.stop_ids[i], true);
    }
  }
  if (p.num_allowed > 0) {
    std::vector<uint32_t> allowed(num_words, 0);
    for (int i = 0; i < p.num_allowed; i++) {
      if (is_id(p.allowed_ids[i])) allowed[p.allowed_ids[i] / 32] |= uint32_t{1} << (p.allowed_ids[i] % 32);
    }
    for (int i = 0; i < num_words; i++) words[i] &= allowed[i];
  }
  for_bad_words(p, vocab, [&](int32_t id) { put(id, false); });
  for (int i = 0; p.stop_masked && i < p.num_stop; i++) {
    if (is_id(p.stop_ids[i])) put(p.stop_ids[i], false);
  }
}

double log_sum_exp(uint64_t sum, int fixed_bits, float max) { return std::log(std::ldexp(static_cast<double>(sum), -fixed_bits)) + max; }

Sampler::Sampler(const VocabularyOps& ops, int vocab) : ops_(ops), vocab_(vocab), work_(vocab), values_(vocab), counts_(vocab, 0) {
  candidates_.reserve(vocab);
}

// Grammar, allowed ids, bad words, as vLLM orders them: what is not allowed is impossible, whatever else is asked for.
void Sampler::restrict(const float* logits, const SampleParams& p) {
  if (p.mask != nullptr) {
    const int known = std::min(vocab_, static_cast<int>(p.mask->words.size()) * 32);
    for (int id = 0; id < known; id++) {
      if (!p.mask->allows(id)) work_[id] = kNever;
    }
    std::fill(work_.begin() + known, work_.end(), kNever);
    for (int i = 0; p.may_stop && i < p.num_stop; i++) {
      if (p.stop_ids[i] >= 0 && p.stop_ids[i] < vocab_) work_[p.stop_ids[i]] = logits[p.stop_ids[i]];
    }
  }
  if (p.num_allowed > 0) {
    const auto mark = [&](int32_t value) {
      for (int i = 0; i < p.num_allowed; i++) {
        if (p.allowed_ids[i] >= 0 && p.allowed_ids[i] < vocab_) counts_[p.allowed_ids[i]] = value;
      }
    };
    mark(1);
    for (int id = 0; id < vocab_; id++) {
      if (counts_[id] == 0) work_[id] = kNever;
    }
    mark(0);
  }
  for_bad_words(p, vocab_, [this](int32_t id) { work_[id] = kNever; });
}

// In vLLM's order: bias, then the minimum length's mask, then repetition, frequency and presence.
void Sampler::apply_bias_and_penalties(const SampleParams& p) {
  for (int i = 0; i < p.num_bias; i++) {
    if (p.bias_ids[i] >= 0 && p.bias_ids[i] < vocab_) work_[p.bias_ids[i]] += p.bias_values[i];
  }
  for (int i = 0; p.stop_masked && i < p.num_stop; i++) {
    if (p.stop_ids[i] >= 0 && p.stop_ids[i] < vocab_) work_[p.stop_ids[i]] = kNever;
  }
  if (!has_penalties(p)) return;
  // Counted anew each time from the row's tokens: cheaper than keeping counts right over preemption, and nothing to go stale.
  // 1: seen, plus 2 for each occurrence in the output.
  const int length = p.num_tokens + p.num_drafts;
  const auto token = [&](int i) { return i < p.num_tokens ? p.tokens[i] : p.drafts[i - p.num_tokens]; };
  for (int i = 0; i < length; i++) counts_[token(i)] = (counts_[token(i)] | 1) + (i >= p.prompt_len ? 2 : 0);
  for (int i = 0; i < length; i++) {
    int32_t& count = counts_[token(i)];
    if (count == 0) continue;
    float& logit = work_[token(i)];
    if (p.repetition != 1 && logit != kNever) logit = penalized(logit, p.repetition);
    if (count > 1) {
      logit -= p.frequency * static_cast<float>(count / 2);
      logit -= p.presence;
    }
    count = 0;
  }
}

int32_t Sampler::sample(const float* logits, const SampleParams& p) {
  const int32_t forced = forced_id(p);
  if (forced >= 0) return forced;
  const bool greedy = p.temperature < kGreedyBelow;
  const float* row = logits;
  if (is_restricted(p) || p.num_bias > 0 || p.stop_masked || has_penalties(p)) {
    std::copy(logits, logits + vocab_, work_.begin());
    if (is_restricted(p)) restrict(logits, p);
    apply_bias_and_penalties(p);
    row = work_.data();
  }
  if (!greedy && p.temperature != 1) {
    for (int i = 0; i < vocab_; i++) work_[i] = row[i] / p.temperature;
    row = work_.data();
  }
  float max = 0;
  int32_t best = -1;
  ops_.argmax(row, vocab_, &max, &best);
  if (best < 0 || !std::isfinite(max)) {
    ops_.argmax(logits, vocab_, &max, &best);
    return is_restricted(p) && std::isfinite(max) ? kNothingAllowed : kNotNumbers;
  }
  if (greedy) return best;

  const bool by_min_p = p.min_p > 0;
  const float least = by_min_p ? max + std::log(p.min_p) : kNever;
  const bool by_top_k = p.top_k > 0 && p.top_k < vocab_;
  if (by_top_k) {
    select_top(row, p.top_k);
    while (candidates_.back().value < least) candidates_.pop_back();
  }
  if (p.top_p < 1) keep_nucleus(by_top_k ? nullptr : row, max, least, p.top_p);
  if (by_min_p && !by_top_k && p.top_p >= 1) select_at_least(row, least);
  if (!by_top_k && p.top_p >= 1 && !by_min_p) return race_all(row, best, {kNever, vocab_}, p);
  // Noise for a tile of ids costs a tenth of as many single draws; what is left is always the best so many, so its worst says who is in.
  if (candidates_.size() < static_cast<size_t>(vocab_) / kRaceAllShare) return race_candidates(p);
  return race_all(row, best, *std::max_element(candidates_.begin(), candidates_.end(), better), p);
}

void Sampler::select_top(const float* logits, int k) {
  candidates_.clear();
  for (int id = 0; id < k; id++) candidates_.push_back({logits[id], id});
  std::make_heap(candidates_.begin(), candidates_.end(), better);  // the worst on top
  float worst = candidates_.front().value;
  constexpr int kStride = 16;
  int id = k;
  const auto take = [&](int at) {
    if (!(logits[at] > worst)) return;  // a tie loses: its id is higher
    std::pop_heap(candidates_.begin(), candidates_.end(), better);
    candidates_.back() = {logits[at], at};
    std::push_heap(candidates_.begin(), candidates_.end(), better);
    worst = candidates_.front().value;
  };
  for (; id + kStride <= vocab_; id += kStride) {
    int any = 0;
    for (int j = 0; j < kStride; j++) any |= logits[id + j] > worst;
    if (any == 0) continue;
    for (int j = 0; j < kStride; j++) take(id + j);
  }
  for (; id < vocab_; id++) take(id);
  std::sort_heap(candidates_.begin(), candidates_.end(), better);
}

void Sampler::select_at_least(const float* logits, float least) {
  candidates_.clear();
  for (int id = 0; id < vocab_; id++) {
    if (logits[id] >= least) candidates_.push_back({logits[id], id});
  }
}

// Of candidates first … end-1.
uint64_t Sampler::mass(size_t first, size_t end, float max) {
  for (size_t i = first; i < end; i++) values_[i] = candidates_[i].value;
  return ops_.sum_exp(values_.data() + first, static_cast<int>(end - first), max);
}

// The smallest set, best first, whose mass reaches top_p of the whole (Holtzman et al. 2020): of the candidates, or with `logits` of all
// logits of at least `least`. Most mass lies near the maximum, so that few logits are looked at; where it does not (a high temperature),
// halving by rank finds the end of the set in linear time. Sorting instead took 7 ms for a flat row of 49,152.
void Sampler::keep_nucleus(const float* logits, float max, float least, float top_p) {
  const auto share_of = [&](uint64_t total) {
    return std::max<uint64_t>(1, static_cast<uint64_t>(std::ceil(static_cast<double>(top_p) * static_cast<double>(total))));
  };
  uint64_t target = 0;
  if (logits == nullptr) {
    target = share_of(mass(0, candidates_.size(), max));
  } else if (std::isfinite(least)) {
    select_at_least(logits, least);
    target = share_of(mass(0, candidates_.size(), max));
  } else {
    target = share_of(ops_.sum_exp(logits, vocab_, max));
    for (const float depth : {4.0F, 10.0F, std::numeric_limits<float>::infinity()}) {
      select_at_least(logits, max - depth);
      if (mass(0, candidates_.size(), max) >= target) break;
    }
  }
  // Everything before `kept` is in and better than the rest, and falls short of the target; everything from `end` on is out.
  size_t kept = 0;
  size_t end = candidates_.size();
  uint64_t reached = 0;
  while (end - kept > 1) {
    const size_t middle = kept + (end - kept) / 2;
    const auto at = [&](size_t i) { return candidates_.begin() + static_cast<std::ptrdiff_t>(i); };
    std::nth_element(at(kept), at(middle), at(end), better);
    const uint64_t more = mass(kept, middle, max);
    if (reached + more >= target) {
      end = middle;
    } else {
      reached += more;
      kept = middle;
    }
  }
  candidates_.resize(end);
}

// argmax of logit + Gumbel noise samples from softmax(logits) (Gumbel 1954; Maddison et al. 2014).
int32_t Sampler::race_candidates(const SampleParams& p) const {
  double best = -std::numeric_limits<double>::infinity();
  int32_t winner = -1;
  for (const Candidate& c : candidates_) {
    const uint32_t word = gumbel_word(p.key, p.position, p.choice, c.id);
    if (c.value + gumbel_bound(word) < best) continue;
    const double score = c.value + gumbel_of_word(word);
    if (score > best || (score == best && c.id < winner)) {
      best = score;
      winner = c.id;
    }
  }
  return winner;
}

// Among the logits that are not worse than `last`.
int32_t Sampler::race_all(const float* logits, int32_t best_id, const Candidate& last, const SampleParams& p) const {
  double best = logits[best_id] + gumbel_of_word(gumbel_word(p.key, p.position, p.choice, best_id));
  int32_t winner = best_id;
  uint32_t words[kGumbelTile];
  for (int first = 0; first < vocab_; first += kGumbelTile) {
    const int count = std::min(kGumbelTile, vocab_ - first);
    float tile_max = 0;
    int32_t ignored = 0;
    ops_.argmax(logits + first, count, &tile_max, &ignored);
    if (!(tile_max + kGumbelMax >= best)) continue;
    ops_.gumbel_words(p.key, p.position, p.choice, first / kGumbelTile, words);
    // Few words of few tiles are low enough to be looked at.
    const uint32_t last_word = last_gumbel_word(tile_max, best);
    for (int from = 0; from < count; from += kGumbelStride) {
      if (!any_at_most(words + from, last_word)) continue;
      for (int i = from; i < std::min(count, from + kGumbelStride); i++) {
        if (logits[first + i] + gumbel_bound(words[i]) < best) continue;  // two logarithms saved for nearly all
        const double score = logits[first + i] + gumbel_of_word(words[i]);
        const int32_t id = first + i;
        if (better(last, {logits[id], id})) continue;
        if (score > best || (score == best && id < winner)) {
          best = score;
          winner = id;
        }
      }
    }
  }
  return winner;
}

double Sampler::log_sum_of(const float* logits) {
  float max = 0;
  int32_t best = 0;
  ops_.argmax(logits, vocab_, &max, &best);
  return log_sum_exp(ops_.sum_exp(logits, vocab_, max), ops_.fixed_bits, max);
}

TokenScore Sampler::score_of(const float* logits, int32_t id, double log_sum) const {
  int32_t rank = 1;
  for (int i = 0; i < vocab_; i++) rank += logits[i] > logits[id] ? 1 : 0;
  return {static_cast<float>(logits[id] - log_sum), rank};
}

TokenScore Sampler::score(const float* logits, int32_t id, int k, int32_t* top_ids, float* top_logprobs) {
  const double log_sum = log_sum_of(logits);
  if (k > 0) {
    select_top(logits, std::min(k, vocab_));
    for (int i = 0; i < k; i++) {
      const bool there = i < static_cast<int>(candidates_.size());
      top_ids[i] = there ? candidates_[i].id : -1;
      top_logprobs[i] = there ? static_cast<float>(candidates_[i].value - log_sum) : kNever;
    }
  }
  return score_of(logits, id, log_sum);
}

TokenScore Sampler::score_ids(const float* logits, int32_t id, const int32_t* ids, int count, int32_t* out_ids, float* out_logprobs) {
  const double log_sum = log_sum_of(logits);
  for (int i = 0; i < count; i++) {
    const bool there = ids[i] >= 0 && ids[i] < vocab_;
    out_ids[i] = there ? ids[i] : -1;
    out_logprobs[i] = there ? static_cast<float>(logits[ids[i]] - log_sum) : -std::numeric_limits<float>::infinity();
  }
  return score_of(logits, id, log_sum);
}

}  // namespace lockstep
