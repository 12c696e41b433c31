#include "common/vocabulary_trie.h"

#include <algorithm>
#include <cstring>

namespace lockstep {

// What grammars tell apart from other text has a kind of its own.
uint32_t VocabularyTrie::kind_of_ascii(uint8_t byte) {
  constexpr char kAlone[] = "\"\\<>{}[]()'`|/:,";
  const char* found = byte == 0 ? nullptr : std::strchr(kAlone, byte);
  if (found != nullptr) return uint32_t{1} << (found - kAlone);
  int kind = 20;  // other marks
  if (byte < 0x20 || byte == 0x7f) kind = byte == '\n' ? 21 : 22;
  if (byte == ' ') kind = 23;
  if (byte >= '0' && byte <= '9') kind = 24;
  if (byte >= 'A' && byte <= 'Z') kind = 25;
  if (byte >= 'a' && byte <= 'z') kind = 26;
  return uint32_t{1} << kind;
}

// Unicode 15, table 3-7. 1 to 3: so many continuation bytes are wanted; 4 to 7: the next one has bounds of its own.
int VocabularyTrie::next_utf8(int state, uint8_t byte) {
  const auto within = [byte](int low, int high) { return byte >= low && byte <= high; };
  switch (state) {
    case 0:
      if (byte < 0x80) return 0;
      if (within(0xc2, 0xdf)) return 1;
      if (byte == 0xe0) return 4;
      if (byte == 0xed) return 5;
      if (within(0xe1, 0xef)) return 2;
      if (byte == 0xf0) return 6;
      if (byte == 0xf4) return 7;
      return within(0xf1, 0xf3) ? 3 : -1;
    case 4:
      return within(0xa0, 0xbf) ? 1 : -1;
    case 5:
      return within(0x80, 0x9f) ? 1 : -1;
    case 6:
      return within(0x90, 0xbf) ? 2 : -1;
    case 7:
      return within(0x80, 0x8f) ? 2 : -1;
    default:
      return within(0x80, 0xbf) ? state - 1 : -1;
  }
}

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
  std::vector<int> utf8;      // behind each of them
  const auto close = [&](size_t depth) {
    for (; path.size() > depth; path.pop_back(), utf8.pop_back()) {
      nodes_[path.back()].end = static_cast<int32_t>(nodes_.size());
      if (path.size() == 1) continue;
      const Node& below = nodes_[path.back()];
      Node& above = nodes_[path[path.size() - 2]];
      above.kinds |= below.kinds;
      above.characters = std::max(above.characters, below.characters + (above.begins_character ? 1 : 0));
    }
  };
  for (size_t i = 0; i < tokens_.size(); i++) {
    const uint8_t* token = bytes_of(tokens_[i]);
    const int length = length_of(tokens_[i]);
    int common = 0;
    while (common < std::min<int>(length, static_cast<int>(path.size())) && nodes_[path[common]].byte == token[common]) common++;
    close(common);
    for (int depth = common; depth < length; depth++) {
      const int before = utf8.empty() ? 0 : utf8.back();
      const int after = before < 0 ? -1 : next_utf8(before, token[depth]);
      const uint32_t kind = after < 0 ? kBroken : before == 0 && after == 0 ? kind_of_ascii(token[depth]) : kCharacters;
      path.push_back(static_cast<int32_t>(nodes_.size()));
      utf8.push_back(after);
      // The tokens of the nodes on the way begin, and end, where the first token below them does.
      nodes_.push_back({token[depth], before == 0, kind, before == 0 ? 1 : 0, depth, 0, static_cast<int32_t>(i)});
    }
    max_depth_ = std::max(max_depth_, length);
  }
  close(0);
  nodes_.push_back({0, true, 0, 0, 0, static_cast<int32_t>(nodes_.size()) + 1, static_cast<int32_t>(tokens_.size())});
}

}  // namespace lockstep
