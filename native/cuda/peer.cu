// What ranks do together whose devices reach each other's memory: the sum of their parts, joined with what follows it (the norm of the sum,
// the residual add, the next norm), and the gathering of the logits.
//
// Each block meets the block of its number on every other rank: it writes the number of the meeting into their memory and waits, with a
// deadline, for theirs. The numbers only grow, so that nothing is reset and a recording can be launched again. All blocks of a launch run
// at once (kPeerBlocks), else they would wait for ever. Ranks are summed in order 0, 1, …, whichever way is taken, so that all hold the
// same bits:
//   one shot: every rank reads all parts of all rows. One meeting; world * rows * n floats over the links.
//   two shots: rank r sums rows r, r + world, … into its own part, then all read these sums. Two meetings; 2 * rows * n floats.
// A part is written again only when every rank has read it: there are two, used in turn, and a meeting shows that the sum before is over.
#include "cuda/device.cuh"
#include "cuda/families.h"

namespace lockstep::cuda {
namespace {

constexpr int kMaxThreads = kMaxWarps * kWarp;
constexpr unsigned kTurnsBetweenLooks = 64;  // at the clock and the host's word, which are slow to read

struct alignas(16) Four {
  float at[4];
};

// When it returns, what the block of this number wrote on any rank before is seen here; unless the meeting was given up.
__device__ void meet(const PeerLinks& links, uint32_t number) {
  __syncthreads();
  const int peer = threadIdx.x;
  if (peer < links.world) {
    store_release_system(links.arrived[peer] + links.rank * kPeerBlocks + blockIdx.x, number);
    const uint32_t* theirs = links.arrived[links.rank] + peer * kPeerBlocks + blockIdx.x;
    const uint64_t start = device_time_ns();
    for (unsigned turn = 1; static_cast<int32_t>(load_acquire_system(theirs) - number) < 0; turn++) {
      if (turn % kTurnsBetweenLooks != 0) continue;
      if (load_acquire_system(links.stop) != 0) break;
      if (device_time_ns() - start < links.timeout_ns) continue;
      store_release_system(links.stop, kPeerLate);
      break;
    }
  }
  __syncthreads();
}

// Four values of a row, summed over ranks in order. All are on their way before the first is used.
__device__ Four sum_at(const PeerJoinArgs& a, size_t vector) {
  Four parts[kMaxPeers] = {};
#pragma unroll
  for (int r = 0; r < kMaxPeers; r++) {
    if (r < a.links.world) parts[r] = reinterpret_cast<const Four*>(a.part[r])[vector];
  }
  Four sum = parts[0];
#pragma unroll
  for (int r = 1; r < kMaxPeers; r++) {
    if (r >= a.links.world) break;
#pragma unroll
    for (int i = 0; i < 4; i++) sum.at[i] += parts[r].at[i];
  }
  return sum;
}

// What becomes of a row when `sum_of` gives its sum, four values at a time.
template <class SumOf>
__device__ void finish_row(const PeerJoinArgs& a, int row, SumOf sum_of) {
  const size_t first = static_cast<size_t>(row) * a.ld;
  const bool is_normed = a.norm.weight != nullptr;
  float* x = a.x + first;
  float* to = is_normed ? a.sum + first : x;
  for (int v = threadIdx.x; v < a.ld / 4; v += blockDim.x) {
    Four value = sum_of(first / 4 + v);
    Four* at = reinterpret_cast<Four*>(to) + v;
    if (a.adds && !is_normed) {
#pragma unroll
      for (int i = 0; i < 4; i++) value.at[i] = at->at[i] + value.at[i];
    }
    *at = value;
  }
  __syncthreads();  // values were written four by four, and are read one by one
  if (is_normed) {
    const NormScale scale = norm_scale(to, a.n, a.norm.eps, a.norm.layer_norm);
    for (int c = threadIdx.x; c < a.n; c += blockDim.x) x[c] += normed(a.norm, scale, to[c], c);
  }
  if (a.next.weight == nullptr) return;
  store_normed(a.out, row, a.next, x, a.n);
}

__global__ void __launch_bounds__(kMaxThreads) one_shot_kernel(PeerJoinArgs a) {
  const uint32_t number = a.links.met[blockIdx.x] + 1;
  meet(a.links, number);
  for (int row = blockIdx.x; row < a.rows; row += gridDim.x) finish_row(a, row, [&a](size_t vector) { return sum_at(a, vector); });
  if (threadIdx.x == 0) a.links.met[blockIdx.x] = number;
}

// Row i is summed by rank i % world, and on every rank by the same block.
__global__ void __launch_bounds__(kMaxThreads) two_shots_kernel(PeerJoinArgs a) {
  const int world = a.links.world;
  const uint32_t number = a.links.met[blockIdx.x] + 2;
  meet(a.links, number - 1);
  for (int row = blockIdx.x * world + a.links.rank; row < a.rows; row += gridDim.x * world) {
    const size_t first = static_cast<size_t>(row) * a.ld / 4;
    Four* own = reinterpret_cast<Four*>(a.part[a.links.rank]);
    for (int v = threadIdx.x; v < a.ld / 4; v += blockDim.x) own[first + v] = sum_at(a, first + v);
  }
  meet(a.links, number);
  for (int group = blockIdx.x; group * world < a.rows; group += gridDim.x) {
    for (int r = 0; r < world && group * world + r < a.rows; r++) {
      const Four* sums = reinterpret_cast<const Four*>(a.part[r]);
      finish_row(a, group * world + r, [sums](size_t vector) { return sums[vector]; });
    }
  }
  if (threadIdx.x == 0) a.links.met[blockIdx.x] = number;
}

__global__ void __launch_bounds__(kMaxThreads) gather_kernel(PeerGatherArgs a) {
  const uint32_t number = a.links.met[blockIdx.x] + 2;
  meet(a.links, number - 1);
  for (int r = 0; r < a.links.world; r++) {
    const Four* from = reinterpret_cast<const Four*>(a.part[r]);
    Four* to = reinterpret_cast<Four*>(a.whole + a.count * r);
    for (size_t v = blockIdx.x * blockDim.x + threadIdx.x; v < a.count / 4; v += static_cast<size_t>(gridDim.x) * blockDim.x)
      to[v] = from[v];
  }
  meet(a.links, number);  // all have read, and the parts may be written again
  if (threadIdx.x == 0) a.links.met[blockIdx.x] = number;
}

// A thread for four values of a row, and at least one for each rank.
int threads_of(int n) {
  const int warps = (n / 4 + kWarp - 1) / kWarp;
  return (warps < 1 ? 1 : warps > kMaxWarps ? kMaxWarps : warps) * kWarp;
}

}  // namespace

Error peer_join(const PeerJoinArgs& args, Stream stream) {
  const int units = args.two_shots ? (args.rows + args.links.world - 1) / args.links.world : args.rows;
  const Grid grid = {static_cast<unsigned>(units < kPeerBlocks ? units : kPeerBlocks), 1};
  return launch(args.two_shots ? two_shots_kernel : one_shot_kernel, grid, threads_of(args.ld), args, stream);
}

Error peer_gather(const PeerGatherArgs& args, Stream stream) {
  constexpr int kGatherThreads = 256;
  return launch(gather_kernel, {kPeerBlocks, 1}, kGatherThreads, args, stream);
}

}  // namespace lockstep::cuda
