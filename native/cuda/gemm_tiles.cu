// Products of many rows, in tiles of the output: a block makes `kWidth` columns of `kRows` rows, and what it multiplies goes through shared
// memory, so that all of its warps read it there. The bits are gemm.cu's, since the sums are gemm.cuh's: a block takes k in the order of
// the slices, and a lane adds each slice's sum to a total. That takes twice the registers of one sum, which bounds a warp's tile to
// 64 x 32 (with bricks 64 x 24), and saves what other bits would cost: a row depends neither on the rows beside it nor on which kernel
// has them.
//
// A step is half a brick, 64 columns of k. x, and weights of bf16, are copied without registers, 2 * ahead steps before they are multiplied
// (cp.async); a brick is read by one warp, a brick ahead, out of L2 where it was asked for with its x, and its codes are written as bf16
// into the half of a buffer that the step after the running one reads, with the scales beside them. One barrier a step keeps both.
//
// Of a product that gates a block takes a tile of the gate and one of up in turn, so that a lane has both factors of its results.
//
// Shared memory holds rows of a group, 64 bytes, one behind the other: what a lane multiplies in a group is 16 bytes that lie together, so
// a warp's read, and a copy's write, is 512 bytes in a row, and meets no bank twice. (ldmatrix would bring as many bytes with each
// instruction, but of neighbouring columns, which gives other sums than gemm.cu's; halves of split groups meet a bank twice.)
//
// What to expect of the wide shape with bf16, on an H100, whose mma.sync issues one m16n8k16 in about 6.4 cycles on each of the four parts
// of a multiprocessor (62 % of the 989 TFLOP/s of wgmma, some 610): a warp's group is 32 of them and 12 reads of 512 bytes, 48 cycles of
// shared memory. Eight warps: 410 cycles of products on each part, 384 of reads and 128 of copies; so shared memory bounds, at 80 % of
// mma.sync's peak, and some 65 % are left with barriers and the latency of each slice's end: 400 TFLOP/s. On an A100 and on 12.x, where an
// m16n8k16 takes 8 cycles, both take 512. The small shape has in a group 64 products, 102 cycles, and 128 of
// reads and 64 of copies: 53 %. None of it is measured.
#include "cuda/activation.cuh"
#include "cuda/families.h"
#include "cuda/gemm.cuh"

namespace lockstep::cuda {
namespace {

constexpr int kHalves = 2;  // steps of a brick
constexpr int kStepGroups = kBrickGroups / kHalves;
constexpr int kStepCols = kStepGroups * kBrickGroup;

// A block's shape: warps along the columns of the output, and along its rows; and of a warp tiles of 16 columns and of 8 rows.
template <Bricks kind, int width_warps, int row_warps, int width_tiles, int row_tiles, int ahead, int blocks_at_once>
struct Tile {
  static constexpr Bricks kKind = kind;
  static constexpr bool kHasBricks = kind != Bricks::kNone;
  static constexpr int kWidthWarps = width_warps, kWidthTiles = width_tiles, kRowTiles = row_tiles, kAhead = ahead;
  static constexpr int kWarps = width_warps * row_warps, kThreads = kWarps * kWarp, kBlocksAtOnce = blocks_at_once;
  static constexpr int kWidth = kBrickRows * width_tiles * width_warps;
  static constexpr int kRows = kColumns * row_tiles * row_warps;
  static constexpr int kStages = kHalves * ahead + 1;
  static constexpr int kWeightStages = kHasBricks ? kHalves : kStages;
  static constexpr int kScalesOfGroup = kIsSplit<kind> ? 2 : 1;
  static constexpr int kScales = kHasBricks ? kScalesOfGroup * kStepGroups * kWidth : 0;
  static constexpr int kInputHalves = kStepCols * kRows, kWeightHalves = kStepCols * kWidth;
  static constexpr int kSharedBytes =
      2 * (kStages * kInputHalves + kWeightStages * kWeightHalves) + kWeightStages * kScales * static_cast<int>(sizeof(Scale));
  static constexpr int kSums = width_tiles * row_tiles * 4;  // of a lane
  static_assert(kSums * kThreads * static_cast<int>(sizeof(float)) <= kSharedBytes);
  static_assert(width_tiles % 2 == 0, "of the gate and of up");
  static_assert(kSharedBytes <= kMaxDynamicShared && kWarps == kWidth / kBrickRows, "a warp stages one tile of bricks");
};

// Weights of a lane that came from shared memory: what gemm.cuh multiplies.
template <class T>
struct Staged {
  Words4 words[2];
  Scale scales[2][T::kScalesOfGroup];
  __device__ uint32_t pair(int half, int, int i) const { return words[half].at[i]; }
  __device__ Scale scale(int half, int, int which) const { return scales[half][which % T::kScalesOfGroup]; }
};
struct NoBrick {};

// The brick behind this one in the order of the sums; -1: it is the last.
__device__ inline int brick_behind(int brick, int bricks) {
  if (brick + kSlices < bricks) return brick + kSlices;
  const int slice = brick % kSlices + 1;
  return slice < kSlices && slice < bricks ? slice : -1;
}

template <class T>
class TileBlock {
  static constexpr Bricks kKind = T::kKind;

 public:
  __device__ TileBlock(const GemmArgs& a) : a_(a) {
    // Rows are the inner dimension, so that blocks that run together read the same weights.
    const int row_blocks = (a.rows + T::kRows - 1) / T::kRows;
    first_row_ = blockIdx.x % row_blocks * T::kRows;
    first_column_ = blockIdx.x / row_blocks * T::kWidth;
    inputs_ = reinterpret_cast<uint16_t*>(dynamic_shared());
    weights_ = inputs_ + T::kStages * T::kInputHalves;
    scales_ = reinterpret_cast<Scale*>(weights_ + T::kWeightStages * T::kWeightHalves);
  }

  __device__ void run() {
    const int bricks = bricks_across(a_.k);
    int brick = bricks > 0 ? 0 : -1;
    // The first steps' weights are on their way before what is earlier in the stream is done.
    begin_product(a_);
    each_first_step(bricks, [this](int first, int half, int stage) { fetch_weights(first, half, stage); });
    if (brick == 0) load_brick(0);
    wait_for_earlier();
    int fetched = each_first_step(bricks, [this](int first, int half, int stage) {
      fetch_inputs(first, half, stage);
      end_copies();
    });
    if (T::kHasBricks && brick == 0) stage_brick(0);
    int stage = 0;
    while (brick >= 0) {
      const int next = brick_behind(brick, bricks);
#pragma unroll
      for (int half = 0; half < kHalves; half++) {
        wait_for_copies<T::kStages - 2>();  // of the groups that are begun; a step without copies has one too
        __syncthreads();
        const int free_stage = stage == 0 ? T::kStages - 1 : stage - 1;  // of the step before
        fetch_inputs(fetched, half, free_stage);
        fetch_weights(fetched, half, free_stage);
        end_copies();
        if (T::kHasBricks && T::kAhead > 1 && half == 0) warm_brick(fetched);
        multiply(stage, T::kHasBricks ? half : stage);
        if (T::kHasBricks && half == 0) {
          stage_brick(1);
          if (next >= 0) load_brick(next);
        } else if (T::kHasBricks && next >= 0) {
          stage_brick(0);
        }
        stage = stage + 1 == T::kStages ? 0 : stage + 1;
      }
      if (brick + kSlices >= bricks) end_slice();
      if (fetched >= 0) fetched = brick_behind(fetched, bricks);
      brick = next;
    }
    if (a_.gates) {
      write_gated();
    } else {
      write();
    }
  }

 private:
  static __device__ int lane() { return threadIdx.x % kWarp; }
  static __device__ int warp() { return threadIdx.x / kWarp; }
  // Of the block's tiles the warp's first.
  static __device__ int width_tile() { return warp() % T::kWidthWarps * T::kWidthTiles; }
  static __device__ int row_tile() { return warp() / T::kWidthWarps * T::kRowTiles; }

  // Of the weights the tile that is the block's `tile`th.
  __device__ int tile_of(int tile) const {
    const int t = first_column_ / kBrickRows + tile;
    return a_.gates ? t / 2 + t % 2 * (a_.n / (2 * kBrickRows)) : t;
  }

  // use(brick, half, stage) for the steps that are copied before the first is multiplied. The brick of the next; -1: there is none.
  template <class Use>
  static __device__ int each_first_step(int bricks, Use use) {
    int brick = bricks > 0 ? 0 : -1;
    for (int i = 0; i < T::kAhead; i++) {
      for (int half = 0; half < kHalves; half++) use(brick, half, i * kHalves + half);
      if (brick >= 0) brick = brick_behind(brick, bricks);
    }
    return brick;
  }

  static __device__ int column_of(int brick, int half) { return brick * kBrickCols + half * kStepCols; }

  // Begins to copy a step's columns of x, or of weights of bf16; zeros stand for what there is not.
  __device__ void fetch_inputs(int brick, int half, int stage) const {
    if (brick < 0) return;
    const auto* x = static_cast<const uint16_t*>(a_.x);
    copy_rows<T::kRows>(inputs_ + stage * T::kInputHalves, x, a_.ld_x, a_.rows, column_of(brick, half),
                        [this](int row) { return first_row_ + row; });
  }
  __device__ void fetch_weights(int brick, int half, int stage) const {
    if constexpr (!T::kHasBricks) {
      if (brick < 0) return;
      const auto* w = static_cast<const uint16_t*>(a_.w);
      copy_rows<T::kWidth>(weights_ + stage * T::kWeightHalves, w, a_.ld_w, a_.n, column_of(brick, half),
                           [this](int row) { return tile_of(row / kBrickRows) * kBrickRows + row % kBrickRows; });
    }
  }
  // row_of: of the block's rows which it is.
  template <int rows, class RowOf>
  static __device__ void copy_rows(uint16_t* to, const uint16_t* from, int ld, int end_row, int first_column, RowOf row_of) {
    constexpr int kPieces = kBrickGroup / 8;  // of a group, 16 bytes each
    static_assert(kPieces * kStepGroups * rows % T::kThreads == 0);
#pragma unroll
    for (int i = 0; i < kPieces * kStepGroups * rows / T::kThreads; i++) {
      const int at = i * T::kThreads + threadIdx.x;
      const int row = row_of(at / kPieces % rows);
      const int column = first_column + at / kPieces / rows * kBrickGroup + at % kPieces * 8;
      const bool present = row < end_row && column < ld;
      begin_copy(to + at * 8, present ? from + static_cast<size_t>(row) * ld + column : from, present);
    }
  }

  // The warp's. Behind the last tile it is that one again, whose columns nobody writes.
  __device__ const uint8_t* brick_at(int brick) const {
    const int tile = tile_of(warp());
    const int last = tiles_down(a_.n) - 1;
    return static_cast<const uint8_t*>(a_.w) + tile_bytes(kKind, a_.k) * (tile < last ? tile : last) + brick_bytes(kKind) * brick;
  }
  __device__ void load_brick(int brick) {
    if constexpr (T::kHasBricks) brick_.load(brick_at(brick), lane());
  }
  __device__ void warm_brick(int brick) const {
    constexpr int kLine = 128;
    const auto bytes = static_cast<int>(brick_bytes(kKind));
    if (brick >= 0 && lane() * kLine < bytes) warm_line(brick_at(brick) + lane() * kLine);
  }
  // The codes of one half of the warp's brick into that half's buffer.
  __device__ void stage_brick(int half) const {
    if constexpr (T::kHasBricks) {
#pragma unroll
      for (int g = 0; g < kStepGroups; g++) {
        const int group = half * kStepGroups + g;
#pragma unroll
        for (int rows = 0; rows < 2; rows++) {
          const int row = warp() * kBrickRows + rows * 8 + lane() / 4;
          Words4 words;
#pragma unroll
          for (int i = 0; i < 4; i++) words.at[i] = brick_.pair(rows, group, i);
          *words_at(weights_ + half * T::kWeightHalves, T::kWidth, g, row) = words;
          const int which = lane() % 4;
          if (which < T::kScalesOfGroup) *scale_at(half, g, which, row) = brick_.scale(rows, group, which);
        }
      }
    }
  }

  static __device__ Words4* words_at(uint16_t* step, int rows, int group, int row) {
    return reinterpret_cast<Words4*>(step + (group * rows + row) * kBrickGroup) + lane() % 4;
  }
  __device__ Scale* scale_at(int half, int group, int which, int row) const {
    return scales_ + ((half * kStepGroups + group) * T::kScalesOfGroup + which) * T::kWidth + row;
  }

  __device__ Words4 input_at(int stage, int group, int row) const {
    uint16_t* step = inputs_ + stage * T::kInputHalves;
    if constexpr (kIsSplit<kKind>) {
      Words4 words;
      for (int i = 0; i < 2; i++) {
        const Words2 part = reinterpret_cast<const Words2*>(step + (group * T::kRows + row) * kBrickGroup + i * 16)[lane() % 4];
        words.at[2 * i] = part.at[0];
        words.at[2 * i + 1] = part.at[1];
      }
      return words;
    } else {
      return *words_at(step, T::kRows, group, row);
    }
  }

  __device__ void multiply(int stage, int weight_stage) {
    // With bricks two groups side by side take more registers than there are.
#pragma unroll(T::kHasBricks ? 1 : kStepGroups)
    for (int group = 0; group < kStepGroups; group++) {
      Words4 in[T::kRowTiles];
      float sums_of_x[T::kRowTiles][4] = {};
#pragma unroll
      for (int r = 0; r < T::kRowTiles; r++) {
        in[r] = input_at(stage, group, (row_tile() + r) * kColumns + lane() / 4);
        if (kHasLeast<kKind>) sum_group(sums_of_x[r], in[r]);
      }
#pragma unroll
      for (int t = 0; t < T::kWidthTiles; t++) {
        Staged<T> w;
#pragma unroll
        for (int half = 0; half < 2; half++) {
          const int row = (width_tile() + t) * kBrickRows + half * 8 + lane() / 4;
          w.words[half] = *words_at(weights_ + weight_stage * T::kWeightHalves, T::kWidth, group, row);
          for (int which = 0; T::kHasBricks && which < T::kScalesOfGroup; which++)
            w.scales[half][which] = *scale_at(weight_stage, group, which, row);
        }
#pragma unroll
        for (int r = 0; r < T::kRowTiles; r++) multiply_group<kKind>(sum_[t][r], w, group, in[r], sums_of_x[r]);
      }
    }
  }

  template <class Use>
  static __device__ void for_each(Use use) {
#pragma unroll
    for (int t = 0; t < T::kWidthTiles; t++) {
#pragma unroll
      for (int r = 0; r < T::kRowTiles; r++) {
#pragma unroll
        for (int i = 0; i < 4; i++) use(t, r, i);
      }
    }
  }
  __device__ void end_slice() {
    for_each([this](int t, int r, int i) {
      total_[t][r][i] += sum_[t][r][i];
      sum_[t][r][i] = 0;
    });
  }
  __device__ void write() const {
    for_each([this](int t, int r, int i) {
      const int column = first_column_ + (width_tile() + t) * kBrickRows + i / 2 * 8 + lane() / 4;
      const int row = first_row_ + (row_tile() + r) * kColumns + lane() % 4 * 2 + i % 2;
      if (row < a_.rows && column < a_.n) store_product(a_, row, column, total_[t][r][i]);
    });
  }
  // The activation is long, and so not written out for each of the sums: a loop finds them in shared memory, of which nothing else is read
  // any more.
  __device__ void write_gated() const {
    float* mine = reinterpret_cast<float*>(dynamic_shared()) + threadIdx.x;
    const auto at = [](int t, int r, int i) { return ((t * T::kRowTiles + r) * 4 + i) * T::kThreads; };
    __syncthreads();
    for_each([&](int t, int r, int i) { mine[at(t, r, i)] = total_[t][r][i]; });
#pragma unroll 1
    for (int value = 0; value < T::kSums / 2; value++) {
      const int i = value % 4;
      const int r = value / 4 % T::kRowTiles;
      const int t = value / 4 / T::kRowTiles * 2;
      const int column = (first_column_ / kBrickRows + width_tile() + t) / 2 * kBrickRows + i / 2 * 8 + lane() / 4;
      const int row = first_row_ + (row_tile() + r) * kColumns + lane() % 4 * 2 + i % 2;
      if (row < a_.rows && column < a_.n / 2) store_gated(a_, row, column, mine[at(t, r, i)], mine[at(t + 1, r, i)]);
    }
  }

  const GemmArgs& a_;
  int first_row_, first_column_;
  uint16_t *inputs_, *weights_;
  Scale* scales_;
  std::conditional_t<T::kHasBricks, Brick<kKind>, NoBrick> brick_;
  float sum_[T::kWidthTiles][T::kRowTiles][4] = {}, total_[T::kWidthTiles][T::kRowTiles][4] = {};
};

template <class T>
__global__ void __launch_bounds__(T::kThreads, T::kBlocksAtOnce) gemm_tiles_kernel(GemmArgs a) {
  TileBlock<T>(a).run();
}

template <class T>
Error launch_tiles(const GemmArgs& args, Stream stream) {
  const int blocks = (args.rows + T::kRows - 1) / T::kRows * ((args.n + T::kWidth - 1) / T::kWidth);
  return launch_product(gemm_tiles_kernel<T>, {static_cast<unsigned>(blocks), 1}, T::kThreads, args, stream, T::kSharedBytes);
}

template <Bricks kind>
Error tiles_of(const GemmTilesArgs& args, Stream stream) {
  using Wide = Tile<kind, 2, 4, 4, kind == Bricks::kNone ? 4 : 3, 1, 1>;
  using Small = Tile<kind, 2, 2, 2, 4, kind == Bricks::kNone ? 2 : 3, 2>;
  static_assert(Wide::kWidth == kWideTile && Small::kWidth == kSmallTile && Small::kRows == kSmallTile);
  return args.is_wide ? launch_tiles<Wide>(args.gemm, stream) : launch_tiles<Small>(args.gemm, stream);
}

}  // namespace

Error gemm_tiles(const GemmTilesArgs& args, Stream stream) {
  if (!gemm_has_tiles(args.gemm) || (args.gemm.gates && !gemm_gates(args.gemm))) return kInvalidValue;
  if (args.gemm.bricks == Bricks::kNone) return tiles_of<Bricks::kNone>(args, stream);
  return with_kind(args.gemm.bricks, [&](auto kind) { return tiles_of<decltype(kind)::value>(args, stream); });
}

}  // namespace lockstep::cuda
