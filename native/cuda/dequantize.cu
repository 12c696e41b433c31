// Bricks as rows of bf16, for products of so many rows that a library makes them. A warp a brick. Bound: the bytes that are read and
// written.
#include "cuda/bricks.cuh"
#include "cuda/families.h"

namespace lockstep::cuda {
namespace {

constexpr int kWarps = 4;

template <Bricks kind>
__global__ void dequantize_kernel(DequantizeArgs a) {
  const int lane = threadIdx.x % kWarp;
  const int across = bricks_across(a.cols);
  const int at = blockIdx.x * kWarps + threadIdx.x / kWarp;
  if (at >= across * tiles_down(a.rows)) return;
  Brick<kind> share;
  share.load(static_cast<const uint8_t*>(a.w) + brick_bytes(kind) * at, lane);
  for (int half = 0; half < 2; half++) {
    const int row = at / across * kBrickRows + half * 8 + lane / 4;
    if (row >= a.rows) continue;
    uint16_t* out = a.out + static_cast<size_t>(row) * a.ld;
    each_pair(share, lane, half, [&](int column, float low, float high) {
      const int c = at % across * kBrickCols + column;
      if (c < a.cols) *reinterpret_cast<uint32_t*>(out + c) = pack_bf16(low, high);
    });
  }
}

}  // namespace

Error dequantize(const DequantizeArgs& args, Stream stream) {
  const int bricks = bricks_across(args.cols) * tiles_down(args.rows);
  const Grid grid = {static_cast<unsigned>((bricks + kWarps - 1) / kWarps), 1};
  return with_kind(args.bricks,
                   [&](auto kind) { return launch(dequantize_kernel<decltype(kind)::value>, grid, kWarps * kWarp, args, stream); });
}

}  // namespace lockstep::cuda
