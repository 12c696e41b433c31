#include "common/alike_states.h"

#include <algorithm>
#include <numeric>
#include <unordered_map>

#include "common/hash.h"

namespace lockstep {
namespace {

// Partition refinement, a round a byte.
class Refinement {
 public:
  explicit Refinement(const GrammarTables& tables) : t_(tables), class_of_(tables.num_states, 0), sizes_{tables.num_states} {
    find_sources();
    changed_.resize(t_.num_states);
    std::iota(changed_.begin(), changed_.end(), 0);
    split(changed_, [this](int32_t state) { return shape_hash(state); }, [this](int32_t a, int32_t b) { return same_shape(a, b); });
  }

  // One more byte. Looks only at the states that lead to one whose class changed with the last byte; false: none did.
  bool refine() {
    if (changed_.empty()) return false;
    std::vector<int32_t> touched;
    for (const int32_t state : changed_)
      touched.insert(touched.end(), sources_.begin() + source_start_[state], sources_.begin() + source_start_[state + 1]);
    std::sort(touched.begin(), touched.end());
    touched.erase(std::unique(touched.begin(), touched.end()), touched.end());
    changed_ =
        split(touched, [this](int32_t state) { return step_hash(state); }, [this](int32_t a, int32_t b) { return same_steps(a, b); });
    return true;
  }

  std::vector<int32_t> take() { return std::move(class_of_); }

 private:
  const int32_t* row(int32_t state) const { return t_.next + static_cast<int64_t>(state) * t_.num_classes; }

  // The states that lead to each by a byte.
  void find_sources() {
    const auto each_edge = [this](auto&& take) {
      for (int32_t state = 0; state < t_.num_states; state++) {
        for (int cls = 0; cls < t_.num_classes; cls++) {
          const int32_t to = row(state)[cls];
          if (to >= 0 && (cls == 0 || to != row(state)[cls - 1])) take(state, to);
        }
      }
    };
    source_start_.assign(static_cast<size_t>(t_.num_states) + 1, 0);
    each_edge([this](int32_t, int32_t to) { source_start_[to + 1]++; });
    std::partial_sum(source_start_.begin(), source_start_.end(), source_start_.begin());
    sources_.resize(source_start_.back());
    std::vector<int32_t> place(source_start_.begin(), source_start_.end() - 1);
    each_edge([&](int32_t state, int32_t to) { sources_[place[to]++] = state; });
  }

  // What a state does without a byte, and which bytes it takes.
  uint64_t shape_hash(int32_t state) const {
    uint64_t hash = t_.final[state] != 0 ? 1 : 0;
    for (int32_t i = 2 * t_.call_start[state]; i < 2 * t_.call_start[state + 1]; i++) hash = mix(hash, static_cast<uint32_t>(t_.calls[i]));
    for (int32_t i = 2 * t_.token_start[state]; i < 2 * t_.token_start[state + 1]; i++)
      hash = mix(hash, static_cast<uint32_t>(t_.tokens[i]));
    for (int cls = 0; cls < t_.num_classes; cls++) hash = mix(hash, row(state)[cls] >= 0 ? 1 : 0);
    return hash;
  }
  bool same_shape(int32_t a, int32_t b) const {
    const auto same_list = [&](const int32_t* start, const int32_t* list) {
      return std::equal(list + 2 * start[a], list + 2 * start[a + 1], list + 2 * start[b], list + 2 * start[b + 1]);
    };
    const auto both_or_none = [](int32_t x, int32_t y) { return (x >= 0) == (y >= 0); };
    return (t_.final[a] != 0) == (t_.final[b] != 0) && same_list(t_.call_start, t_.calls) && same_list(t_.token_start, t_.tokens) &&
           std::equal(row(a), row(a) + t_.num_classes, row(b), both_or_none);
  }

  int32_t class_behind(int32_t to) const { return to < 0 ? -1 : class_of_[to]; }
  uint64_t step_hash(int32_t state) const {
    auto hash = static_cast<uint64_t>(class_of_[state]);
    for (int cls = 0; cls < t_.num_classes; cls++) hash = mix(hash, static_cast<uint32_t>(class_behind(row(state)[cls])));
    return hash;
  }
  bool same_steps(int32_t a, int32_t b) const {
    const auto same_class = [this](int32_t x, int32_t y) { return class_behind(x) == class_behind(y); };
    return class_of_[a] == class_of_[b] && std::equal(row(a), row(a) + t_.num_classes, row(b), same_class);
  }

  // Tells `states` apart; returns those whose class is a new one. Other states of a class keep it: none of them leads to a class that
  // changed, as all of `states` do. Where it has no others, its largest part keeps it.
  template <typename Hash, typename Same>
  std::vector<int32_t> split(const std::vector<int32_t>& states, const Hash& hash_of, const Same& same) {
    std::vector<std::vector<int32_t>> parts;
    std::unordered_multimap<uint64_t, size_t> part_of;
    for (const int32_t state : states) {
      const uint64_t hash = hash_of(state);
      auto [at, end] = part_of.equal_range(hash);
      while (at != end && !same(parts[at->second][0], state)) ++at;
      if (at == end) at = part_of.emplace(hash, parts.size());
      if (at->second == parts.size()) parts.emplace_back();
      parts[at->second].push_back(state);
    }
    struct Whole {
      size_t largest = 0;
      int32_t count = 0;
    };
    std::unordered_map<int32_t, Whole> wholes;  // by class
    for (size_t i = 0; i < parts.size(); i++) {
      Whole& whole = wholes[class_of_[parts[i][0]]];
      if (whole.count == 0 || parts[i].size() > parts[whole.largest].size()) whole.largest = i;
      whole.count += static_cast<int32_t>(parts[i].size());
    }
    for (auto& [cls, whole] : wholes) {
      if (whole.count < sizes_[cls]) whole.largest = parts.size();
    }
    std::vector<int32_t> changed;
    for (size_t i = 0; i < parts.size(); i++) {
      const int32_t old = class_of_[parts[i][0]];
      if (wholes[old].largest == i) continue;
      sizes_[old] -= static_cast<int32_t>(parts[i].size());
      for (const int32_t state : parts[i]) class_of_[state] = static_cast<int32_t>(sizes_.size());
      sizes_.push_back(static_cast<int32_t>(parts[i].size()));
      changed.insert(changed.end(), parts[i].begin(), parts[i].end());
    }
    return changed;
  }

  const GrammarTables& t_;
  std::vector<int32_t> class_of_;
  std::vector<int32_t> sizes_;  // of classes
  std::vector<int32_t> source_start_, sources_;
  std::vector<int32_t> changed_;  // states whose class is new since the last byte
};

}  // namespace

std::vector<int32_t> alike_states(const GrammarTables& tables, int depth) {
  Refinement refinement(tables);
  while (depth-- > 0 && refinement.refine()) continue;
  return refinement.take();
}

}  // namespace lockstep
