// Prompt lookup against a plain search of the whole sequence.
#include "common/lookup.h"

#include "check.h"

namespace lockstep::test {
namespace {

constexpr int kRows = 3, kMaxLen = 300, kMin = 2, kMax = 4, kCount = 6;

// The newest of the longest matches: what followed it, and past the end what is proposed itself.
std::vector<int32_t> plain(const std::vector<int32_t>& tokens, int length) {
  int best = 0;
  int best_match = kMin - 1;
  for (int place = length - 1; place >= 1; place--) {
    int match = 0;
    while (match < kMax && match < place && tokens[place - 1 - match] == tokens[length - 1 - match]) match++;
    if (match > best_match) best = place, best_match = match;
  }
  std::vector<int32_t> all(tokens.begin(), tokens.begin() + length);
  for (int i = 0; best > 0 && i < kCount; i++) all.push_back(all[best + i]);
  return {all.begin() + length, all.end()};
}

}  // namespace

void test_lookup(Check& check) {
  PromptLookup lookup;
  check.expect(lookup.init(kRows, kMaxLen), "no memory");
  Random random(11);
  int proposed = 0;
  int exact = 0;
  // Rows are used again and again, so that what a tenant left is in the way of the next.
  for (int tenancy = 0; tenancy < 200; tenancy++) {
    const int row = random.below(kRows);
    const int vocab = 2 + random.below(60);
    std::vector<int32_t> tokens(kMaxLen);
    for (int i = 0; i < kMaxLen; i++) {
      const bool copies = i > 20 && random.below(4) != 0;
      tokens[i] = copies ? tokens[i - 17] : random.below(vocab);
    }
    lookup.reset(row);
    for (int length = 1 + random.below(40); length <= kMaxLen; length += 1 + random.below(5)) {
      int32_t got[kCount];
      const int count = lookup.propose({row, tokens.data(), length, kMin, kMax, kCount}, got);
      const std::vector<int32_t> want = plain(tokens, length);
      // Only so many places are looked at: of few words there may be a longer match further back.
      const bool same = count == static_cast<int>(want.size()) && std::equal(want.begin(), want.end(), got);
      proposed += count > 0 ? 1 : 0;
      exact += same && count > 0 ? 1 : 0;
      check.expect(count == 0 ? want.empty() : !want.empty(), "row %d, length %d: %d proposals", row, length, count);
      if (vocab > 30) check.expect(same, "row %d, length %d: other proposals than the plain search's", row, length);
    }
  }
  check.expect(proposed > 5000 && exact > proposed / 2, "%d proposals, %d of them the plain search's", proposed, exact);
}

}  // namespace lockstep::test
