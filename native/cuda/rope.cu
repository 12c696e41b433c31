// q and k norm, rotary position embedding (Su et al. 2021, in the half-split order of Hugging Face: value i pairs with i + rotary_dim / 2)
// and the KV cache's new entries. A block a head of a slot. Bound: the bytes of qkv. The sines and cosines, in double, which devices are
// slow at, are made once a step for all layers and heads, as on the CPU, and with its bits.
#include "cuda/device.cuh"
#include "cuda/families.h"

namespace lockstep::cuda {
namespace {

constexpr int kThreads = 64;

__device__ void store(const KvCache& kv, void* cache, size_t at, float value) {
  if (kv.type == Type::kF32) {
    static_cast<float*>(cache)[at] = value;
  } else {
    static_cast<uint16_t*>(cache)[at] = float_to_bf16(value);
  }
}

__global__ void rope_table_kernel(RopeTableArgs a) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= a.slots * a.half) return;
  // The angle is rounded to float as transformers does; then its sine and cosine in double, since it may be many turns.
  const double angle = static_cast<double>(static_cast<float>(a.position[i / a.half]) * a.inverse_frequencies[i % a.half]);
  a.cosines[i] = static_cast<float>(cos(angle) * a.attention_factor);
  a.sines[i] = static_cast<float>(sin(angle) * a.attention_factor);
}

__global__ void rope_append_kernel(RopeAppendArgs a) {
  __shared__ float head[kMaxHeadDim];
  begin_early();
  const int slot = blockIdx.x;
  const int h = blockIdx.y;  // q heads, then k heads
  const int dim = a.kv.head_dim;
  float* row = a.qkv + static_cast<size_t>(slot) * a.ld;
  float* from = row + static_cast<size_t>(h) * dim;
  const bool is_key = h >= a.heads;
  if (a.normed) {
    const float* weight = is_key ? a.k_norm : a.q_norm;
    const NormScale scale = norm_scale(from, dim, a.eps, false);
    for (int i = threadIdx.x; i < dim; i += blockDim.x) head[i] = from[i] * scale.factor * (weight[i] + a.weight_offset);
  } else {
    for (int i = threadIdx.x; i < dim; i += blockDim.x) head[i] = from[i];
  }
  __syncthreads();
  const int half = a.rotary_dim / 2;
  const size_t of_slot = static_cast<size_t>(slot) * half;
  for (int i = threadIdx.x; i < half; i += blockDim.x) {
    const float c = a.cosines[of_slot + i];
    const float s = a.sines[of_slot + i];
    const float left = head[i];
    const float right = head[half + i];
    head[i] = left * c - right * s;
    head[half + i] = right * c + left * s;
  }
  __syncthreads();
  if (!is_key) {
    for (int i = threadIdx.x; i < dim; i += blockDim.x) from[i] = head[i];
    return;
  }
  const int kv_head = h - a.heads;
  const int position = a.position[slot];
  const size_t block = a.tables[static_cast<size_t>(a.row_of[slot]) * a.table_len + position / a.kv.block_size];
  const size_t at = ((block * a.kv.kv_heads + kv_head) * a.kv.block_size + position % a.kv.block_size) * dim;
  const float* value = from + static_cast<size_t>(a.kv.kv_heads) * dim;
  for (int i = threadIdx.x; i < dim; i += blockDim.x) {
    store(a.kv, a.kv.k, at + i, head[i]);
    store(a.kv, a.kv.v, at + i, value[i]);
  }
}

}  // namespace

Error rope_table(const RopeTableArgs& args, Stream stream) {
  const int blocks = (args.slots * args.half + kThreads - 1) / kThreads;
  return launch(rope_table_kernel, {static_cast<unsigned>(blocks), 1}, kThreads, args, stream);
}
Error rope_append(const RopeAppendArgs& args, Stream stream) {
  const unsigned heads = static_cast<unsigned>(args.heads + args.kv.kv_heads);
  return launch_early(rope_append_kernel, {static_cast<unsigned>(args.slots), heads}, kThreads, args, stream);
}

}  // namespace lockstep::cuda
