// The functions of a gated or plain MLP, by one name for the model and for every device's kernels.
#pragma once

#include <cstdint>

namespace lockstep {

enum class Activation : uint8_t { kSilu, kGeluTanh, kGelu, kRelu };

}  // namespace lockstep
