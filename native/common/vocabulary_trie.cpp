#include "common/vocabulary_trie.h"

#include <algorithm>
#include <cstring>

namespace lockstep {

VocabularyTrie::VocabularyTrie(const uint8_t* bytes, const int32_t* ends, int count)
    : bytes_(bytes, bytes + (count == 0 ? 0 : ends[count - 1])), ends_(ends, ends + count) {
  tokens_.reserve(count);
  for (int id = 0; id < count; id++) {
    if (length_of(id) > 0) tokens_.push_back(id);
  }
  std::sort(tokens_.begin(), tokens_.end(), [&](int32_t a, int32_t b) {
    const int common = std::min(length_of(a), length_of(b));
    const int order = std::memcmp(bytes_of(a), bytes_of(b), common);
    if (order != 0) return order < 0;
    return length_of(a) != length_of(b) ? length_of(a) < length_of(b) : a < b;
  });
  std::vector<int32_t> path;  // nodes from the root to the newest
  const auto close = [&](size_t depth) {
    for (; path.size() > depth; path.pop_back()) nodes_[path.back()].end = static_cast<int32_t>(nodes_.size());
  };
  for (size_t i = 0; i < tokens_.size(); i++) {
    const uint8_t* token = bytes_of(tokens_[i]);
    const int length = length_of(tokens_[i]);
    int common = 0;
    while (common < std::min<int>(length, static_cast<int>(path.size())) && nodes_[path[common]].byte == token[common]) common++;
    close(common);
    for (int depth = common; depth < length; depth++) {
      path.push_back(static_cast<int32_t>(nodes_.size()));
      // The tokens of the nodes on the way begin, and end, where the first token below them does.
      nodes_.push_back({token[depth], depth, 0, static_cast<int32_t>(i)});
    }
    max_depth_ = std::max(max_depth_, length);
  }
  close(0);
  nodes_.push_back({0, 0, static_cast<int32_t>(nodes_.size()) + 1, static_cast<int32_t>(tokens_.size())});
}

}  // namespace lockstep
