// Which tokens an output that follows a grammar may go on with. A grammar comes compiled (src/grammar/automaton.ts): rules that call each
// other, each deterministic over bytes. Here it is run: a position is the set of all ways in which the output so far can be read, and
// positions are found as they are needed and kept, with what each byte leads to and the tokens that each allows. All a function of the
// output alone, so that every rank, batch and order of steps gives the same masks.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>
#include <vector>

#include "common/vocabulary_trie.h"

namespace lockstep {

// A compiled grammar, checked.
struct GrammarTables {
  int num_states = 0, num_classes = 0, num_rules = 0, root = 0;
  std::vector<int32_t> words;
  const int32_t* class_of = nullptr;                            // [256]
  const int32_t* rule_start = nullptr;                          // [rules]
  const int32_t* next = nullptr;                                // [states, classes] -1: none
  const int32_t* final = nullptr;                               // [states] whether a rule may end here
  const int32_t *call_start = nullptr, *token_start = nullptr;  // [states + 1]
  const int32_t *calls = nullptr, *tokens = nullptr;            // (rule, state to return to); (token id, next state)

  // What can happen in a state without looking at its tables: the only byte that may come, kNoByte or kManyBytes; whether a special token
  // may come; whether nothing is left to do but to end.
  static constexpr int16_t kNoByte = -1, kManyBytes = -2;
  struct Outlook {
    int16_t byte;
    bool by_token, only_ends;
  };
  std::vector<Outlook> outlook;  // [states]
  // [states] Those of one number cannot be told apart by a token.
  std::vector<int32_t> alike;

  // null, or what is wrong.
  const char* bind(std::vector<int32_t> source, const VocabularyTrie& trie);
};

// The tokens that a position allows.
struct TokenMask {
  std::vector<uint32_t> words;  // [ceil(vocab / 32)] bit id & 31 of word id >> 5
  int count = 0;
  // The only one, or -1. Where the grammar leaves one text for the next bytes, that is the longest token of it: so that what is forced is
  // one sequence of tokens, whoever samples it and whether or not it is sampled at all.
  int32_t only = -1;
  bool allows(int32_t id) const { return (words[id >> 5] >> (id & 31) & 1) != 0; }
};

// Positions of one grammar, kept up to a bound. Any thread may call any function.
class GrammarRun {
 public:
  using Position = int32_t;
  static constexpr Position kDead = -1;    // no output of the grammar begins so
  static constexpr Position kFailed = -2;  // too many ways to read the output, or too many positions

  GrammarRun(std::shared_ptr<const GrammarTables> tables, std::shared_ptr<const VocabularyTrie> trie);
  Position start();
  Position advance(Position from, int32_t token);
  bool is_complete(Position at);
  // Complete, and nothing may follow.
  bool is_exhausted(Position at);
  bool has_mask(Position at);
  // null when the masks cannot be made within the bounds. What is asked for first is made by whoever asks.
  std::shared_ptr<const TokenMask> mask(Position at);
  // The token that must come next; -1: there is none such.
  int32_t forced(Position at);
  // So full that outputs which begin now should have another run.
  bool is_full();

 private:
  // One way to read the output: a state of a rule, and where that rule returns to (a Frame, 0: nowhere).
  struct Way {
    int32_t state, frame;
    bool operator==(const Way& other) const { return state == other.state && frame == other.frame; }
    bool operator<(const Way& other) const { return state != other.state ? state < other.state : frame < other.frame; }
  };
  struct Frame {
    int32_t state, below;
  };
  // The kinds of bytes, and of characters, that all lead from a position to the same next one: to itself within a string without bounds,
  // to one character more within one with bounds.
  struct Stride {
    uint32_t kinds;
    Position to;
  };
  static constexpr uint32_t kUnknownKinds = ~uint32_t{0};
  struct Set {
    std::vector<Way> ways;  // sorted; those that a byte or a token can take further
    bool complete = false;
    bool single_byte = false;  // exactly one byte can come next, and no special token
    bool goes_on = false;
    Stride stride{kUnknownKinds, kDead};
    Position twin = kDead;  // a position with the same mask, or this one; kDead: not looked for yet
    std::shared_ptr<const TokenMask> mask;
  };

  int32_t frame_of(int32_t state, int32_t below);
  Position settle(std::vector<Way>* ways);
  Position by_class(Position from, int cls);
  Position by_token(Position from, int32_t token);
  std::shared_ptr<const TokenMask> make_mask(Position at);
  std::shared_ptr<const TokenMask> walk(Position at);
  Position twin_of(Position at);
  Stride stride_of(Position at);
  bool all_characters_lead_to(Position target, Position from, int utf8);
  bool strides_over(Position from, uint32_t kinds, int characters);

  const std::shared_ptr<const GrammarTables> tables_;
  const std::shared_ptr<const VocabularyTrie> trie_;
  std::mutex mutex_;
  std::vector<Frame> frames_;  // [0] is nowhere
  std::unordered_map<uint64_t, int32_t> frame_ids_;
  std::vector<Set> sets_;
  std::vector<int32_t> transitions_;  // [sets, classes] kUnknown: not asked for yet
  std::unordered_multimap<uint64_t, Position> set_ids_, twin_ids_;
  size_t bytes_ = 0, mask_bytes_ = 0;
  // Scratch.
  std::vector<Way> open_, found_;
  std::vector<Position> path_;
  Position start_ = kFailed;
};

// A grammar that requests use. Runs are shared by the requests that began while it had room.
class Grammar {
 public:
  Grammar(std::shared_ptr<const GrammarTables> tables, std::shared_ptr<const VocabularyTrie> trie);
  std::shared_ptr<GrammarRun> run();

 private:
  const std::shared_ptr<const GrammarTables> tables_;
  const std::shared_ptr<const VocabularyTrie> trie_;
  std::mutex mutex_;
  std::shared_ptr<GrammarRun> run_;
};

// The grammars of a group, by the number that a row carries. 0 is none.
class GrammarStore {
 public:
  void set_vocabulary(std::shared_ptr<const VocabularyTrie> trie);
  // Null before it is set.
  std::shared_ptr<const VocabularyTrie> vocabulary() const;
  // Empty, or what is wrong.
  std::string add(int id, std::vector<int32_t> words);
  void remove(int id);
  std::shared_ptr<Grammar> find(int id) const;

 private:
  mutable std::mutex mutex_;
  std::shared_ptr<const VocabularyTrie> trie_;
  std::unordered_map<int, std::shared_ptr<Grammar>> grammars_;
};

}  // namespace lockstep
