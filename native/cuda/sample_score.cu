// What the raw logits say of a row's id: its rank, the sum that its log-probability needs, and the best logits, or those of ids that were
// asked for. The host takes the logarithms (cuda/sampling.cpp), so that they are the CPU's. Two more looks at the logits.
#include "cuda/families.h"
#include "cuda/sample.cuh"

namespace lockstep::cuda {
namespace {

__global__ void __launch_bounds__(kSampleThreads) score_kernel(SampleArgs a) {
  __shared__ BinSums sums;
  begin_early();
  const int row = blockIdx.y;
  if (a.rows[row].num_top < 0) return;
  SampleResult& result = a.results[row];
  const RowValues values = raw_values(a, row);
  weigh_tile(values, blockIdx.x, result.max, -INFINITY, &sums);
  const float own = values.at(result.id < 0 ? 0 : result.id);
  int better = 0;
  for (int i = 0; i < kIdsOfThread; i++) {
    const int id = blockIdx.x * kSampleTile + i * kSampleThreads + threadIdx.x;
    if (id < a.vocab && values.at(id) > own) better++;
  }
  if (better > 0) atomicAdd(&result.rank, better);
}

__global__ void __launch_bounds__(kSampleThreads) tell_kernel(SampleArgs a) {
  __shared__ CutSearch search;
  begin_early();
  const int row = blockIdx.x;
  const SampleRow& r = a.rows[row];
  if (r.num_top < 0) return;
  SampleResult& result = a.results[row];
  const RowValues values = raw_values(a, row);
  take_bins(a, row, &search.depths);
  if (threadIdx.x == 0) {
    uint64_t sum = 0;
    for (int b = 0; b < kDepthBins; b++) sum += search.depths.masses[b];
    result.sum = sum;
    result.value = values.at(result.id < 0 ? 0 : result.id);
  }
  int32_t* ids = a.top_ids + static_cast<size_t>(row) * a.max_top;
  float* tops = a.top_values + static_cast<size_t>(row) * a.max_top;
  for (int i = threadIdx.x; i < r.num_ids; i += kSampleThreads) {
    const int id = a.extras[r.first_id + i];
    const bool is_there = id >= 0 && id < a.vocab;
    ids[i] = is_there ? id : kNoCandidate;
    tops[i] = is_there ? values.at(id) : -INFINITY;
  }
  if (r.num_ids > 0 || r.num_top == 0) return;
  find_cut(values, result.max, -INFINITY, false, static_cast<uint64_t>(r.num_top), &search);
  const uint64_t cut = search.cut;
  if (threadIdx.x == 0) search.num_keys = 0;
  for (int i = threadIdx.x; i < r.num_top; i += kSampleThreads) {
    ids[i] = kNoCandidate;
    tops[i] = -INFINITY;
  }
  __syncthreads();
  for_members(values, result.max, -INFINITY, -1, cut, ~uint64_t{0},
              [&](uint64_t key, float) { search.keys[atomicAdd(&search.num_keys, 1u)] = key; });
  __syncthreads();
  for (uint32_t i = threadIdx.x; i < search.num_keys; i += kSampleThreads) {
    int at = 0;
    for (uint32_t j = 0; j < search.num_keys; j++) at += search.keys[j] > search.keys[i] ? 1 : 0;
    ids[at] = id_of_key(search.keys[i]);
    tops[at] = value_of_key(search.keys[i]);
  }
}

}  // namespace

Error sample_scores(const SampleArgs& args, Stream stream) {
  const unsigned count = static_cast<unsigned>(args.count);
  const unsigned tiles = static_cast<unsigned>((args.vocab + kSampleTile - 1) / kSampleTile);
  const Error error = launch_early(score_kernel, {tiles, count}, kSampleThreads, args, stream);
  return error == kSuccess ? launch_early(tell_kernel, {count, 1}, kSampleThreads, args, stream) : error;
}

}  // namespace lockstep::cuda
