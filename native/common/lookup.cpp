#include "common/lookup.h"

#include <algorithm>

namespace lockstep {
namespace {

// Places looked at for the longest match; more of them found no more in repetitive prompts, and each may cost a cache miss.
constexpr int kCandidates = 16;

int32_t* zeroed(size_t count) { return static_cast<int32_t*>(std::calloc(count, sizeof(int32_t))); }

}  // namespace

bool PromptLookup::init(int rows, int max_len) {
  max_len_ = max_len;
  bits_ = 4;
  while ((1 << bits_) < max_len) bits_++;
  indexed_.assign(rows, 0);
  newest_.reset(zeroed(static_cast<size_t>(rows) << bits_));
  earlier_.reset(zeroed(static_cast<size_t>(rows) * max_len));
  return newest_ != nullptr && earlier_ != nullptr;
}

// FNV-1a over words, and Fibonacci hashing for the bucket (Knuth, vol. 3, 6.4).
uint32_t PromptLookup::bucket(const int32_t* gram, int n) const {
  uint64_t hash = 0xcbf29ce484222325U;
  for (int i = 0; i < n; i++) hash = (hash ^ static_cast<uint32_t>(gram[i])) * 0x100000001b3U;
  return static_cast<uint32_t>((hash * 0x9e3779b97f4a7c15U) >> (64 - bits_));
}

// All places but the newest: nothing follows that one yet.
void PromptLookup::index(const LookupQuery& query) {
  int32_t* newest = newest_.get() + (static_cast<size_t>(query.row) << bits_);
  int32_t* earlier = earlier_.get() + static_cast<size_t>(query.row) * max_len_;
  int32_t& place = indexed_[query.row];
  for (place = std::max(place, query.min_match); place < query.length; place++) {
    int32_t& head = newest[bucket(query.tokens + place - query.min_match, query.min_match)];
    earlier[place] = head;
    head = place;
  }
}

// Of the newest places the one with the longest match, and of equal ones the newest; 0: none.
int PromptLookup::longest_match(const LookupQuery& query) const {
  const int32_t* tokens = query.tokens;
  const int32_t* earlier = earlier_.get() + static_cast<size_t>(query.row) * max_len_;
  int place = newest_[(static_cast<size_t>(query.row) << bits_) + bucket(tokens + query.length - query.min_match, query.min_match)];
  int before = query.length;
  int best = 0;
  int best_match = query.min_match - 1;
  for (int i = 0; i < kCandidates && place > 0 && place < before; i++) {
    int match = 0;
    while (match < query.max_match && match < place && tokens[place - 1 - match] == tokens[query.length - 1 - match]) match++;
    if (match > best_match) {
      best = place;
      best_match = match;
      if (match == query.max_match) break;
    }
    before = place;
    place = earlier[place];
  }
  return best;
}

int PromptLookup::propose(const LookupQuery& query, int32_t* proposals) {
  if (query.length <= query.min_match) return 0;
  index(query);
  const int place = longest_match(query);
  if (place == 0) return 0;
  // Past its own end the sequence goes on as proposed: a short period fills all proposals.
  for (int i = 0; i < query.count; i++) {
    const int from = place + i;
    proposals[i] = from < query.length ? query.tokens[from] : proposals[from - query.length];
  }
  return query.count;
}

}  // namespace lockstep
