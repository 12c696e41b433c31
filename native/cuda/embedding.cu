// The embedding of a step's tokens. Bound: the bytes of the rows that are read and written.
#include "cuda/bricks.cuh"
#include "cuda/families.h"

namespace lockstep::cuda {
namespace {

constexpr int kThreads = 128;

__device__ int32_t id_of(int32_t given, const int32_t* last) { return given < 0 ? last[-1 - given] : given; }

__global__ void embed_kernel(EmbedArgs a) {
  const int i = blockIdx.x;
  const int row = id_of(a.ids[i], a.last) - a.first_row;
  const bool is_here = row >= 0 && row < a.table_rows;
  for (int c = threadIdx.x; c < a.n; c += blockDim.x) {
    a.out[static_cast<size_t>(i) * a.ld_out + c] = is_here ? load_as_float(a.table, a.type, static_cast<size_t>(row) * a.ld + c) : 0.0f;
  }
}

// A thread four groups of eight columns: a lane's share of a brick.
template <Bricks kind>
__global__ void embed_bricks_kernel(EmbedArgs a) {
  const int i = blockIdx.x;
  const int asked = id_of(a.ids[i], a.last) - a.first_row;
  const bool is_here = asked >= 0 && asked < a.table_rows;
  const int row = is_here ? asked : 0;
  const uint8_t* tile = static_cast<const uint8_t*>(a.table) + tile_bytes(kind, a.n) * (row / kBrickRows);
  float* out = a.out + static_cast<size_t>(i) * a.ld_out;
  for (int at = threadIdx.x; at < 4 * bricks_across(a.n); at += blockDim.x) {
    Brick<kind> share;
    const int lane = row % 8 * 4 + at % 4;
    share.load(tile + brick_bytes(kind) * (at / 4), lane);
    each_pair(share, lane, row % kBrickRows / 8, [&](int column, float low, float high) {
      const int c = at / 4 * kBrickCols + column;
      if (c >= a.n) return;
      out[c] = is_here ? low : 0.0f;
      out[c + 1] = is_here ? high : 0.0f;
    });
  }
}

__global__ void add_embedding_kernel(AddEmbeddingArgs a) {
  const int i = blockIdx.x;
  for (int c = threadIdx.x; c < a.n; c += blockDim.x) {
    const size_t at = static_cast<size_t>(i) * a.ld + c;
    float x = a.embedding[at] * a.scale;
    if (a.types != nullptr) x += load_as_float(a.types, a.types_type, static_cast<size_t>(a.type_of[i]) * a.ld_types + c);
    if (a.positions != nullptr) {
      const size_t row = static_cast<size_t>(a.position[i]) + a.position_offset;
      x += load_as_float(a.positions, a.positions_type, row * a.ld_positions + c);
    }
    a.x[at] = x;
  }
}

__global__ void note_tokens_kernel(NoteTokensArgs a) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= a.slots || a.row_of[i] < 0) return;
  a.history[static_cast<size_t>(a.row_of[i]) * a.history_len + a.position[i]] = id_of(a.ids[i], a.last);
}

}  // namespace

Error embed(const EmbedArgs& args, Stream stream) {
  const Grid grid = {static_cast<unsigned>(args.rows), 1};
  if (args.bricks == Bricks::kNone) return launch(embed_kernel, grid, kThreads, args, stream);
  return with_kind(args.bricks,
                   [&](auto kind) { return launch(embed_bricks_kernel<decltype(kind)::value>, grid, kThreads, args, stream); });
}
Error add_embedding(const AddEmbeddingArgs& args, Stream stream) {
  return launch(add_embedding_kernel, {static_cast<unsigned>(args.rows), 1}, kThreads, args, stream);
}
Error note_tokens(const NoteTokensArgs& args, Stream stream) {
  return launch(note_tokens_kernel, {static_cast<unsigned>((args.slots + kThreads - 1) / kThreads), 1}, kThreads, args, stream);
}

}  // namespace lockstep::cuda
