// Attention over the paged KV cache, plain: a block a query head of a slot, for prefill and decode alike. Warp w takes keys w, w + kWarps,
// … counted from position 0, with a running maximum (Milakov, Gimelshein 2018); the warps' results are joined in order. A row's bits depend
// on its own query and keys alone. Bound: K and V of the context, read once for each query head; a faster kernel reads them once for all
// heads of a group.
#include "cuda/attention.cuh"
#include "cuda/families.h"

namespace lockstep::cuda {
namespace {

constexpr int kWarps = 4;
constexpr int kPerLane = kMaxHeadDim / kWarp;

// What a warp keeps of its keys.
struct Part {
  float max, sum;
  float acc[kPerLane];  // sum of exp(score - max) * V; lane l holds dims l, l + 32, …
};

__device__ void take_key(Part* part, float score, const KvCache& kv, size_t at, int lane) {
  const float max = fmaxf(part->max, score);
  const float keep = expf(part->max - max);  // 0 for the first key: its maximum was -infinity
  const float weight = expf(score - max);
  part->max = max;
  part->sum = part->sum * keep + weight;
#pragma unroll
  for (int i = 0; i < kPerLane; i++) {
    const int d = lane + i * kWarp;
    if (d < kv.head_dim) part->acc[i] = part->acc[i] * keep + weight * load_as_float(kv.v, kv.type, at + d);
  }
}

__global__ void attention_kernel(AttentionArgs a) {
  __shared__ float shared_max[kWarps], shared_sum[kWarps];
  __shared__ float shared_acc[kWarps][kMaxHeadDim];
  const int slot = blockIdx.x;
  const int h = blockIdx.y;
  const int warp = threadIdx.x / kWarp;
  const int lane = threadIdx.x % kWarp;
  const int dim = a.kv.head_dim;
  const int kv_head = (a.first_head + h) / a.group - a.first_kv_head;
  const auto [first, end] = keys_of(a, slot);
  const int32_t* table = a.tables + static_cast<size_t>(a.row_of[slot]) * a.table_len;

  float query[kPerLane];
  Part part = {-INFINITY, 0, {}};
#pragma unroll
  for (int i = 0; i < kPerLane; i++) {
    const int d = lane + i * kWarp;
    query[i] = d < dim ? a.q[static_cast<size_t>(slot) * a.ld_q + static_cast<size_t>(h) * dim + d] : 0.0f;
  }
  const int begin = first / kWarps * kWarps + warp;
  for (int key = begin < first ? begin + kWarps : begin; key < end; key += kWarps) {
    const size_t at = place_of(a.kv, table, kv_head, key);
    float score = 0;
#pragma unroll
    for (int i = 0; i < kPerLane; i++) {
      const int d = lane + i * kWarp;
      if (d < dim) score += query[i] * load_as_float(a.kv.k, a.kv.type, at + d);
    }
    score = warp_sum(score) * a.scale;
    if (a.softcap > 0) score = a.softcap * tanhf(score / a.softcap);
    take_key(&part, score, a.kv, at, lane);
  }

  if (lane == 0) {
    shared_max[warp] = part.max;
    shared_sum[warp] = part.sum;
  }
#pragma unroll
  for (int i = 0; i < kPerLane; i++) {
    const int d = lane + i * kWarp;
    if (d < dim) shared_acc[warp][d] = part.acc[i];
  }
  __syncthreads();
  float max = shared_max[0];
  for (int w = 1; w < kWarps; w++) max = fmaxf(max, shared_max[w]);
  float sum = 0;
  for (int w = 0; w < kWarps; w++) sum += shared_sum[w] * expf(shared_max[w] - max);
  for (int d = threadIdx.x; d < dim; d += blockDim.x) {
    float value = 0;
    for (int w = 0; w < kWarps; w++) value += shared_acc[w][d] * expf(shared_max[w] - max);
    store_row_value(a.out, slot, h * dim + d, value / sum);
  }
  const int width = a.heads * dim;
  for (int c = width + threadIdx.x; h == 0 && c < a.out.ld; c += blockDim.x) store_row_value(a.out, slot, c, 0.0f);
}

}  // namespace

Error attention(const AttentionArgs& args, Stream stream) {
  const Grid grid = {static_cast<unsigned>(args.slots), static_cast<unsigned>(args.heads)};
  return launch(attention_kernel, grid, kWarps * kWarp, args, stream);
}

}  // namespace lockstep::cuda
