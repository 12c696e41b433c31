// Attention's tiles of many rows: the chunks of prompts. A warp has 16 rows of its own, of heads wider than 128 two warps have the same 16
// and half of the output's columns each, since a lane's registers would not hold them all.
//
// Bound: 4 * head_dim flops for each query head and key that it sees. The tensor cores do 1024 multiplications a cycle and multiprocessor
// by mma.sync at best, about 600 TFLOP/s on an H200; every warp reads K and V from shared memory for its 16 rows alone, at 128 bytes a
// cycle: a tile of 64 rows and 64 keys of 128 is 2.1 MFLOP and 144 KiB, 1,150 cycles, or 420 TFLOP/s. With the powers and the barriers
// beside it, 300 TFLOP/s is what to expect, as FlashAttention 2 reaches; tiles behind a row's last key or before its window are not read.
#include "cuda/attention_tiles.cuh"

namespace lockstep::cuda {

Error attention_many(const AttentionTilesArgs& args, Stream stream) {
  constexpr int kAnyNumber = 1 << 30;
  return many_rows(args.attention.kv.head_dim) == 32 ? launch_attention<2>(args, kAnyNumber, stream)
                                                     : launch_attention<4>(args, kAnyNumber, stream);
}

}  // namespace lockstep::cuda
