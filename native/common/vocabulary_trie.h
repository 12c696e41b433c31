// The bytes of a vocabulary's tokens as a tree, in the order of a walk through it: what a grammar's masks are made over.
#pragma once

#include <cstdint>
#include <vector>

namespace lockstep {

class VocabularyTrie {
 public:
  // What bytes a part of the tree has: most grammars loop over whole kinds of them, within a string or between markers.
  static constexpr uint32_t kCharacters = uint32_t{1} << 30;  // of several bytes, well-formed or their beginnings
  static constexpr uint32_t kBroken = uint32_t{1} << 31;      // bytes that are no UTF-8 where they stand
  static uint32_t kind_of_ascii(uint8_t byte);
  // How far a character has come, from 0 (between characters) on; -1: `byte` is no UTF-8 behind that.
  static int next_utf8(int state, uint8_t byte);

  struct Node {
    uint8_t byte;
    bool begins_character;  // between characters stands what comes before it
    uint32_t kinds;         // of this byte and all below
    int32_t characters;     // most that begin on the way from here on down
    int32_t depth;          // of the first byte: 0
    int32_t end;            // behind the last node below this one
    int32_t first_token;    // of tokens(); those of node i end where those of node i+1 begin
  };

  // Token id is bytes[ends[id-1] … ends[id]); one without bytes (special tokens, gaps) is not in the tree.
  VocabularyTrie(const uint8_t* bytes, const int32_t* ends, int count);

  int vocab() const { return static_cast<int>(ends_.size()); }
  // In walking order; one more at the end, so that every node has a next one.
  const std::vector<Node>& nodes() const { return nodes_; }
  const std::vector<int32_t>& tokens() const { return tokens_; }
  int max_depth() const { return max_depth_; }
  const uint8_t* bytes_of(int id) const { return bytes_.data() + start_of(id); }
  int length_of(int id) const { return ends_[id] - start_of(id); }

 private:
  int32_t start_of(int id) const { return id == 0 ? 0 : ends_[id - 1]; }

  std::vector<uint8_t> bytes_;
  std::vector<int32_t> ends_;
  std::vector<Node> nodes_;
  std::vector<int32_t> tokens_;
  int max_depth_ = 0;
};

}  // namespace lockstep
