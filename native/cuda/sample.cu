// From rows of logits to ids, as common/sampler.cpp chooses them. One kernel after the other, none of which waits for the host:
//   edit    rows with a mask, a bias or penalties are copied and changed
//   best    the maximum of each row; the likeliest id is the answer where there is no temperature
//   weigh   how many candidates, and what mass of them, lie how deep below the maximum (top_k, top_p)
//   cut     where the set of candidates ends
//   race    argmax of logit + Gumbel noise over the candidates
//   score   sample_score.cu: log-probabilities
// A block has a tile of 1024 ids of a row, or for `cut` a whole row, of which it reads the tiles whose maximum says that it must. Bound:
// the logits are read once by `best`, and once each by `weigh` and `race` where a row needs them; after the first time they come from the
// L2 cache, which holds the 32 rows of a call.
#include "common/sampled_id.h"
#include "cuda/families.h"
#include "cuda/sample.cuh"

namespace lockstep::cuda {
namespace {

// tanh(x) of cpu/isa/math.h.
__device__ float tanh_of(float x) {
  const float a = fabsf(x);
  if (!(a > 0.625f)) {
    const float z = x * x;
    float p = -5.70498872745e-3f;
    p = fmaf(p, z, 2.06390887954e-2f);
    p = fmaf(p, z, -5.37397155531e-2f);
    p = fmaf(p, z, 1.33314422036e-1f);
    p = fmaf(p, z, -3.33332819422e-1f);
    return fmaf(p * z, x, x);
  }
  const float large = 1.0f - 2.0f / (exp_of(a + a) + 1.0f);
  return x < 0 ? -large : large;
}

__global__ void finish_logits_kernel(FinishLogitsArgs a) {
  begin_early();
  const int id = blockIdx.x * blockDim.x + threadIdx.x;
  if (id >= a.n) return;
  float& logit = a.logits[static_cast<size_t>(blockIdx.y) * a.ld + id];
  float x = logit;
  if (a.scale != 1) x *= a.scale;
  logit = a.softcap > 0 ? a.softcap * tanh_of(x / a.softcap) : x;
}

// The row with what may not come taken out.
__global__ void __launch_bounds__(kSampleThreads) mask_kernel(SampleArgs a) {
  begin_early();
  const SampleRow& r = a.rows[blockIdx.y];
  if (!is_edited(r)) return;
  for (int i = 0; i < kIdsOfThread; i++) {
    const int id = blockIdx.x * kSampleTile + i * kSampleThreads + threadIdx.x;
    if (id >= a.vocab) return;
    const bool may = r.mask < 0 || (a.masks[static_cast<size_t>(r.mask) * a.mask_words + id / 32] >> (id % 32) & 1) != 0;
    a.edited[static_cast<size_t>(blockIdx.y) * a.vocab + id] = may ? raw_logit(a, blockIdx.y, id) : -INFINITY;
  }
}

// As the CPU's sampler bounds it: no penalty makes an infinite logit.
__device__ float penalized(float logit, float repetition) {
  constexpr float kMost = 1e30f;
  constexpr float kLargest = 3.402823466e38f;
  const float by = kLargest < repetition ? kLargest : repetition;
  const float x = logit > 0 ? logit / by : logit * by;
  return x < -kMost ? -kMost : x > kMost ? kMost : x;
}

// Bias, then repetition, frequency and presence. An id's biases are all added by the thread that has its first.
__global__ void __launch_bounds__(kSampleThreads) edit_kernel(SampleArgs a) {
  begin_early();
  const SampleRow& r = a.rows[blockIdx.x];
  float* edited = a.edited + static_cast<size_t>(blockIdx.x) * a.vocab;
  const int32_t* ids = a.extras + r.first_bias;
  const float* values = reinterpret_cast<const float*>(ids + r.num_bias);
  for (int i = threadIdx.x; i < r.num_bias; i += kSampleThreads) {
    const int id = ids[i];
    bool is_first = id >= 0 && id < a.vocab;
    for (int j = 0; j < i && is_first; j++) is_first = ids[j] != id;
    for (int j = i; j < r.num_bias && is_first; j++) {
      if (ids[j] == id) edited[id] += values[j];
    }
  }
  __syncthreads();
  // Counted anew each time: 1 for what was seen, and 2 for each occurrence in the output.
  uint32_t* seen = a.seen + static_cast<size_t>(blockIdx.x) * a.vocab;
  const int32_t* tokens = a.history + static_cast<size_t>(r.row) * a.history_len;
  for (int i = threadIdx.x; i < r.num_tokens; i += kSampleThreads) {
    if (i < r.prompt_len) {
      atomicOr(&seen[tokens[i]], 1u);
    } else {
      atomicAdd(&seen[tokens[i]], 2u);
    }
  }
  __syncthreads();
  for (int i = threadIdx.x; i < r.num_tokens; i += kSampleThreads) {
    const uint32_t count = atomicExch(&seen[tokens[i]], 0u);
    if (count == 0) continue;
    float logit = edited[tokens[i]];
    if (r.repetition != 1 && logit != -INFINITY) logit = penalized(logit, r.repetition);
    if (count > 1) {
      logit -= r.frequency * static_cast<float>(count / 2);
      logit -= r.presence;
    }
    edited[tokens[i]] = logit;
  }
}

__device__ void answer(const SampleArgs& a, int row, int32_t id) {
  a.results[row].id = id;
  const SampleRow& r = a.rows[row];
  if (r.keeps != 0) a.last[r.row] = id < 0 ? 0 : id;
}

__global__ void __launch_bounds__(kSampleThreads) best_kernel(SampleArgs a) {
  begin_early();
  const int row = blockIdx.y;
  const SampleRow& r = a.rows[row];
  const RowValues sampled = sampled_values(a, row);
  const bool are_same = !sampled.is_edited && (sampled.temperature == 0 || sampled.temperature == 1);
  uint64_t raw = 0, key = 0;
  for (int i = 0; i < kIdsOfThread; i++) {
    const int id = blockIdx.x * kSampleTile + i * kSampleThreads + threadIdx.x;
    if (id >= a.vocab) break;
    const uint64_t raw_key = key_of(raw_logit(a, row, id), id);
    const uint64_t own = are_same ? raw_key : key_of(sampled.at(id), id);
    raw = raw_key > raw ? raw_key : raw;
    key = own > key ? own : key;
  }
  raw = block_max(raw);
  key = are_same ? raw : block_max(key);
  SampleTile* tiles = a.tiles + static_cast<size_t>(row) * tiles_of(a);
  if (threadIdx.x == 0) tiles[blockIdx.x].raw = raw, tiles[blockIdx.x].key = key;
  if (!is_last_of_row(a, row)) return;

  raw = key = 0;
  for (int t = threadIdx.x; t < tiles_of(a); t += kSampleThreads) {
    raw = tiles[t].raw > raw ? tiles[t].raw : raw;
    key = tiles[t].key > key ? tiles[t].key : key;
  }
  raw = block_max(raw);
  key = block_max(key);
  DepthBin* bin = &a.bins[static_cast<size_t>(row) * kDepthBins + threadIdx.x];
  bin->count = 0;
  bin->mass = 0;
  if (threadIdx.x != 0) return;
  const float max = value_of_key(key);
  a.results[row].max = value_of_key(raw);
  a.results[row].rank = 1;
  SampleState& state = a.states[row];
  state.max = max;
  state.best = id_of_key(key);
  state.cut = r.log_min_p > -INFINITY ? key_of(max + r.log_min_p, INT32_MAX) : 0;
  const bool has_answer = r.draws == 0 || r.is_forced != 0;
  state.is_open = !has_answer && is_finite(max) && r.temperature != 0 ? 1 : 0;
  if (state.is_open != 0) return;
  if (has_answer) return answer(a, row, r.scored_id);
  if (is_finite(max)) return answer(a, row, state.best);
  answer(a, row, r.is_restricted != 0 && is_finite(value_of_key(raw)) ? kNothingAllowed : kNotNumbers);
}

__device__ bool has_top_k(const SampleArgs& a, const SampleRow& r) { return r.top_k > 0 && r.top_k < a.vocab; }
__device__ bool is_narrowed(const SampleArgs& a, int row) {
  return a.states[row].is_open != 0 && (has_top_k(a, a.rows[row]) || a.rows[row].top_p < 1);
}

__global__ void __launch_bounds__(kSampleThreads) weigh_kernel(SampleArgs a) {
  __shared__ BinSums sums;
  begin_early();
  const int row = blockIdx.y;
  if (!is_narrowed(a, row)) return;
  const float max = a.states[row].max;
  weigh_tile(sampled_values(a, row), blockIdx.x, max, max + a.rows[row].log_min_p, &sums);
}

// The best top_k of what min_p leaves, then of these the smallest set, best first, whose mass reaches top_p of theirs.
__global__ void __launch_bounds__(kSampleThreads) cut_kernel(SampleArgs a) {
  __shared__ CutSearch search;
  begin_early();
  const int row = blockIdx.x;
  if (!is_narrowed(a, row)) return;
  const SampleRow& r = a.rows[row];
  const RowValues values = sampled_values(a, row);
  const float max = a.states[row].max;
  const float least = max + r.log_min_p;
  take_bins(a, row, &search.depths);
  find_cut(values, max, least, false, has_top_k(a, r) ? static_cast<uint64_t>(r.top_k) : ~uint64_t{0}, &search);
  uint64_t cut = search.cut;
  if (r.top_p < 1) {
    const double share = ceil(static_cast<double>(r.top_p) * static_cast<double>(search.mass));
    const uint64_t goal = share < 1 ? 1 : static_cast<uint64_t>(share);
    find_cut(values, max, least, true, goal, &search);
    cut = search.cut > cut ? search.cut : cut;
  }
  if (threadIdx.x == 0 && cut > a.states[row].cut) a.states[row].cut = cut;
}

// The winner of a block: the largest score, of equal ones the lowest id. Scores are doubles and no NaNs.
__device__ void block_winner(double* score, int32_t* id) {
  const uint64_t bits = static_cast<uint64_t>(__double_as_longlong(*score + 0.0));
  const uint64_t own = *id < 0 ? 0 : bits >> 63 != 0 ? ~bits : bits | uint64_t{1} << 63;
  const uint64_t best = block_max(own);
  const uint64_t winner = block_max(own == best && *id >= 0 ? 0xffffffffu - static_cast<uint64_t>(*id) : 0);
  *id = best == 0 ? kNoCandidate : static_cast<int32_t>(0xffffffffu - winner);
  const uint64_t back = best >> 63 != 0 ? best & ~(uint64_t{1} << 63) : ~best;
  *score = __longlong_as_double(static_cast<long long>(back));
}

__device__ uint32_t gumbel_word_of(const SampleRow& r, int id) {
  const unsigned within = static_cast<unsigned>(id) % kGumbelTile;
  uint32_t words[4];
  four_gumbel_words(r.key, r.position, r.choice, static_cast<unsigned>(id) / kGumbelTile, within % kGumbelCounters, words);
  const unsigned word = within / kGumbelCounters;
  return word == 0 ? words[0] : word == 1 ? words[1] : word == 2 ? words[2] : words[3];
}

// argmax of logit + Gumbel noise samples from softmax(logits) (Gumbel 1954; Maddison et al. 2014).
__global__ void __launch_bounds__(kSampleThreads) race_kernel(SampleArgs a) {
  begin_early();
  const int row = blockIdx.y;
  const SampleRow& r = a.rows[row];
  const SampleState state = a.states[row];
  if (state.is_open == 0) return;
  SampleTile* tiles = a.tiles + static_cast<size_t>(row) * tiles_of(a);
  double best = state.max + gumbel_of_word(gumbel_word_of(r, state.best));  // what a winner reaches at least
  int32_t winner = kNoCandidate;
  const uint64_t tile_key = tiles[blockIdx.x].key;
  if (tile_key >= state.cut && value_of_key(tile_key) + kGumbelMax >= best) {
    uint32_t words[kIdsOfThread];
    four_gumbel_words(r.key, r.position, r.choice, blockIdx.x, threadIdx.x, words);
    const RowValues values = sampled_values(a, row);
    for (int i = 0; i < kIdsOfThread; i++) {
      const int id = blockIdx.x * kSampleTile + i * kSampleThreads + threadIdx.x;
      if (id >= a.vocab) break;
      const float value = values.at(id);
      if (key_of(value, id) < state.cut || !(value + gumbel_bound(words[i]) >= best)) continue;
      const double score = value + gumbel_of_word(words[i]);
      if (score < best || (score == best && winner >= 0)) continue;  // a tie keeps the lower id
      best = score;
      winner = id;
    }
  }
  block_winner(&best, &winner);
  if (threadIdx.x == 0) tiles[blockIdx.x].score = best, tiles[blockIdx.x].winner = winner;
  if (!is_last_of_row(a, row)) return;
  best = -INFINITY;
  winner = kNoCandidate;
  for (int t = threadIdx.x; t < tiles_of(a); t += kSampleThreads) {
    if (tiles[t].winner < 0 || (winner >= 0 && tiles[t].score <= best)) continue;
    best = tiles[t].score;
    winner = tiles[t].winner;
  }
  block_winner(&best, &winner);
  if (threadIdx.x == 0) answer(a, row, winner);
}

}  // namespace

Error finish_logits(const FinishLogitsArgs& args, Stream stream) {
  const unsigned blocks = static_cast<unsigned>((args.n + kSampleThreads - 1) / kSampleThreads);
  return launch_early(finish_logits_kernel, {blocks, static_cast<unsigned>(args.rows)}, kSampleThreads, args, stream);
}

Error sample(const SampleArgs& args, Stream stream) {
  const unsigned count = static_cast<unsigned>(args.count);
  const Grid by_tile = {static_cast<unsigned>((args.vocab + kSampleTile - 1) / kSampleTile), count};
  const Grid by_row = {count, 1};
  Error error = kSuccess;
  bool is_first = true;  // it may follow a collective: see `add`
  const auto run = [&](void (*kernel)(SampleArgs), Grid grid) {
    if (error == kSuccess) error = launch_as(!is_first, kernel, grid, kSampleThreads, args, stream, 0);
    is_first = false;
  };
  if (args.edits) {
    run(mask_kernel, by_tile);
    run(edit_kernel, by_row);
  }
  run(best_kernel, by_tile);
  if (args.narrows) {
    run(weigh_kernel, by_tile);
    run(cut_kernel, by_row);
  }
  if (args.races) run(race_kernel, by_tile);
  return error == kSuccess && args.scores ? sample_scores(args, stream) : error;
}

}  // namespace lockstep::cuda
