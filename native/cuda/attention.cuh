// What the attention kernels share: which keys a slot sees, and where they lie.
#pragma once

#include "cuda/device.cuh"

namespace lockstep::cuda {

// Keys first … end - 1, by position.
struct KeySpan {
  int first, end;
};

__device__ inline KeySpan keys_of(const AttentionArgs& a, int slot) {
  const int position = a.position[slot];
  const int first = a.window > 0 && position >= a.window ? position - a.window + 1 : 0;
  if (!a.sees_all) return {first, position + 1};
  const int end = a.end_of[slot];
  return {first, a.window > 0 && end > position + a.window ? position + a.window : end};
}

// The place of a key's first value in K and in V.
__device__ inline size_t place_of(const KvCache& kv, const int32_t* table, int kv_head, int key) {
  const size_t block = table[key / kv.block_size];
  return ((block * kv.kv_heads + kv_head) * kv.block_size + key % kv.block_size) * kv.head_dim;
}

}  // namespace lockstep::cuda
