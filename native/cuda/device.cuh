// What all kernels share. A .cu file uses a small part of CUDA: threadIdx, blockIdx, blockDim, gridDim, static __shared__ arrays,
// __syncthreads, __shfl_xor_sync, __threadfence, atomicInc, atomicAdd, atomicOr and atomicExch, the math of <cmath>, the casts between
// floats and their bits, and what the first part below defines. nvcc gives them here; native/test gives its own before it includes the file
// and runs the same source on the processor (native/test/fake/emulate.h). What goes beyond that (PTX) has a plain kernel beside it.
#pragma once

#include "cuda/kernels.h"

#ifdef __CUDACC__
#include <cuda_runtime.h>

namespace lockstep::cuda {

constexpr int kWarp = 32;
constexpr int kMaxDynamicShared = 98 << 10;  // 8.6, 8.9 and 12.x have 99 KiB, of which a block's static arrays are a part
constexpr int kMaxSharedOf90 = 227 << 10;    // what 9.0 has, for kernels that are its alone
constexpr int kSharedUnasked = 48 << 10;     // more must be asked for

struct Grid {
  unsigned x, y;
};

// The sum over a warp, on every lane; the order is that of a butterfly.
__device__ inline float warp_sum(float x) {
  for (int mask = kWarp / 2; mask > 0; mask /= 2) x += __shfl_xor_sync(0xffffffffu, x, mask);
  return x;
}

// The largest of a warp, on every lane.
__device__ inline uint64_t warp_max(uint64_t x) {
  for (int mask = kWarp / 2; mask > 0; mask /= 2) {
    const uint64_t other = __shfl_xor_sync(0xffffffffu, static_cast<unsigned long long>(x), mask);
    x = other > x ? other : x;
  }
  return x;
}

__device__ inline void add_wide(uint64_t* at, uint64_t x) {
  atomicAdd(reinterpret_cast<unsigned long long*>(at), static_cast<unsigned long long>(x));
}

// Of words that other devices, or the host, read and write too: what was written before the store is seen after a load that sees it.
__device__ inline void store_release_system(uint32_t* at, uint32_t value) {
  asm volatile("st.release.sys.global.u32 [%0], %1;" ::"l"(at), "r"(value) : "memory");
}
__device__ inline uint32_t load_acquire_system(const uint32_t* at) {
  uint32_t value;
  asm volatile("ld.acquire.sys.global.u32 %0, [%1];" : "=r"(value) : "l"(at) : "memory");
  return value;
}
__device__ inline uint64_t device_time_ns() {
  uint64_t now;
  asm volatile("mov.u64 %0, %globaltimer;" : "=l"(now));
  return now;
}

// What a launch gives a block beside its static arrays; every device has kMaxDynamicShared bytes for it.
__device__ inline uint8_t* dynamic_shared() {
  extern __shared__ uint4 shared_bytes_of_launch[];
  return reinterpret_cast<uint8_t*>(shared_bytes_of_launch);
}

// Until all that is before this kernel in the stream is done and seen.
__device__ inline void wait_for_earlier() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}
// Once every block has come here, the next kernel may begin, if it is one that begins early.
__device__ inline void let_next_begin() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
#endif
}

// Devices from 9.0 on can begin a kernel early; for others it is an attribute that they do not know.
inline bool begins_early() {
  int device = 0;
  int major = 0;
  return cudaGetDevice(&device) == cudaSuccess &&
         cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device) == cudaSuccess && major >= 9;
}

template <class Args>
Error launch_as(bool is_early, void (*kernel)(Args), Grid grid, int block, const Args& args, Stream stream, int shared_bytes) {
  if (grid.x == 0 || grid.y == 0) return kSuccess;
  if (shared_bytes > kSharedUnasked) {
    const Error error = cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, shared_bytes);
    if (error != kSuccess) return error;
  }
  cudaLaunchConfig_t config = {};
  config.dynamicSmemBytes = static_cast<size_t>(shared_bytes);
  config.gridDim = dim3(grid.x, grid.y);
  config.blockDim = dim3(static_cast<unsigned>(block));
  config.stream = reinterpret_cast<cudaStream_t>(stream);
  cudaLaunchAttribute early = {};
  early.id = cudaLaunchAttributeProgrammaticStreamSerialization;
  early.val.programmaticStreamSerializationAllowed = 1;
  config.attrs = &early;
  config.numAttrs = is_early && begins_early() ? 1 : 0;
  return cudaLaunchKernelEx(&config, kernel, args);
}

}  // namespace lockstep::cuda
#endif

namespace lockstep::cuda {

// The kernel takes its struct by value: it lies in constant memory. An empty grid is no error and no launch.
template <class Args>
Error launch(void (*kernel)(Args), Grid grid, int block, const Args& args, Stream stream, int shared_bytes = 0) {
  return launch_as(false, kernel, grid, block, args, stream, shared_bytes);
}

// Of a kernel that begins early: the device may start it as soon as the one before it lets it (let_next_begin, or its end), so that its
// launch, and what it reads of weights, take no time of their own (programmatic dependent launch, also inside recordings). What it owes:
//   * every thread calls wait_for_earlier(), and before that reads nothing but weights, which lie there since before the first step, and
//     writes nothing. Then all of the stream's earlier work is done, since the kernel before has waited in its turn, or has begun behind
//     it.
//   * what meets other devices' kernels (peer.cu) neither begins early nor lets others: blocks that wait for it would take the places of
//     blocks that it waits for, where ranks share a device.
template <class Args>
Error launch_early(void (*kernel)(Args), Grid grid, int block, const Args& args, Stream stream, int shared_bytes = 0) {
  return launch_as(true, kernel, grid, block, args, stream, shared_bytes);
}

// How a kernel begins that has nothing to do before.
__device__ inline void begin_early() {
  let_next_begin();
  wait_for_earlier();
}

constexpr int kMaxWarps = 32;  // of a block

__device__ inline float bf16_to_float(uint16_t bits) { return __uint_as_float(static_cast<unsigned>(bits) << 16); }

// Round to nearest even; NaN stays NaN.
__device__ inline uint16_t float_to_bf16(float x) {
  const unsigned bits = __float_as_uint(x);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return static_cast<uint16_t>(bits >> 16 | 0x40u);
  return static_cast<uint16_t>((bits + 0x7fffu + (bits >> 16 & 1u)) >> 16);
}

__device__ inline float load_as_float(const void* values, Type type, size_t at) {
  return type == Type::kF32 ? static_cast<const float*>(values)[at] : bf16_to_float(static_cast<const uint16_t*>(values)[at]);
}

__device__ inline void store_row_value(const RowsOut& out, int row, int column, float value) {
  const size_t at = static_cast<size_t>(row) * out.ld + column;
  if (out.f32 != nullptr) out.f32[at] = value;
  if (out.bf16 != nullptr) out.bf16[at] = float_to_bf16(value);
}

__device__ inline float with_bias(const GemmArgs& a, int column, float sum) { return a.bias == nullptr ? sum : sum + a.bias[column]; }

// A product's sum, where it does not gate.
__device__ inline void store_product(const GemmArgs& a, int row, int column, float sum) {
  float* out = a.out + static_cast<size_t>(row) * a.ld_out + column;
  const float value = with_bias(a, column, sum);
  *out = a.adds ? *out + value : value;
}

// The sum over a block, on every thread: warps in order.
__device__ inline float block_sum(float x) {
  __shared__ float parts[kMaxWarps];
  x = warp_sum(x);
  __syncthreads();  // the parts of an earlier sum have been read
  if (threadIdx.x % kWarp == 0) parts[threadIdx.x / kWarp] = x;
  __syncthreads();
  float sum = 0;
  for (int w = 0; w < static_cast<int>(blockDim.x) / kWarp; w++) sum += parts[w];
  return sum;
}

// Of a block that norms rows: the order of its sums goes with it.
constexpr int kNormThreads = 256;

// mean and factor of a norm: the value at i becomes (x[i] - mean) * factor * (weight[i] + offset) [+ bias[i]].
struct NormScale {
  float mean, factor;
};

// By a whole block, of n values of x.
__device__ inline NormScale norm_scale(const float* x, int n, float eps, bool layer_norm) {
  float mean = 0;
  if (layer_norm) {
    float sum = 0;
    for (int i = threadIdx.x; i < n; i += blockDim.x) sum += x[i];
    mean = block_sum(sum) / static_cast<float>(n);
  }
  float squares = 0;
  for (int i = threadIdx.x; i < n; i += blockDim.x) squares += (x[i] - mean) * (x[i] - mean);
  return {mean, 1.0f / sqrtf(block_sum(squares) / static_cast<float>(n) + eps)};
}

__device__ inline float normed(const NormWeights& norm, NormScale scale, float x, int i) {
  const float y = (x - scale.mean) * scale.factor;
  const float weight = norm.weight[i] + norm.weight_offset;
  // Said, since a compiler makes one rounding of two in one kernel and not in another.
  return norm.bias != nullptr ? fmaf(y, weight, norm.bias[i]) : y * weight;
}

// By a whole block: the norm of n values of x as a row of `out`, zeros behind them.
__device__ inline void store_normed(const RowsOut& out, int row, const NormWeights& norm, const float* x, int n) {
  const NormScale scale = norm_scale(x, n, norm.eps, norm.layer_norm);
  for (int c = threadIdx.x; c < out.ld; c += blockDim.x) store_row_value(out, row, c, c < n ? normed(norm, scale, x[c], c) : 0.0f);
}

}  // namespace lockstep::cuda
