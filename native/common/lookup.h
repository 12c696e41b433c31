// Drafts by prompt lookup (Saxena 2023; vLLM's method "ngram"): what followed the last place where the newest tokens of a sequence stood
// before. Owns an index of each row's n-grams; the tokens are the row's own. Proposals are a function of the tokens alone, so all ranks
// come to the same ones.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <memory>
#include <vector>

namespace lockstep {

struct LookupQuery {
  int row;
  const int32_t* tokens;     // [length] of the row
  int length;                // never less than in the query before, unless reset() came between
  int min_match, max_match;  // tokens that must, and that at most need to, agree; min_match is the same in all queries of a row
  int count;                 // most proposals
};

class PromptLookup {
 public:
  // For rows of at most max_len tokens. Memory is touched as rows use it. False when the system refuses.
  bool init(int rows, int max_len);
  // The row begins anew.
  void reset(int row) { indexed_[row] = 0; }
  // Writes the tokens that should follow, as many as it knows of. Amortised O(1) for each new token and O(max_match) for the search.
  int propose(const LookupQuery& query, int32_t* proposals);

 private:
  struct Free {
    void operator()(int32_t* p) const { std::free(p); }
  };
  void index(const LookupQuery& query);
  int longest_match(const LookupQuery& query) const;
  uint32_t bucket(const int32_t* gram, int n) const;

  int max_len_ = 0;
  int bits_ = 0;
  // A place is the position behind an n-gram, so that 0 is none. What a row's last tenant left is not cleared: places are compared with the
  // tokens before they are believed.
  std::unique_ptr<int32_t[], Free> newest_;   // [rows, 2^bits] newest place of an n-gram
  std::unique_ptr<int32_t[], Free> earlier_;  // [rows, max_len] of a place: the one before it with this bucket
  std::vector<int32_t> indexed_;              // [rows] places below this are in the index
};

}  // namespace lockstep
