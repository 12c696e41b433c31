// What the sampling kernels share: values of a row and their order, exp in fixed point, and the search for the end of a set of candidates.
//
// Nothing depends on an order of threads: maxima are of keys, which are all different, and sums are of integers (architecture, 5.4). The
// floats are made by the operations of cpu/isa/math.h, one by one, so that they have the same bits.
#pragma once

#include "common/gumbel.h"
#include "cuda/device.cuh"

namespace lockstep::cuda {

constexpr int kSampleThreads = 256;  // of every sampling kernel; a thread has ids t, t + 256, t + 512 and t + 768 of a tile
constexpr int kIdsOfThread = kSampleTile / kSampleThreads;
constexpr int kCandidatesMax = 1024;  // that are compared with each other
static_assert(kSampleTile == kGumbelTile && kSampleThreads == static_cast<int>(kGumbelCounters) && kSampleThreads == kDepthBins);
static_assert(kSampledTopMax <= kCandidatesMax);

__device__ inline int tiles_of(const SampleArgs& a) { return (a.vocab + kSampleTile - 1) / kSampleTile; }

// --- order: a larger key is better; equal values, the lower id. What is not a number is worse than all. ---

__device__ inline uint64_t key_of(float value, int id) {
  const unsigned bits = __float_as_uint(value + 0.0f);  // -0 is 0
  const unsigned ordered = value != value ? 0 : (bits & 0x80000000u) != 0 ? ~bits : bits | 0x80000000u;
  return static_cast<uint64_t>(ordered) << 32 | (0xffffffffu - static_cast<unsigned>(id));
}
__device__ inline int id_of_key(uint64_t key) { return static_cast<int>(0xffffffffu - static_cast<unsigned>(key)); }
__device__ inline float value_of_key(uint64_t key) {
  const unsigned ordered = static_cast<unsigned>(key >> 32);
  if (ordered == 0) return -INFINITY;
  return __uint_as_float((ordered & 0x80000000u) != 0 ? ordered & 0x7fffffffu : ~ordered);
}
__device__ inline bool is_finite(float x) { return fabsf(x) < INFINITY; }

// The largest key of a block, on every thread.
__device__ inline uint64_t block_max(uint64_t key) {
  __shared__ uint64_t parts[kSampleThreads / kWarp];
  key = warp_max(key);
  __syncthreads();  // the parts of an earlier maximum have been read
  if (threadIdx.x % kWarp == 0) parts[threadIdx.x / kWarp] = key;
  __syncthreads();
  for (int w = 0; w < kSampleThreads / kWarp; w++) key = parts[w] > key ? parts[w] : key;
  return key;
}

// --- values ---

__device__ inline float raw_logit(const SampleArgs& a, int row, int id) {
  size_t at = static_cast<size_t>(row) * a.ld + id;
  if (a.world > 1) {
    constexpr int kUnit = 32;  // kVocabUnit of common/output_sampler.h
    const int units = (a.vocab + kUnit - 1) / kUnit;
    const int most = (units + a.world - 1) / a.world * kUnit;  // of the first ranks
    const int larger = units % a.world == 0 ? a.world : units % a.world;
    int rank = id / most;
    int within = id - rank * most;
    if (rank >= larger) {
      const int rest = id - larger * most;
      rank = larger + rest / (most - kUnit);
      within = rest % (most - kUnit);
    }
    at = (static_cast<size_t>(rank) * a.part_rows + row) * a.ld + within;
  }
  return a.logits[at];
}

__device__ inline bool is_edited(const SampleRow& r) { return r.mask >= 0 || r.num_bias > 0 || r.num_tokens > 0; }

// A row of values: the logits as they are, or as they are sampled from.
struct RowValues {
  const SampleArgs& a;
  int row;
  bool is_raw, is_edited;
  float temperature;  // 1 or 0: values are not divided

  __device__ float at(int id) const {
    const float x = is_edited ? a.edited[static_cast<size_t>(row) * a.vocab + id] : raw_logit(a, row, id);
    return temperature == 0 || temperature == 1 ? x : x / temperature;
  }
  // The best of a tile.
  __device__ uint64_t best_of(int tile) const {
    const SampleTile& t = a.tiles[static_cast<size_t>(row) * tiles_of(a) + tile];
    return is_raw ? t.raw : t.key;
  }
};
__device__ inline RowValues raw_values(const SampleArgs& a, int row) { return {a, row, true, false, 1}; }
__device__ inline RowValues sampled_values(const SampleArgs& a, int row) {
  return {a, row, false, is_edited(a.rows[row]), a.rows[row].temperature};
}

// exp(x) of cpu/isa/math.h; 0 of what is not a number.
__device__ inline float exp_of(float x) {
  if (!(x >= -87.3f)) return 0;
  x = x > 88.0f ? 88.0f : x;
  const float n = rintf(x * 1.44269504f);
  float r = fmaf(n, -0.693359375f, x);
  r = fmaf(n, 2.12194440e-4f, r);
  float p = 1.0f / 5040;
  p = fmaf(p, r, 1.0f / 720);
  p = fmaf(p, r, 1.0f / 120);
  p = fmaf(p, r, 1.0f / 24);
  p = fmaf(p, r, 1.0f / 6);
  p = fmaf(p, r, 0.5f);
  p = fmaf(p * r, r, r);
  return (p + 1.0f) * __uint_as_float(static_cast<unsigned>(static_cast<int>(n) + 127) << 23);
}

// The mass of a value: exp(value - max) in units of 2^-44.
__device__ inline uint64_t mass_of(float value, float max) { return __float2ull_rn(exp_of(value - max) * 17592186044416.0f); }

// How far below the maximum: bins of 1/8, the last for all that is further down, where a mass is 0. A worse value is never in a bin before
// that of a better one.
__device__ inline int depth_bin(float value, float max) {
  const float depth = (max - value) * 8.0f;
  return depth < kDepthBins - 1 ? static_cast<int>(depth) : kDepthBins - 1;
}

// --- the end of a set ---

struct BinSums {
  uint32_t counts[kDepthBins];
  uint64_t masses[kDepthBins];
};
struct CutSearch {
  BinSums depths;  // of the whole row
  BinSums parts;   // of one bin of it, and so on
  uint64_t keys[kCandidatesMax], masses[kCandidatesMax];
  uint32_t num_keys;
  int bin;  // -1: everything together falls short
  uint64_t count_before, mass_before;
  uint64_t cut, mass;
};

// The bin in which `goal` (candidates, or mass) is reached, best bins first. By a whole block, a thread a bin.
__device__ inline void find_bin(const BinSums& sums, bool by_mass, uint64_t goal, CutSearch* s) {
  __syncthreads();
  if (threadIdx.x == 0) s->bin = -1;
  __syncthreads();
  uint64_t count = 0, mass = 0;
  for (int b = 0; b < static_cast<int>(threadIdx.x); b++) {
    count += sums.counts[b];
    mass += sums.masses[b];
  }
  const uint64_t before = by_mass ? mass : count;
  const uint64_t own = by_mass ? sums.masses[threadIdx.x] : sums.counts[threadIdx.x];
  if (before < goal && goal - before <= own) {
    s->bin = threadIdx.x;
    s->count_before = count;
    s->mass_before = mass;
  }
  __syncthreads();
}

// Calls use(key, value) for every candidate of the row, by a whole block: no worse than `least` (and no infinity), of that depth bin (-1:
// any), with a key from low to high.
template <class Use>
__device__ void for_members(const RowValues& values, float max, float least, int bin, uint64_t low, uint64_t high, Use use) {
  const int tiles = tiles_of(values.a);
  for (int tile = 0; tile < tiles; tile++) {
    const uint64_t best = values.best_of(tile);
    if (best < low || (bin >= 0 && depth_bin(value_of_key(best), max) > bin)) continue;
    for (int i = 0; i < kIdsOfThread; i++) {
      const int id = tile * kSampleTile + i * kSampleThreads + threadIdx.x;
      if (id >= values.a.vocab) break;
      const float value = values.at(id);
      if (!is_finite(value) || value < least || (bin >= 0 && depth_bin(value, max) != bin)) continue;
      const uint64_t key = key_of(value, id);
      if (key >= low && key <= high) use(key, value);
    }
  }
}

__device__ inline void clear(BinSums* sums) {
  __syncthreads();
  sums->counts[threadIdx.x] = 0;
  sums->masses[threadIdx.x] = 0;
  __syncthreads();
}

// The worst of the smallest set of best candidates that has `goal` of them (or of their mass), into s->cut; s->mass is the set's mass.
// s->depths holds the row's bins. By a whole block. While the bin where the set ends has too many candidates to compare each with each, it
// is cut into 256 by their keys: a look at the row each time.
__device__ inline void find_cut(const RowValues& values, float max, float least, bool by_mass, uint64_t goal, CutSearch* s) {
  find_bin(s->depths, by_mass, goal, s);
  const int bin = s->bin;
  if (bin < 0) {  // all are in
    uint64_t mass = 0;
    for (int b = 0; b < kDepthBins; b++) mass += s->depths.masses[b];
    __syncthreads();
    if (threadIdx.x == 0) s->cut = 0, s->mass = mass;
    __syncthreads();
    return;
  }
  uint64_t count_before = s->count_before, mass_before = s->mass_before;
  uint32_t num = s->depths.counts[bin];
  uint64_t low = 0, high = ~uint64_t{0};
  // Where the keys of the bin lie, within rounding; what lies beyond belongs to the outermost parts.
  uint64_t from = bin == kDepthBins - 1 ? 0 : key_of(max - static_cast<float>(bin + 2) / 8, INT32_MAX);
  uint64_t to = bin == 0 ? key_of(max, 0) : key_of(max - static_cast<float>(bin - 1) / 8, 0);
  while (num > kCandidatesMax) {
    int shift = 0;
    while ((to - from) >> shift >= kDepthBins) shift++;
    clear(&s->parts);
    for_members(values, max, least, bin, low, high, [&](uint64_t key, float value) {
      const uint64_t part = key <= from ? 0 : (key - from) >> shift;
      const int at = part >= kDepthBins ? 0 : kDepthBins - 1 - static_cast<int>(part);
      atomicAdd(&s->parts.counts[at], 1u);
      add_wide(&s->parts.masses[at], mass_of(value, max));
    });
    find_bin(s->parts, by_mass, goal - (by_mass ? mass_before : count_before), s);
    const int part = kDepthBins - 1 - s->bin;
    const uint64_t part_low = from + (static_cast<uint64_t>(part) << shift);
    const uint64_t part_high = part_low + (uint64_t{1} << shift) - 1;
    if (part > 0) low = part_low;
    if (part < kDepthBins - 1) high = part_high;
    count_before += s->count_before;
    mass_before += s->mass_before;
    num = s->parts.counts[s->bin];
    from = low, to = high;
  }
  __syncthreads();
  if (threadIdx.x == 0) s->num_keys = 0;
  __syncthreads();
  for_members(values, max, least, bin, low, high, [&](uint64_t key, float value) {
    const uint32_t at = atomicAdd(&s->num_keys, 1u);
    s->keys[at] = key;
    s->masses[at] = mass_of(value, max);
  });
  __syncthreads();
  for (uint32_t i = threadIdx.x; i < s->num_keys; i += kSampleThreads) {
    uint64_t count = count_before, mass = mass_before;
    for (uint32_t j = 0; j < s->num_keys; j++) {
      if (s->keys[j] <= s->keys[i]) continue;
      count++;
      mass += s->masses[j];
    }
    const uint64_t before = by_mass ? mass : count;
    if (before >= goal || goal - before > (by_mass ? s->masses[i] : 1)) continue;
    s->cut = s->keys[i];
    s->mass = mass + s->masses[i];
  }
  __syncthreads();
}

// The last of a row's blocks to come here, which then sees what all of them have written. Resets the ticket.
__device__ inline bool is_last_of_row(const SampleArgs& a, int row) {
  __shared__ bool is_last;
  __threadfence();
  __syncthreads();
  if (threadIdx.x == 0) {
    is_last = atomicAdd(&a.tickets[row], 1u) + 1 == static_cast<uint32_t>(tiles_of(a));
    if (is_last) a.tickets[row] = 0;
  }
  __syncthreads();
  __threadfence();
  return is_last;
}

// Adds a block's bins to the row's.
__device__ inline void add_bins(const SampleArgs& a, int row, const BinSums& sums) {
  __syncthreads();
  const int b = threadIdx.x;
  if (sums.counts[b] == 0) return;
  DepthBin* bin = &a.bins[static_cast<size_t>(row) * kDepthBins + b];
  atomicAdd(&bin->count, sums.counts[b]);
  add_wide(&bin->mass, sums.masses[b]);
}

// Takes the row's bins, and leaves them empty for the next kernel that fills them.
__device__ inline void take_bins(const SampleArgs& a, int row, BinSums* sums) {
  const int b = threadIdx.x;
  DepthBin* bin = &a.bins[static_cast<size_t>(row) * kDepthBins + b];
  sums->counts[b] = bin->count;
  sums->masses[b] = bin->mass;
  bin->count = 0;
  bin->mass = 0;
  __syncthreads();
}

// Weighs a tile of the row into its bins: candidates of at least `least`.
__device__ inline void weigh_tile(const RowValues& values, int tile, float max, float least, BinSums* sums) {
  clear(sums);
  for (int i = 0; i < kIdsOfThread; i++) {
    const int id = tile * kSampleTile + i * kSampleThreads + threadIdx.x;
    if (id >= values.a.vocab) break;
    const float value = values.at(id);
    if (!is_finite(value) || value < least) continue;
    const int bin = depth_bin(value, max);
    atomicAdd(&sums->counts[bin], 1u);
    add_wide(&sums->masses[bin], mass_of(value, max));
  }
  add_bins(values.a, values.row, *sums);
}

Error sample_scores(const SampleArgs& args, Stream stream);

}  // namespace lockstep::cuda
