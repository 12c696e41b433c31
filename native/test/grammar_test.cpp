// Grammars by hand: what may come next, what is forced, and masks that are made by several threads at once.
#include "common/grammar.h"

#include <thread>

#include "check.h"
#include "common/mask_maker.h"

namespace lockstep::test {
namespace {

struct Edge {
  int from;
  char byte;
  int to;
};
struct Call {
  int from, rule, to;
};

// One rule whose state 0 is the start; bytes are classes by themselves.
std::vector<int32_t> one_rule(int states, const std::vector<Edge>& edges, const std::vector<Call>& calls, const std::vector<int>& finals) {
  std::vector<int32_t> words = {0x4c6b4701, states, 256, 1, 0};
  for (int byte = 0; byte < 256; byte++) words.push_back(byte);
  words.push_back(0);
  const size_t table = words.size();
  words.resize(table + static_cast<size_t>(states) * 256, -1);
  for (const Edge& edge : edges) words[table + static_cast<size_t>(edge.from) * 256 + static_cast<uint8_t>(edge.byte)] = edge.to;
  for (int state = 0; state < states; state++) words.push_back(std::count(finals.begin(), finals.end(), state) > 0 ? 1 : 0);
  std::vector<int32_t> lists;
  for (int state = 0; state <= states; state++) {
    words.push_back(static_cast<int32_t>(lists.size() / 2));
    for (const Call& call : calls) {
      if (call.from == state) lists.insert(lists.end(), {call.rule, call.to});
    }
  }
  words.resize(words.size() + states + 1, 0);  // no special tokens
  words.insert(words.end(), lists.begin(), lists.end());
  return words;
}

std::shared_ptr<const VocabularyTrie> trie_of(const std::vector<std::string>& tokens) {
  std::string bytes;
  std::vector<int32_t> ends;
  for (const std::string& token : tokens) {
    bytes += token;
    ends.push_back(static_cast<int32_t>(bytes.size()));
  }
  return std::make_shared<VocabularyTrie>(reinterpret_cast<const uint8_t*>(bytes.data()), ends.data(), static_cast<int>(ends.size()));
}

std::shared_ptr<GrammarRun> run_of(std::vector<int32_t> words, const std::shared_ptr<const VocabularyTrie>& trie, Check& check) {
  auto tables = std::make_shared<GrammarTables>();
  const char* problem = tables->bind(std::move(words), *trie);
  check.expect(problem == nullptr, "a sound grammar is refused: %s", problem == nullptr ? "" : problem);
  return std::make_shared<GrammarRun>(tables, trie);
}

std::string allowed(GrammarRun& run, GrammarRun::Position at, const std::vector<std::string>& tokens) {
  std::string out;
  const std::shared_ptr<const TokenMask> mask = run.mask(at);
  for (size_t id = 0; mask && id < tokens.size(); id++) out += mask->allows(static_cast<int32_t>(id)) ? tokens[id] + " " : "";
  return out;
}

// root ::= "(" root? ")"
std::vector<int32_t> brackets() { return one_rule(4, {{0, '(', 1}, {1, ')', 3}, {2, ')', 3}}, {{1, 0, 2}}, {3}); }

void nesting(Check& check) {
  const std::vector<std::string> tokens = {"(", ")", "((", "))", "()", ")(", "x", ""};
  const auto run = run_of(brackets(), trie_of(tokens), check);
  GrammarRun::Position at = run->start();
  check.expect(allowed(*run, at, tokens) == "( (( () ", "at the start: %s", allowed(*run, at, tokens).c_str());
  at = run->advance(at, 2);
  check.expect(allowed(*run, at, tokens) == "( ) (( )) () ", "within two: %s", allowed(*run, at, tokens).c_str());
  check.expect(!run->is_complete(at), "complete too early");
  at = run->advance(at, 1);
  check.expect(allowed(*run, at, tokens) == ") ", "one is left: %s", allowed(*run, at, tokens).c_str());
  check.expect(run->forced(at) == 1, "what is left is forced, not %d", run->forced(at));
  check.expect(run->advance(at, 3) == GrammarRun::kDead, "more brackets are closed than opened");
  at = run->advance(at, 1);
  check.expect(run->is_complete(at) && run->is_exhausted(at), "not at the end");
  check.expect(run->mask(at)->count == 0, "something may follow the end");
}

// "hello" | "help": what all continuations begin with is forced as its longest token, and nothing that might run over it.
void forced_text(Check& check) {
  const std::vector<std::string> tokens = {"h", "he", "hel", "hell", "l", "o", "p", "lo", "hel"};
  const auto words = one_rule(6, {{0, 'h', 1}, {1, 'e', 2}, {2, 'l', 3}, {3, 'l', 4}, {3, 'p', 5}, {4, 'o', 5}}, {}, {5});
  const auto run = run_of(words, trie_of(tokens), check);
  check.expect(run->forced(run->start()) == -1, "a token runs over what is forced, and yet there is %d", run->forced(run->start()));
  const std::vector<std::string> shorter = {"h", "he", "hel", "x", "l", "o", "p", "lo", "hel"};
  const auto other = run_of(words, trie_of(shorter), check);
  check.expect(other->forced(other->start()) == 2, "the longest token, and of equal ones the first: %d", other->forced(other->start()));
  check.expect(other->mask(other->start())->count == 1, "the mask has it alone");
}

// At most 200 letters, then a dot: far from the bound there is one mask, near it the tokens that would pass it are gone.
void bounded_length(Check& check) {
  constexpr int kMost = 200;
  std::vector<Edge> edges;
  for (int state = 0; state <= kMost; state++) {
    for (char letter = 'a'; letter <= 'z' && state < kMost; letter++) edges.push_back({state, letter, state + 1});
    edges.push_back({state, '.', kMost + 1});
  }
  const std::vector<std::string> tokens = {"a", "b", ".", "abc", "abc.", "z.", "abcdefgh", "x", "aA"};
  const auto run = run_of(one_rule(kMost + 2, edges, {}, {kMost + 1}), trie_of(tokens), check);
  GrammarRun::Position at = run->start();
  const std::shared_ptr<const TokenMask> far = run->mask(at);
  for (int length = 0; length <= kMost; length++) {
    std::string expected;
    for (const std::string& token : tokens) {
      const int letters = static_cast<int>(token.size()) - (token.back() == '.' ? 1 : 0);
      if (token != "aA" && length + letters <= kMost) expected += token + " ";
    }
    check.expect(allowed(*run, at, tokens) == expected, "behind %d letters: %s", length, allowed(*run, at, tokens).c_str());
    check.expect((run->mask(at) == far) == (kMost - length >= 8), "the mask behind %d letters is made anew, or not", length);
    at = run->advance(at, 0);
  }
}

void damaged(Check& check) {
  const std::vector<int32_t> sound = brackets();
  const auto trie = trie_of({"a", "b", "c", "d", "e", "f", "g", "h"});
  for (size_t i = 0; i < sound.size(); i++) {
    for (const int32_t value : {-2, 1 << 20}) {
      std::vector<int32_t> words = sound;
      words[i] = value;
      GrammarTables tables;
      // Either refused, or a word that only says whether a rule may end.
      const bool refused = tables.bind(std::move(words), *trie) != nullptr;
      const bool is_final = i >= 5 + 256 + 1 + 4 * 256 && i < 5 + 256 + 1 + 4 * 256 + 4;
      check.expect(refused || is_final, "word %d may be %d", static_cast<int>(i), value);
    }
  }
}

void threads(Check& check) {
  std::vector<std::string> tokens;
  for (int i = 0; i < 2000; i++) tokens.push_back(std::string(1 + i % 7, i % 3 == 0 ? ')' : '(') + (i % 5 == 0 ? ")" : "("));
  const auto run = run_of(brackets(), trie_of(tokens), check);
  const auto expected = run_of(brackets(), trie_of(tokens), check);
  MaskMaker maker;
  GrammarRun::Position at = run->start();
  GrammarRun::Position same = expected->start();
  for (int step = 0; step < 50; step++) {
    maker.make({{run, at}, {run, at}});
    std::thread other([&] { run->mask(at); });
    const std::shared_ptr<const TokenMask> mask = run->mask(at);
    other.join();
    check.expect(mask && mask->words == expected->mask(same)->words, "another mask at step %d", step);
    at = run->advance(at, 1);
    same = expected->advance(same, 1);
  }
}

}  // namespace

void test_grammar(Check& check) {
  nesting(check);
  forced_text(check);
  bounded_length(check);
  damaged(check);
  threads(check);
}

}  // namespace lockstep::test
