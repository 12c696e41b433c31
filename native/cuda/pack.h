// Rows of checkpoint tensors into bricks (bricks.h), for the host that reads them.
#pragma once

#include <functional>

#include "common/model_spec.h"
#include "common/source_files.h"
#include "cuda/bricks.h"

namespace lockstep::cuda {

// Float weights into blocks of q8_0, q4_0 or q4_1, as cpu::Kernels::quantize_blocks: blocks[i] of rows[i].
using QuantizeBlocks = std::function<void(WeightFormat format, const float* const* rows, int num_rows, int cols, uint8_t* const* blocks)>;

// What the columns `cols` of a tensor are kept in; kNone: no bricks, which is so where a cut goes through a block.
Bricks bricks_for(const WeightTensor& tensor, Range cols);
// Rows [first, first + count) of the tensor, its columns `cols`, as rows [at, at + count) of a tile whose bytes were zeros.
Status pack_rows(const WeightTensor& tensor, int first, int count, Range cols, Bricks bricks, const QuantizeBlocks& quantize,
                 TensorRows* reader, int at, uint8_t* tile);

}  // namespace lockstep::cuda
