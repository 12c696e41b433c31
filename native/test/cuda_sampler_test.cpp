// Sampling on the device against the CPU's sampler: the same ids, log-probabilities and ranks, bit for bit, of the same logits, for random
// rows with everything that a row may ask for, and a vocabulary cut over ranks.
#include <limits>
#include <memory>

#include "cpu/vocabulary_ops.h"
#include "cuda/sampling.h"
#include "device_bench.h"
#include "small_model.h"

namespace lockstep::test {
namespace {

constexpr int kRowsMax = 32, kSeqLen = 200, kTopMax = 24;
constexpr float kInfinity = std::numeric_limits<float>::infinity();

// What a random row's SampleParams points to.
struct Case {
  OutputRequest request{};
  std::vector<float> logits;
  std::vector<int32_t> tokens, bias_ids, stop_ids, allowed_ids, bad_words, asked_ids;
  std::vector<float> bias_values;
};

std::vector<float> random_logits(Random& random, int vocab) {
  constexpr float kScales[] = {0.01F, 1, 5, 40};
  std::vector<float> logits = random.values(vocab, kScales[random.below(4)]);
  const int kind = random.below(6);
  for (float& logit : logits) {
    if (kind == 1) logit = std::round(logit * 2) / 2;  // ties, and both zeros
    if (kind == 2) logit = 1.5F;
    if (kind == 3 && random.below(8) == 0) logit *= 3;
    if (kind == 4 && random.below(50) == 0) logit = -kInfinity;
    if (kind == 5 && vocab < 100) logit = NAN;
  }
  if (kind == 3) logits[random.below(vocab)] += 30;
  return logits;
}

int32_t any_id(Random& random, int vocab) { return random.below(10) == 0 ? vocab + random.below(3) : random.below(vocab); }

void fill(Random& random, int vocab, Case* c) {
  SampleParams& p = c->request.params;
  const auto often = [&random](int of) { return random.below(of) == 0; };
  const auto pick = [&random](std::initializer_list<float> from) { return from.begin()[random.below(static_cast<int>(from.size()))]; };
  c->logits = random_logits(random, vocab);
  p.temperature = pick({0, 1, 1, 0.7F, 1.8F, 1e-6F, 1e-4F, 30});
  p.top_k = often(2) ? 0 : 1 + random.below(often(3) ? vocab + 5 : 50);
  p.top_p = pick({1, 1, 0.95F, 0.5F, 0.999F, 1e-6F});
  p.min_p = pick({0, 0, 0, 0.05F, 0.5F, 1e-5F, 1});
  p.key = {static_cast<uint32_t>(random.next()), static_cast<uint32_t>(random.next())};
  p.choice = static_cast<uint32_t>(random.below(3));
  p.position = static_cast<uint32_t>(random.below(100000));
  p.repetition = 1;
  if (often(3)) {
    p.presence = pick({0, 0.5F, -1.3F, 2});
    p.frequency = pick({0, 0.3F, -0.7F, 2});
    p.repetition = pick({1, 1.1F, 0.8F, 1e-40F, 1e30F, 0, kInfinity});
  }
  const int length = random.below(kSeqLen);
  for (int i = 0; i < length; i++) c->tokens.push_back(random.below(often(2) ? vocab : std::min(vocab, 9)));
  p.num_drafts = std::min(length, random.below(3));
  p.num_tokens = length - p.num_drafts;
  p.prompt_len = p.num_tokens == 0 ? 0 : random.below(p.num_tokens);
  p.tokens = c->tokens.data();
  p.drafts = c->tokens.data() + p.num_tokens;
  if (often(4)) {
    for (int i = random.below(often(3) ? 600 : 6); i >= 0; i--) {
      c->bias_ids.push_back(any_id(random, vocab));
      c->bias_values.push_back(pick({-100, 100, 0.5F, -3.25F}));
    }
  }
  if (often(3)) {
    for (int i = random.below(4); i >= 0; i--) c->stop_ids.push_back(any_id(random, vocab));
    p.stop_masked = often(2);
    p.may_stop = often(2);
  }
  if (often(5)) {
    for (int i = random.below(often(2) ? vocab : 3); i >= 0; i--) c->allowed_ids.push_back(any_id(random, vocab));
  }
  if (often(5)) {
    for (int i = random.below(5); i >= 0; i--) {
      const int size = 1 + random.below(2);
      c->bad_words.push_back(size);
      for (int j = 0; j < size; j++) c->bad_words.push_back(random.below(std::min(vocab, 9)));
    }
  }
  if (often(5)) {
    const auto mask = std::make_shared<TokenMask>();
    mask->words.assign((vocab + 31) / 32 - (often(6) ? 1 : 0), 0);
    for (uint32_t& word : mask->words) word = often(3) ? 0 : static_cast<uint32_t>(random.next());
    mask->count = often(8) ? 1 : 2;
    mask->only = mask->count == 1 ? random.below(vocab) : -1;
    c->request.mask = mask;
  }
  p.mask = c->request.mask.get();
  p.bias_ids = c->bias_ids.data(), p.bias_values = c->bias_values.data(), p.num_bias = static_cast<int>(c->bias_ids.size());
  p.stop_ids = c->stop_ids.data(), p.num_stop = static_cast<int>(c->stop_ids.size());
  p.allowed_ids = c->allowed_ids.data(), p.num_allowed = static_cast<int>(c->allowed_ids.size());
  p.bad_words = c->bad_words.data(), p.bad_words_len = static_cast<int>(c->bad_words.size());
  c->request.samples = !often(8);
  c->request.scored_id = random.below(vocab);
  c->request.num_top = often(2) ? -1 : random.below(kTopMax + 1);
  if (c->request.num_top > 0 && often(4)) {
    for (int i = 0; i < c->request.num_top; i++) c->asked_ids.push_back(any_id(random, vocab) - (often(9) ? vocab : 0));
  }
  c->request.ids = c->asked_ids.data();
  c->request.num_ids = static_cast<int>(c->asked_ids.size());
}

// A sampler for rows of so many logits, cut over ranks.
class SamplerBench {
 public:
  SamplerBench(Bench& bench, int vocab, int world)
      : bench_(bench),
        check_(bench.check),
        vocab_(vocab),
        world_(world),
        ld_(((vocab + kVocabUnit - 1) / kVocabUnit + world - 1) / world * kVocabUnit),
        buffer_(1),
        sampler_(sampler_dims(), vocab, cpu::kFixedExpBits),
        cpu_(ops(), vocab) {
    buffer_.views.dims = sampler_dims();
    spec_.vocab = vocab;
    const size_t logits_bytes = sizeof(float) * world * kHeadRows * ld_;
    check_.expect(sampler_.init(bench.device, bench.stream, kBounds).ok() &&
                      logits_.reserve_device(bench.device, logits_bytes, "logits").ok() &&
                      logits_on_host_.reserve_pinned(bench.device, logits_bytes, "logits").ok() &&
                      tokens_.reserve_pinned(bench.device, sizeof(int32_t) * kRowsMax * kTokensLen, "tokens").ok() &&
                      last_.reserve_pinned(bench.device, sizeof(int32_t) * kRowsMax, "last ids").ok(),
                  "no memory");
  }

  void run(Random& random, int count) {
    std::vector<Case> cases(count);
    StepView step;
    step.buffers = &buffer_.views;
    check_.expect(sampler_.begin().ok(), "a call did not begin");
    for (int i = 0; i < count; i++) {
      fill(random, vocab_, &cases[i]);
      put_row(i, cases[i]);
      step.outputs.push_back({i, i, i, static_cast<int>(cases[i].tokens.size()) - 1, cases[i].request.samples, 0, i, nullptr, 0});
      sampler_.add(step.outputs[i], cases[i].request);
    }
    copy(logits_.data(), logits_on_host_);
    copy(sampler_.history(), tokens_);
    bench_.kernels_run.insert(reinterpret_cast<const void*>(bench_.runtime->kernels->sample));
    check_.expect(sampler_.send().ok() && sampler_.launch({logits_.as<float>(), world_, ld_}) == cuda::kSuccess &&
                      sampler_.fetch(step, 0).ok() &&
                      bench_.runtime->copy(last_.data(), sampler_.last(), last_.bytes(), bench_.stream.get()) == cuda::kSuccess &&
                      bench_.stream.wait(kBounds).ok(),
                  "a call failed");
    bool are_numbers = true;
    for (int i = 0; i < count; i++) are_numbers = expect_id(i, cases[i]) && are_numbers;
    const OutputSampler outputs(&buffer_.views, &spec_, nullptr, ops());
    check_.expect(sampler_.tell(step, outputs).fault() == (are_numbers ? Fault::kNone : Fault::kNumerics), "what is told of the numbers");
    for (int i = 0; i < count && are_numbers; i++) expect_scores(i, cases[i], step.outputs[i]);
  }

 private:
  static constexpr int kTokensLen = kSeqLen + 1;
  static StepDims sampler_dims() { return {kRowsMax, 64, kTokensLen, 16, 64, kMaxDrafts, kTopMax, 1, 0, 32}; }
  static VocabularyOps ops() { return cpu::vocabulary_ops(*cpu::kernels_for(nullptr)); }
  void copy(void* to, const cuda::Memory& from) {
    check_.expect(bench_.runtime->copy(to, from.data(), from.bytes(), bench_.stream.get()) == cuda::kSuccess, "a copy failed");
  }
  void put_row(int row, const Case& c) {
    const int units = (vocab_ + kVocabUnit - 1) / kVocabUnit;
    int id = 0;
    for (int r = 0; r < world_; r++) {
      const int held = (units / world_ + (r < units % world_ ? 1 : 0)) * kVocabUnit;
      float* part = logits_on_host_.as<float>() + (static_cast<size_t>(r) * kHeadRows + row) * ld_;
      for (int i = 0; i < held && id < vocab_; i++) part[i] = c.logits[id++];
    }
    std::copy(c.tokens.begin(), c.tokens.end(), tokens_.as<int32_t>() + static_cast<size_t>(row) * kTokensLen);
  }
  int32_t id_of(const OutputRequest& request, const std::vector<float>& logits) {
    return request.samples ? cpu_.sample(logits.data(), request.params) : request.scored_id;
  }
  // Whether the logits are numbers.
  bool expect_id(int i, const Case& c) {
    const int32_t want = id_of(c.request, c.logits);
    const int32_t got = sampler_.id_of(StepView{}, i);
    const SampleParams& p = c.request.params;
    check_.expect(got == want, "vocabulary %d of %d ranks, row %d: id %d, want %d (temperature %g, top_k %d, top_p %g, min_p %g, mask %d)",
                  vocab_, world_, i, got, want, static_cast<double>(p.temperature), p.top_k, static_cast<double>(p.top_p),
                  static_cast<double>(p.min_p), p.mask != nullptr);
    if (c.request.samples) check_.expect(last_.as<int32_t>()[i] == std::max(want, 0), "the last id is not kept");
    return want != kNotNumbers;
  }
  void expect_scores(int i, const Case& c, const StepOutput& output) {
    const OutputRequest& request = c.request;
    if (request.num_top < 0) return;
    int32_t ids[kTopMax];
    float logprobs[kTopMax];
    const int32_t scored = std::max(id_of(request, c.logits), 0);
    const TokenScore score = request.num_ids > 0 ? cpu_.score_ids(c.logits.data(), scored, request.ids, request.num_ids, ids, logprobs)
                                                 : cpu_.score(c.logits.data(), scored, request.num_top, ids, logprobs);
    const ResultColumns& result = buffer_.views.result[0];
    check_.expect(result.outputRanks[output.at] == score.rank && same_bits(result.outputLogprobs + output.at, &score.logprob, 1),
                  "row %d: rank %d, want %d; log-probability %.9g, want %.9g", i, result.outputRanks[output.at], score.rank,
                  static_cast<double>(result.outputLogprobs[output.at]), static_cast<double>(score.logprob));
    for (int j = 0; j < request.num_top; j++) {
      const int32_t* told = result.topIds + output.at * kTopMax;
      if (std::isinf(logprobs[j]) && request.num_ids == 0) break;  // of what is impossible the CPU tells ids too
      check_.expect(told[j] == ids[j] && same_bits(result.topLogprobs + output.at * kTopMax + j, &logprobs[j], 1),
                    "row %d: the best of number %d is %d, want %d", i, j, told[j], ids[j]);
    }
  }

  static inline const cuda::WaitBounds kBounds{nullptr, std::chrono::milliseconds(60000)};
  Bench& bench_;
  Check& check_;
  const int vocab_, world_, ld_;
  cuda::Memory logits_, logits_on_host_, tokens_, last_;
  Buffer buffer_;
  ModelSpec spec_;
  cuda::DeviceSampler sampler_;
  Sampler cpu_;
};

void as_on_the_cpu(Bench& bench) {
  const int kCases[][3] = {{1, 1, 1},    {7, 3, 2},    {100, 8, 4}, {1000, 1, 3},
                           {1025, 5, 3}, {2100, 2, 5}, {9000, 1, 1}};  // vocabulary, ranks, calls
  for (const auto& [vocab, world, calls] : kCases) {
    SamplerBench sampler(bench, vocab, world);
    for (int i = 0; i < calls; i++) sampler.run(bench.random, 1 + bench.random.below(kRowsMax));
  }
}

// Scaled and capped logits have the bits that the CPU gives them.
void finishing(Bench& b) {
  constexpr int kRows = 2, kCount = 300, kLd = 304;
  const cpu::Kernels& k = *cpu::kernels_for(nullptr);
  for (const float scale : {1.0F, 0.25F}) {
    for (const float cap : {0.0F, 30.0F}) {
      float* logits = b.rows(kRows, kCount, kLd, 80);
      std::vector<float> want(logits, logits + kRows * kLd);
      for (float& logit : want) logit *= scale;
      for (int i = 0; cap > 0 && i < kRows; i++) k.softcap(want.data() + i * kLd, kCount, cap);
      b.run(b.runtime->kernels->finish_logits, {logits, kRows, kCount, kLd, scale, cap});
      b.check.expect(same_bits(logits, want.data(), want.size()), "logits scaled by %g and capped at %g", wide(scale), wide(cap));
    }
  }
}

void noting(Bench& b) {
  constexpr int kLen = 8;
  const std::vector<int32_t> ids = {5, -2, 7, 9}, last = {30, 31}, row_of = {0, 1, -1, 1}, position = {3, 0, 1, 7};
  const std::vector<int32_t> want = {0, 0, 0, 5, 0, 0, 0, 0, 31, 0, 0, 0, 0, 0, 0, 9};
  int32_t* history = b.values(std::vector<int32_t>(want.size(), 0));
  b.run(b.runtime->kernels->note_tokens, {b.values(ids), b.values(last), b.values(row_of), b.values(position), 4, history, kLen});
  b.check.expect(std::equal(want.begin(), want.end(), history), "tokens are noted elsewhere");
}

}  // namespace

void check_sampling(Bench& b) {
  finishing(b);
  noting(b);
  as_on_the_cpu(b);
}

}  // namespace lockstep::test
