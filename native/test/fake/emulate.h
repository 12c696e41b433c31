// CUDA's execution model on the processor, as far as native/cuda/device.cuh uses it: a block's threads are fibers that take turns at
// __syncthreads and __shfl_xor_sync, so that the very source of a kernel runs and is checked without a device. Include it, then a .cu file.
// What it cannot show is what only a device has: caches, memory order between blocks, time.
#pragma once

#include <chrono>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <functional>
#include <string>
#include <vector>

#include "cuda/kernels.h"

#define __global__
#define __device__
#define __launch_bounds__(...)
#define __grid_constant__
// A block's threads share one thread of the processor.
#define __shared__ static thread_local

namespace lockstep::test {

struct Index {
  unsigned x, y;
};
struct Lane {
  Index thread, block, block_dim, grid_dim;
};
extern thread_local Lane lane_now;

// Runs kernel() for every thread of every block, blocks in order. "" or what is wrong: a barrier that some threads never come to; or where
// it begins early, a thread that ends and has not waited for what is before it.
std::string run_grid(Index grid, int block, int shared_bytes, bool is_early, const std::function<void()>& kernel);
void note_wait();
// From now on a thread of a kernel that begins early sees and leaves bytes of 1s there until it has waited: as on a device, where what is
// earlier may not be done by then. Of kernels that run on this thread; none: as before.
struct Withheld {
  uint8_t* at;
  size_t bytes;
};
void withhold(std::vector<Withheld> withheld);
void sync_block();
// The word that the lane `mask` away gives at the same call.
uint32_t exchange_in_warp(uint32_t word, int mask);
// What the whole warp does at once: `work` gets what each lane has given, which may point into the lanes' own variables.
void do_in_warp(void* mine, void (*work)(void* const* lanes));
uint8_t* shared_of_launch();
int shared_bytes_of_launch();
// Other threads of the block go on before this one does.
void give_turn();
// The caller has done what others may wait for. Where nobody has since all had their turn, and some still wait, the launch fails.
void note_move();
// What the kernel did that a device would punish: the launch fails with the first.
void note_fault(const std::string& fault);
// The sum of what the lanes of the warp give, in the order of a butterfly.
float sum_in_warp(float x);
uint64_t max_in_warp(uint64_t x);
void let_others_run();
// Whether what this device writes there is lost (FakeMachine::lost).
bool is_lost(const void* at);

}  // namespace lockstep::test

namespace lockstep::cuda {

constexpr int kWarp = 32;
constexpr int kMaxDynamicShared = 98 << 10;
constexpr int kMaxSharedOf90 = 227 << 10;  // the fake devices are of 9.0

struct Grid {
  unsigned x, y;
};

// Here all that is earlier is done, and nothing begins early.
inline void wait_for_earlier() { test::note_wait(); }
inline void let_next_begin() {}

inline uint8_t* dynamic_shared() { return test::shared_of_launch(); }

// Other devices' kernels are run by other threads, of which there may be more than cores: whoever waits for one lets them.
inline void store_release_system(uint32_t* at, uint32_t value) {
  if (!test::is_lost(at)) __atomic_store_n(at, value, __ATOMIC_RELEASE);
}
inline uint32_t load_acquire_system(const uint32_t* at) {
  test::let_others_run();
  return __atomic_load_n(at, __ATOMIC_ACQUIRE);
}
inline uint64_t device_time_ns() { return std::chrono::nanoseconds(std::chrono::steady_clock::now().time_since_epoch()).count(); }

// In place of five exchanges: most of what an emulated step costs is the changing of turns.
inline float warp_sum(float x) { return test::sum_in_warp(x); }
inline uint64_t warp_max(uint64_t x) { return test::max_in_warp(x); }
inline void add_wide(uint64_t* at, uint64_t x) { *at += x; }

// Of fake/cuda_runtime.cpp: checks stream, device and every pointer among the arguments, and puts the work into the stream.
Error put_kernel(Stream stream, const void* args, size_t bytes, std::function<std::string()> work);

template <class Args>
Error launch_as(bool is_early, void (*kernel)(Args), Grid grid, int block, const Args& args, Stream stream, int shared_bytes) {
  if (grid.x == 0 || grid.y == 0) return kSuccess;
  if (shared_bytes > kMaxSharedOf90) return kInvalidValue;
  Args words = args;
#if defined(__has_builtin)
#if __has_builtin(__builtin_clear_padding)
  __builtin_clear_padding(&words);  // what is left there may look like a pointer
#endif
#endif
  return put_kernel(stream, &words, sizeof(Args),
                    [=] { return test::run_grid({grid.x, grid.y}, block, shared_bytes, is_early, [&] { kernel(args); }); });
}

}  // namespace lockstep::cuda

#define threadIdx (::lockstep::test::lane_now.thread)
#define blockIdx (::lockstep::test::lane_now.block)
#define blockDim (::lockstep::test::lane_now.block_dim)
#define gridDim (::lockstep::test::lane_now.grid_dim)

inline void __syncthreads() { lockstep::test::sync_block(); }
// A launch's blocks take turns.
inline void __threadfence() {}
inline unsigned atomicInc(unsigned* at, unsigned last) {
  const unsigned was = *at;
  *at = was >= last ? 0 : was + 1;
  return was;
}

template <class T>
T __shfl_xor_sync(unsigned, T value, int mask) {
  static_assert(sizeof(T) == sizeof(uint32_t), "a word");
  uint32_t word;
  std::memcpy(&word, &value, sizeof(word));
  word = lockstep::test::exchange_in_warp(word, mask);
  std::memcpy(&value, &word, sizeof(word));
  return value;
}

// Threads take turns too, and none is interrupted in between.
template <class T>
T lockstep_exchange(T* at, T value) {
  const T old = *at;
  *at = value;
  return old;
}
template <class T>
T atomicAdd(T* at, T value) {
  return lockstep_exchange(at, static_cast<T>(*at + value));
}
template <class T>
T atomicOr(T* at, T value) {
  return lockstep_exchange(at, static_cast<T>(*at | value));
}
template <class T>
T atomicExch(T* at, T value) {
  return lockstep_exchange(at, value);
}

inline unsigned long long __float2ull_rn(float x) { return static_cast<unsigned long long>(std::nearbyint(x)); }
inline long long __double_as_longlong(double x) {
  long long bits;
  std::memcpy(&bits, &x, sizeof(bits));
  return bits;
}
inline double __longlong_as_double(long long bits) {
  double x;
  std::memcpy(&x, &bits, sizeof(x));
  return x;
}
inline float __uint_as_float(unsigned bits) {
  float value;
  std::memcpy(&value, &bits, sizeof(value));
  return value;
}
inline unsigned __float_as_uint(float value) {
  unsigned bits;
  std::memcpy(&bits, &value, sizeof(bits));
  return bits;
}

#include "fake/tensor_core.h"
#include "fake/wgmma.h"
