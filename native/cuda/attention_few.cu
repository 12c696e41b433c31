// Attention's tiles of 16 rows: decoding, drafts and short chunks. The four warps have the same rows and scores, and each a quarter of the
// output's columns: K goes four times from shared memory to the tensor cores, V once, and nothing between warps.
//
// Bound: the bytes of K and V, 4 * kv_heads * head_dim for each key of a sequence, read once. Of an H200's 4.8 TB/s that is 21 bytes a
// cycle (of 1.755 GHz) for each of 132 multiprocessors. For heads of 128 a tile of 64 keys is 32 KiB, for which shared memory gives out 80
// KiB at 128 bytes a cycle: 640 cycles, or 51 bytes of K and V a cycle; the tensor cores need 340 of them and the powers 256. Three blocks
// of 74 KB are on a multiprocessor, each with one or two tiles on their way: 96 KiB and more, where 36 KB would cover a microsecond. So
// this calculation, which no device has measured, expects 85 to 90 % of what a copy reaches once there are some pieces for each of 396
// blocks: 32 sequences of 1,000 keys and 8 KV heads are 2,048. What pieces leave for their joining adds 1 / (128 / group) of the bytes of K
// and V at 256 keys a piece, and less where they are longer. A sequence alone is bound by latency: 500 keys are 4 pieces of 2 tiles, loaded
// at once, about 5 us where their bytes would take less than one.
#include "cuda/attention_tiles.cuh"

namespace lockstep::cuda {
namespace {

// A recording's grid must do for any step: blocks take the items in turn, three for each multiprocessor of an H200.
constexpr int kMaxBlocks = 3 * 132;

}  // namespace

Error attention_few(const AttentionTilesArgs& args, Stream stream) { return launch_attention<1>(args, kMaxBlocks, stream); }

}  // namespace lockstep::cuda
