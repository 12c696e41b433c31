// A row of a checkpoint back to float, by element type: plain code, the reference for the packed kernels.
#pragma once

#include <cstdint>

#include "common/model_spec.h"

namespace lockstep::quant {

// Values of a block and its bytes; 1 value for the float types.
struct BlockShape {
  int values;
  int bytes;
};
// {0, 0} for a type that cannot be read.
BlockShape block_shape(ElementType type);
// `count` values, a multiple of the block.
void dequantize_row(ElementType type, const uint8_t* bytes, int count, float* out);

}  // namespace lockstep::quant
