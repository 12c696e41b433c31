// A bound on reasoning: after so many tokens of it the next ones are its end, whatever the model would have said.
#pragma once

#include <cstdint>
#include <memory>

#include "common/vocabulary_trie.h"

namespace lockstep {

// What stands before or behind reasoning. Without a text it is the one token `id`; a text may be cut into tokens in any way.
struct Marker {
  int32_t id = -1;
  const int32_t* text = nullptr;  // [text_len] bytes
  int text_len = 0;

  bool is_there() const { return id >= 0 || text_len > 0; }
};

struct ThinkingBudget {
  int tokens = -1;                   // most tokens of reasoning; -1: no bound
  Marker begin;                      // not there: the output reasons from its start
  Marker end;                        // what the model writes of itself
  const int32_t* end_ids = nullptr;  // [num_end_ids] what is forced, `end` and what stands around it
  int num_end_ids = 0;
  std::shared_ptr<const VocabularyTrie> texts;  // of the tokens, where a marker is text
};

// Looks for a marker, token by token.
class MarkerSearch {
 public:
  MarkerSearch(const Marker& marker, const VocabularyTrie* texts) : marker_(marker), texts_(texts) {}
  // Whether the marker ends with or in this token.
  bool push(int32_t id);
  // The same for a marker that must be the first of the text, but for white space: 1 it is, 0 perhaps, -1 it is not.
  int push_first(int32_t id);

 private:
  int length_of(int32_t id) const { return texts_ != nullptr && id >= 0 && id < texts_->vocab() ? texts_->length_of(id) : 0; }

  const Marker& marker_;
  const VocabularyTrie* texts_;
  int matched_ = 0;  // bytes of the marker
};

// `token(i)` is the output's token i of `length`. The id that the budget forces behind them; -1: none.
template <typename Token>
int32_t forced_end_of_thinking(const ThinkingBudget& budget, int length, const Token& token) {
  if (budget.tokens < 0 || length < budget.tokens) return -1;
  int start = 0;
  if (budget.begin.is_there()) {
    MarkerSearch search(budget.begin, budget.texts.get());
    int found = 0;
    while (found == 0 && start < length) found = search.push_first(token(start++));
    if (found != 1) return -1;
  }
  const int over = length - start - budget.tokens;  // tokens of the end that were forced already
  if (over < 0) return -1;
  if (over >= budget.num_end_ids) return -1;
  MarkerSearch search(budget.end, budget.texts.get());
  for (int i = start; i < start + budget.tokens; i++) {
    if (search.push(token(i))) return -1;  // the model has ended it by itself
  }
  return budget.end_ids[over];
}

}  // namespace lockstep
