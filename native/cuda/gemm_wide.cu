// Products of many rows of bf16 on Hopper, by what it alone has (wgmma.cuh): a block makes tiles of 128 rows and 256 columns of the output,
// one after the other, and there are as many blocks as multiprocessors. One thread has tiles of x and of the weights, 64 columns of k each,
// copied into a ring of four stages; two warpgroups multiply, each 64 rows of x with the 256 of the weights, and add to registers. While
// they write a tile the next one's stages fill. Of a product that gates 128 of a tile's columns are the gate's and 128 up's.
//
// The order of a sum: k ascending, by steps of 64 of four products of 16, each added to the one float32 sum; then the bias. (Of the 16 the
// hardware has its own order, the same for every row and column.) A row's bits depend on the row alone, but they are not gemm.cu's: with
// --deterministic that has all products.
//
// What to expect of an H100, whose wgmma of 64 x 256 x 16 takes 128 cycles of a multiprocessor at 989 TFLOP/s: it reads 2 KiB of x and 8
// KiB of weights, 80 cycles of shared memory, so that products bound. A step of 64 is 1,024 cycles for both warpgroups, and its 48 KiB come
// from L2 at 48 bytes a cycle, for which three steps lie ahead. Of a tile with k = 4,096 that is 65,500 cycles; writing it, 128 KiB at some
// 64 bytes a cycle, takes 2,000 in which nobody multiplies, and the first step's arrival is hidden but for a block's first tile: 97 %. What
// is left out is what public kernels of this shape lose to clocks under load and to the last, partly filled turn of the blocks: they reach
// 600 to 760 TFLOP/s at 8,192 cubed, and cuBLASLt some 720. None of it is measured here.
#include "cuda/activation.cuh"
#include "cuda/families.h"
#include "cuda/wgmma.cuh"

namespace lockstep::cuda {
namespace {

constexpr int kConsumers = 2;                              // warpgroups
constexpr int kThreads = kConsumers * kWarpgroup + kWarp;  // and the warp that copies
constexpr int kTileRows = kConsumers * kProductRows, kTileWidth = kProductColumns;
static_assert(kTileRows == kWideProductRows && kTileWidth == kWideProductColumns);
constexpr int kWeightBox = kTileWidth / 2;  // columns of the output, rows of the weights, in one copy
constexpr int kStages = 4;
constexpr int kTogether = 16;  // row tiles whose blocks run together: as much of x as stays in L2 beside the weights

struct Stage {
  uint16_t x[kTileRows * kTileColumns], w[kTileWidth * kTileColumns];
};
constexpr int kAtOnce = 16;  // results of a lane that gate together
struct Ring {
  Stage stages[kStages];
  float sums[2 * kAtOnce][kConsumers * kWarpgroup];  // of lanes, for themselves
  uint64_t full[kStages], empty[kStages];
};
static_assert(sizeof(Stage) % kTileAtom == 0 && sizeof(Stage::x) % kTileAtom == 0);
constexpr int kSharedBytes = static_cast<int>(sizeof(Ring)) + kTileAtom;  // the ring begins at a multiple
static_assert(kSharedBytes <= kMaxSharedOf90);

struct Args {
  TensorMap x, w;
  GemmArgs gemm;
};

// Where in the ring a thread is.
struct Place {
  int stage = 0;
  uint32_t parity = 0;
  __device__ void go_on() {
    stage = stage + 1 == kStages ? 0 : stage + 1;
    parity ^= stage == 0 ? 1U : 0U;
  }
};

struct Tile {
  int row, column;
};
// Groups of kTogether tiles of rows follow each other; in a group columns do, and its rows are innermost.
__device__ inline Tile tile_at(const GemmArgs& a, int number) {
  const int down = (a.rows + kTileRows - 1) / kTileRows, across = (a.n + kTileWidth - 1) / kTileWidth;
  const int first = number / (kTogether * across) * kTogether;
  const int rows = down - first < kTogether ? down - first : kTogether;
  const int in_group = number % (kTogether * across);
  return {(first + in_group % rows) * kTileRows, in_group / rows * kTileWidth};
}

class WideBlock {
 public:
  __device__ WideBlock(const Args& a) : a_(a), num_tiles_(wide_tiles(a.gemm)), num_blocks_(static_cast<int>(gridDim.x)) {
    uint8_t* shared = dynamic_shared();
    ring_ = reinterpret_cast<Ring*>(shared + (kTileAtom - shared_address(shared) % kTileAtom) % kTileAtom);
  }
  __device__ void run() {
    constexpr int kCopier = kConsumers * kWarpgroup;  // the last warp's first lane
    if (threadIdx.x == kCopier) {
      for (int i = 0; i < kStages; i++) {
        init_phases(&ring_->full[i], 1);
        init_phases(&ring_->empty[i], kConsumers * kWarpgroup / kWarp);
      }
      show_to_async();
    }
    begin_early();
    __syncthreads();
    if (threadIdx.x < kCopier) {
      multiply_and_write();
    } else if (threadIdx.x == kCopier) {
      copy();
    }
  }

 private:
  // Of a tile that gates one half is the gate's and one up's, so that a lane has both factors of its results.
  __device__ int first_weight(const Tile& tile, int half) const {
    const GemmArgs& a = a_.gemm;
    return a.gates ? tile.column / 2 + half * (a.n / 2) : tile.column + half * kWeightBox;
  }

  __device__ void copy() const {
    Place place;
    for (int number = blockIdx.x; number < num_tiles_; number += num_blocks_) {
      const Tile tile = tile_at(a_.gemm, number);
      for (int column = 0; column < a_.gemm.k; column += kTileColumns) {
        Stage& stage = ring_->stages[place.stage];
        uint64_t* full = &ring_->full[place.stage];
        wait_for_phase(&ring_->empty[place.stage], place.parity ^ 1U);
        arrive_expecting(full, sizeof(Stage));
        begin_tile(stage.x, &a_.x, full, column, tile.row);
        for (int half = 0; half < 2; half++)
          begin_tile(stage.w + half * kWeightBox * kTileColumns, &a_.w, full, column, first_weight(tile, half));
        place.go_on();
      }
    }
  }

  __device__ void multiply_and_write() const {
    const bool tells = threadIdx.x % kWarp == 0;  // for its warp, that a stage has been read
    const int first_row = threadIdx.x / kWarpgroup * kProductRows;
    float d[kFragment];
    Place place;
    for (int number = blockIdx.x; number < num_tiles_; number += num_blocks_) {
      uint64_t* being_read = nullptr;
      for (int column = 0; column < a_.gemm.k; column += kTileColumns) {
        const Stage& stage = ring_->stages[place.stage];
        const uint32_t x = shared_address(stage.x + first_row * kTileColumns), w = shared_address(stage.w);
        wait_for_phase(&ring_->full[place.stage], place.parity);
        begin_products(d);
#pragma unroll
        for (int at = 0; at < kTileColumns; at += kProductDepth) {
          const uint32_t bytes = at * sizeof(uint16_t);
          multiply_async(d, matrix_at(x + bytes), matrix_at(w + bytes), column + at > 0);
        }
        end_products();
        // This step's products run on while the stage of the one before is given back.
        wait_for_products<1>(d);
        if (tells && being_read != nullptr) arrive(being_read);
        being_read = &ring_->empty[place.stage];
        place.go_on();
      }
      wait_for_products<0>(d);
      if (tells) arrive(being_read);
      if (a_.gemm.gates) {
        write_gated(tile_at(a_.gemm, number), d);
      } else {
        write(tile_at(a_.gemm, number), d);
      }
    }
  }

  __device__ void write(const Tile& tile, const float (&d)[kFragment]) const {
    struct alignas(8) Pair {
      float low, high;
    };
    const GemmArgs& a = a_.gemm;
    const int lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp;
    const bool in_pairs = a.ld_out % 2 == 0 && reinterpret_cast<uintptr_t>(a.out) % sizeof(Pair) == 0;
#pragma unroll
    for (int half = 0; half < 2; half++) {
      const int row = tile.row + warp * 16 + half * 8 + lane / 4;
      if (row >= a.rows) continue;
#pragma unroll
      for (int j = 0; j < kTileWidth / 8; j++) {
        const int column = tile.column + 8 * j + lane % 4 * 2;
        if (column >= a.n) break;
        const float low = d[4 * j + 2 * half], high = d[4 * j + 2 * half + 1];
        if (!in_pairs || column + 1 == a.n) {
          store_product(a, row, column, low);
          if (column + 1 < a.n) store_product(a, row, column + 1, high);
          continue;
        }
        Pair* out = reinterpret_cast<Pair*>(a.out + static_cast<size_t>(row) * a.ld_out + column);
        Pair sums = {with_bias(a, column, low), with_bias(a, column + 1, high)};
        if (a.adds) {
          const Pair before = *out;
          sums = {before.low + sums.low, before.high + sums.high};
        }
        *out = sums;
      }
    }
  }

  // The activation is long, and so not written out for each of the sums: a loop finds them in shared memory.
  __device__ void write_gated(const Tile& tile, const float (&d)[kFragment]) const {
    const GemmArgs& a = a_.gemm;
    const int lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp;
#pragma unroll
    for (int first = 0; first < kFragment / 2; first += kAtOnce) {
#pragma unroll
      for (int i = 0; i < kAtOnce; i++) {
        ring_->sums[2 * i][threadIdx.x] = d[first + i];
        ring_->sums[2 * i + 1][threadIdx.x] = d[kFragment / 2 + first + i];
      }
#pragma unroll 1
      for (int i = 0; i < kAtOnce; i++) {
        const int row = tile.row + warp * 16 + i % 4 / 2 * 8 + lane / 4;
        const int column = tile.column / 2 + (first + i) / 4 * 8 + lane % 4 * 2 + i % 2;
        if (row < a.rows && column < a.n / 2)
          store_gated(a, row, column, ring_->sums[2 * i][threadIdx.x], ring_->sums[2 * i + 1][threadIdx.x]);
      }
    }
  }

  const Args& a_;
  const int num_tiles_, num_blocks_;
  Ring* ring_;
};

__global__ void __launch_bounds__(kThreads, 1) gemm_wide_kernel(const __grid_constant__ Args a) {
  if constexpr (kHasWgmma) WideBlock(a).run();
}

}  // namespace

Error gemm_wide(const GemmWideArgs& args, Stream stream) {
  const GemmArgs& gemm = args.gemm;
  if (!gemm_has_wide(gemm) || gemm.bricks != Bricks::kNone) return kInvalidValue;
  Args all{{}, {}, gemm};
  if (gemm.rows == 0 || gemm.n == 0) return kSuccess;
  Error error = map_rows(&all.x, gemm.x, gemm.rows, gemm.k, gemm.ld_x, kTileRows);
  if (error == kSuccess) error = map_rows(&all.w, gemm.w, gemm.n, gemm.k, gemm.ld_w, kWeightBox);
  if (error != kSuccess) return error;
  const int blocks = wide_tiles(gemm) < args.max_blocks ? wide_tiles(gemm) : args.max_blocks;
  return launch_early(gemm_wide_kernel, {static_cast<unsigned>(blocks), 1}, kThreads, all, stream, kSharedBytes);
}

}  // namespace lockstep::cuda
