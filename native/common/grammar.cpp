#include "common/grammar.h"

#include <algorithm>

#include "common/alike_states.h"
#include "common/hash.h"

namespace lockstep {
namespace {

constexpr int32_t kMagic = 0x4c6b4701;
constexpr int32_t kUnknown = -3;
constexpr size_t kFullBytes = size_t{16} << 20;  // a run that is so large takes no new outputs
constexpr size_t kMaxBytes = size_t{64} << 20;   // and those that it has end here
constexpr size_t kMaskBytes = size_t{16} << 20;  // of masks, which are made anew when they are missed
constexpr size_t kMaxWays = 4096;                // of one position
constexpr size_t kMaxWork = size_t{1} << 16;     // ways looked at for one position

}  // namespace

const char* GrammarTables::bind(std::vector<int32_t> source, const VocabularyTrie& trie) {
  words = std::move(source);
  constexpr int64_t kHeader = 5;
  if (words.size() < kHeader + 256 || words[0] != kMagic) return "no compiled grammar";
  num_states = words[1];
  num_classes = words[2];
  num_rules = words[3];
  root = words[4];
  const auto size = static_cast<int64_t>(words.size());
  if (num_states < 1 || num_classes < 1 || num_classes > 256 || num_rules < 1 || root < 0 || root >= num_rules) return "a bad header";
  const int64_t table = kHeader + 256 + num_rules;
  const int64_t ends = table + static_cast<int64_t>(num_states) * (num_classes + 1);
  const int64_t lists = ends + 2 * (static_cast<int64_t>(num_states) + 1);
  if (lists > size) return "tables beyond its end";
  class_of = words.data() + kHeader;
  rule_start = class_of + 256;
  next = words.data() + table;
  final = next + static_cast<int64_t>(num_states) * num_classes;
  call_start = words.data() + ends;
  token_start = call_start + num_states + 1;
  calls = words.data() + lists;
  const int64_t num_calls = call_start[num_states];
  const int64_t num_tokens = token_start[num_states];
  if (num_calls < 0 || num_tokens < 0 || lists + 2 * (num_calls + num_tokens) != size) return "lists beyond its end";
  tokens = calls + 2 * num_calls;
  const auto is_state = [&](int32_t state) { return state >= 0 && state < num_states; };
  for (int i = 0; i < 256; i++) {
    if (class_of[i] < 0 || class_of[i] >= num_classes) return "a bad class";
  }
  for (int i = 0; i < num_rules; i++) {
    if (!is_state(rule_start[i])) return "a bad rule";
  }
  for (int64_t i = 0; i < static_cast<int64_t>(num_states) * num_classes; i++) {
    if (next[i] != -1 && !is_state(next[i])) return "a bad state";
  }
  for (int i = 0; i < num_states; i++) {
    if (call_start[i] > call_start[i + 1] || token_start[i] > token_start[i + 1]) return "lists out of order";
  }
  for (int64_t i = 0; i < num_calls; i++) {
    if (calls[2 * i] < 0 || calls[2 * i] >= num_rules || !is_state(calls[2 * i + 1])) return "a bad call";
  }
  for (int64_t i = 0; i < num_tokens; i++) {
    if (tokens[2 * i] < 0 || tokens[2 * i] >= trie.vocab() || !is_state(tokens[2 * i + 1])) return "a bad token";
  }
  if (call_start[0] != 0 || token_start[0] != 0) return "lists out of order";
  outlook.resize(num_states);
  for (int state = 0; state < num_states; state++) {
    Outlook& seen = outlook[state];
    seen = {kNoByte, token_start[state] < token_start[state + 1], false};
    const int32_t* targets = next + static_cast<int64_t>(state) * num_classes;
    for (int byte = 0; byte < 256 && seen.byte != kManyBytes; byte++) {
      if (targets[class_of[byte]] >= 0) seen.byte = seen.byte == kNoByte ? static_cast<int16_t>(byte) : kManyBytes;
    }
    seen.only_ends = final[state] != 0 && seen.byte == kNoByte && !seen.by_token && call_start[state] == call_start[state + 1];
  }
  // Behind the last byte of a token nothing matters any more.
  alike = alike_states(*this, trie.max_depth() - 1);
  return nullptr;
}

GrammarRun::GrammarRun(std::shared_ptr<const GrammarTables> tables, std::shared_ptr<const VocabularyTrie> trie)
    : tables_(std::move(tables)), trie_(std::move(trie)) {
  frames_.push_back({-1, 0});
  path_.resize(static_cast<size_t>(trie_->max_depth()) + 1);
  open_.push_back({tables_->rule_start[tables_->root], 0});
  start_ = settle(&open_);
}

GrammarRun::Position GrammarRun::start() { return start_; }

int32_t GrammarRun::frame_of(int32_t state, int32_t below) {
  const uint64_t key = static_cast<uint64_t>(static_cast<uint32_t>(state)) << 32 | static_cast<uint32_t>(below);
  const auto [found, is_new] = frame_ids_.emplace(key, static_cast<int32_t>(frames_.size()));
  if (is_new) {
    frames_.push_back({state, below});
    bytes_ += 48;
  }
  return found->second;
}

// Takes what `ways` can do without a byte (rules that are called, rules that end), and finds or makes the position of what is left.
GrammarRun::Position GrammarRun::settle(std::vector<Way>* ways) {
  const GrammarTables& t = *tables_;
  found_.clear();
  bool complete = false;
  size_t work = 0;
  std::vector<Way> seen;  // sorted; small but for grammars that can be read in many ways
  while (!ways->empty()) {
    const Way way = ways->back();
    ways->pop_back();
    const auto place = std::lower_bound(seen.begin(), seen.end(), way);
    if (place != seen.end() && *place == way) continue;
    if (++work > kMaxWork || seen.size() > 2 * kMaxWays) return kFailed;
    seen.insert(place, way);
    if (t.outlook[way.state].byte != GrammarTables::kNoByte || t.outlook[way.state].by_token) found_.push_back(way);
    for (int32_t i = t.call_start[way.state]; i < t.call_start[way.state + 1]; i++) {
      const int32_t back = t.calls[2 * i + 1];
      // A call in last place returns to where its caller would: so repetition by recursion does not grow.
      const bool is_last = t.outlook[back].only_ends;
      ways->push_back({t.rule_start[t.calls[2 * i]], is_last ? way.frame : frame_of(back, way.frame)});
    }
    if (t.final[way.state] == 0) continue;
    if (way.frame == 0)
      complete = true;
    else
      ways->push_back({frames_[way.frame].state, frames_[way.frame].below});
  }
  if (found_.size() > kMaxWays) return kFailed;
  if (found_.empty() && !complete) return kDead;
  std::sort(found_.begin(), found_.end());
  uint64_t hash = complete ? 1 : 0;
  for (const Way& way : found_) hash = mix(mix(hash, static_cast<uint32_t>(way.state)), static_cast<uint32_t>(way.frame));
  for (auto [at, end] = set_ids_.equal_range(hash); at != end; ++at) {
    const Set& known = sets_[at->second];
    if (known.complete == complete && known.ways == found_) return at->second;
  }
  if (bytes_ > kMaxBytes) return kFailed;
  Set set;
  set.ways = found_;
  set.complete = complete;
  int byte = GrammarTables::kNoByte;
  bool by_token = false;
  for (const Way& way : found_) {
    const GrammarTables::Outlook& ahead = t.outlook[way.state];
    by_token = by_token || ahead.by_token;
    if (ahead.byte != GrammarTables::kNoByte)
      byte = byte == GrammarTables::kNoByte || byte == ahead.byte ? ahead.byte : GrammarTables::kManyBytes;
  }
  set.single_byte = byte >= 0 && !by_token && !complete;
  set.goes_on = !found_.empty();
  const auto id = static_cast<Position>(sets_.size());
  bytes_ += 160 + found_.size() * sizeof(Way) + static_cast<size_t>(t.num_classes) * 4;
  sets_.push_back(std::move(set));
  transitions_.resize(transitions_.size() + t.num_classes, kUnknown);
  set_ids_.emplace(hash, id);
  return id;
}

GrammarRun::Position GrammarRun::by_class(Position from, int cls) {
  const size_t at = static_cast<size_t>(from) * tables_->num_classes + cls;
  if (transitions_[at] != kUnknown) return transitions_[at];
  open_.clear();
  for (const Way& way : sets_[from].ways) {
    const int32_t to = tables_->next[static_cast<int64_t>(way.state) * tables_->num_classes + cls];
    if (to >= 0) open_.push_back({to, way.frame});
  }
  const Position to = open_.empty() ? kDead : settle(&open_);
  transitions_[at] = to;
  return to;
}

GrammarRun::Position GrammarRun::by_token(Position from, int32_t token) {
  const GrammarTables& t = *tables_;
  open_.clear();
  for (const Way& way : sets_[from].ways) {
    for (int32_t i = t.token_start[way.state]; i < t.token_start[way.state + 1]; i++) {
      if (t.tokens[2 * i] == token) open_.push_back({t.tokens[2 * i + 1], way.frame});
    }
  }
  return open_.empty() ? kDead : settle(&open_);
}

GrammarRun::Position GrammarRun::advance(Position from, int32_t token) {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (from < 0 || token < 0 || token >= trie_->vocab()) return from == kFailed ? kFailed : kDead;
  const int length = trie_->length_of(token);
  if (length == 0) return by_token(from, token);
  const uint8_t* bytes = trie_->bytes_of(token);
  Position at = from;
  for (int i = 0; i < length && at >= 0; i++) at = by_class(at, tables_->class_of[bytes[i]]);
  return at;
}

bool GrammarRun::is_complete(Position at) {
  const std::lock_guard<std::mutex> lock(mutex_);
  return at >= 0 && sets_[at].complete;
}

bool GrammarRun::is_exhausted(Position at) {
  const std::lock_guard<std::mutex> lock(mutex_);
  return at >= 0 && sets_[at].complete && !sets_[at].goes_on;
}

bool GrammarRun::is_full() {
  const std::lock_guard<std::mutex> lock(mutex_);
  return bytes_ > kFullBytes;
}

bool GrammarRun::has_mask(Position at) {
  const std::lock_guard<std::mutex> lock(mutex_);
  return at < 0 || sets_[at].mask != nullptr;
}

std::shared_ptr<const TokenMask> GrammarRun::mask(Position at) {
  const std::lock_guard<std::mutex> lock(mutex_);
  return at < 0 ? nullptr : make_mask(at);
}

int32_t GrammarRun::forced(Position at) {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (at < 0 || !sets_[at].single_byte) return -1;
  const std::shared_ptr<const TokenMask> mask = make_mask(at);
  return mask ? mask->only : -1;
}

GrammarRun::Stride GrammarRun::stride_of(Position at) {
  if (sets_[at].stride.kinds != kUnknownKinds) return sets_[at].stride;
  Stride stride{0, by_class(at, tables_->class_of['a'])};
  if (stride.to >= 0) {
    uint32_t leaving = 0;
    for (int byte = 0; byte < 0x80; byte++) {
      const uint32_t kind = VocabularyTrie::kind_of_ascii(static_cast<uint8_t>(byte));
      stride.kinds |= kind;
      if (by_class(at, tables_->class_of[byte]) != stride.to) leaving |= kind;
    }
    stride.kinds &= ~leaving;
    if (all_characters_lead_to(stride.to, at, 0)) stride.kinds |= VocabularyTrie::kCharacters;
  }
  sets_[at].stride = stride;
  return stride;
}

// Whether every character of several bytes, of which `utf8` have led to `from`, comes to `target`.
bool GrammarRun::all_characters_lead_to(Position target, Position from, int utf8) {
  int last_class = -1;
  int last_state = -1;
  for (int byte = 0x80; byte < 0x100; byte++) {
    const int state = VocabularyTrie::next_utf8(utf8, static_cast<uint8_t>(byte));
    if (state < 0) continue;
    const int cls = tables_->class_of[byte];
    if (cls == last_class && state == last_state) continue;
    last_class = cls;
    last_state = state;
    const Position to = by_class(from, cls);
    if (state == 0 ? to != target : to < 0 || !all_characters_lead_to(target, to, state)) return false;
  }
  return true;
}

// Whether any so many characters of these kinds can come.
bool GrammarRun::strides_over(Position from, uint32_t kinds, int characters) {
  for (Position at = from; characters > 0; characters--) {
    const Stride stride = stride_of(at);
    if ((kinds & ~stride.kinds) != 0) return false;
    if (stride.to == at) return true;
    at = stride.to;
  }
  return true;
}

// The first position that differs from `at` in states that are alike and in nothing else: what any token does is the same at both.
GrammarRun::Position GrammarRun::twin_of(Position at) {
  if (sets_[at].twin >= 0) return sets_[at].twin;
  const auto alike_ways = [this](const std::vector<Way>& ways) {
    std::vector<Way> alike;
    for (const Way& way : ways) alike.push_back({tables_->alike[way.state], way.frame});
    std::sort(alike.begin(), alike.end());
    alike.erase(std::unique(alike.begin(), alike.end()), alike.end());
    return alike;
  };
  const std::vector<Way> ways = alike_ways(sets_[at].ways);
  uint64_t hash = sets_[at].complete ? 1 : 0;
  for (const Way& way : ways) hash = mix(mix(hash, static_cast<uint32_t>(way.state)), static_cast<uint32_t>(way.frame));
  Position twin = at;
  for (auto [known, end] = twin_ids_.equal_range(hash); known != end && twin == at; ++known) {
    const Set& other = sets_[known->second];
    if (other.complete == sets_[at].complete && alike_ways(other.ways) == ways) twin = known->second;
  }
  if (twin == at) twin_ids_.emplace(hash, at);
  sets_[at].twin = twin;
  return twin;
}

std::shared_ptr<const TokenMask> GrammarRun::make_mask(Position at) {
  if (sets_[at].mask) return sets_[at].mask;
  const Position twin = twin_of(at);
  std::shared_ptr<const TokenMask> mask = sets_[twin].mask;
  if (!mask) mask = walk(twin);
  if (mask) sets_[twin].mask = sets_[at].mask = mask;
  return mask;
}

// One walk through the vocabulary; a part of the tree whose first bytes lead nowhere is passed over.
std::shared_ptr<const TokenMask> GrammarRun::walk(Position at) {
  const std::vector<VocabularyTrie::Node>& nodes = trie_->nodes();
  const std::vector<int32_t>& tokens = trie_->tokens();
  auto mask = std::make_shared<TokenMask>();
  mask->words.assign((static_cast<size_t>(trie_->vocab()) + 31) / 32, 0);
  const auto allow = [&](int32_t id) {
    mask->count += mask->allows(id) ? 0 : 1;
    mask->words[id >> 5] |= uint32_t{1} << (id & 31);
  };
  bool one_path = sets_[at].single_byte;
  int32_t newest = -1;  // node of the last token that was allowed
  path_[0] = at;
  const auto count = static_cast<int32_t>(nodes.size()) - 1;
  for (int32_t i = 0; i < count;) {
    const VocabularyTrie::Node& node = nodes[i];
    const Position from = path_[node.depth];
    // Within a string, say, nearly the whole vocabulary can come.
    if (node.begins_character && strides_over(from, node.kinds, node.characters)) {
      one_path = false;
      for (int32_t j = node.first_token; j < nodes[node.end].first_token; j++) allow(tokens[j]);
      i = node.end;
      continue;
    }
    const int cls = tables_->class_of[node.byte];
    Position to = transitions_[static_cast<size_t>(from) * tables_->num_classes + cls];
    if (to == kUnknown) to = by_class(from, cls);
    if (to < 0) {
      if (to == kFailed) return nullptr;
      i = node.end;
      continue;
    }
    path_[node.depth + 1] = to;
    if (node.first_token < nodes[i + 1].first_token) {
      // A token that runs beyond what is forced is a choice.
      for (int32_t depth = 0; one_path && depth <= node.depth; depth++) one_path = sets_[path_[depth]].single_byte;
      newest = i;
      for (int32_t j = node.first_token; j < nodes[i + 1].first_token; j++) allow(tokens[j]);
    }
    i++;
  }
  if (one_path && newest >= 0) {
    std::fill(mask->words.begin(), mask->words.end(), 0);
    mask->count = 0;
    mask->only = tokens[nodes[newest].first_token];
    allow(mask->only);
  }
  const GrammarTables& t = *tables_;
  for (const Way& way : sets_[at].ways) {
    for (int32_t i = t.token_start[way.state]; i < t.token_start[way.state + 1]; i++) allow(t.tokens[2 * i]);
  }
  mask_bytes_ += mask->words.size() * 4;
  if (mask_bytes_ > kMaskBytes) {
    for (Set& set : sets_) set.mask.reset();
    mask_bytes_ = mask->words.size() * 4;
  }
  return mask;
}

Grammar::Grammar(std::shared_ptr<const GrammarTables> tables, std::shared_ptr<const VocabularyTrie> trie)
    : tables_(std::move(tables)), trie_(std::move(trie)) {}

std::shared_ptr<GrammarRun> Grammar::run() {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (!run_ || run_->is_full()) run_ = std::make_shared<GrammarRun>(tables_, trie_);
  return run_;
}

void GrammarStore::set_vocabulary(std::shared_ptr<const VocabularyTrie> trie) {
  const std::lock_guard<std::mutex> lock(mutex_);
  trie_ = std::move(trie);
}

std::shared_ptr<const VocabularyTrie> GrammarStore::vocabulary() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  return trie_;
}

std::string GrammarStore::add(int id, std::vector<int32_t> words) {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (!trie_) return "no vocabulary";
  auto tables = std::make_shared<GrammarTables>();
  const char* problem = tables->bind(std::move(words), *trie_);
  if (problem != nullptr) return problem;
  grammars_[id] = std::make_shared<Grammar>(std::move(tables), trie_);
  return "";
}

void GrammarStore::remove(int id) {
  const std::lock_guard<std::mutex> lock(mutex_);
  grammars_.erase(id);
}

std::shared_ptr<Grammar> GrammarStore::find(int id) const {
  const std::lock_guard<std::mutex> lock(mutex_);
  const auto found = grammars_.find(id);
  return found == grammars_.end() ? nullptr : found->second;
}

}  // namespace lockstep
