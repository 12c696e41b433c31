// What a sampler answers in the place of an id.
#pragma once

#include <cstdint>

namespace lockstep {

constexpr int32_t kNotNumbers = -1;      // the logits are not numbers
constexpr int32_t kNothingAllowed = -2;  // no id may come

}  // namespace lockstep
