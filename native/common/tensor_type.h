// Element types of checkpoints: how many values and bytes a block has, and its way back to float.
#pragma once

#include <cstdint>

#include "common/model_spec.h"
#include "common/quant/dequantize.h"

namespace lockstep {

inline constexpr const char* kElementTypeNames[] = {"f32",  "f16",  "bf16", "q8_0", "q4_0",   "q4_1", "q5_0", "q5_1", "q2_k",
                                                    "q3_k", "q4_k", "q5_k", "q6_k", "iq4_nl", "u4",   "u8",   "i8",   "f8_e4m3"};
constexpr int kNumElementTypes = static_cast<int>(sizeof(kElementTypeNames) / sizeof(kElementTypeNames[0]));
inline constexpr const char* kWeightFormatNames[] = {"f32",  "bf16",   "q8_0", "q4_0", "q4_1", "q5_0",
                                                     "q5_1", "iq4_nl", "q4_k", "q5_k", "q6_k"};
constexpr int kNumWeightFormats = static_cast<int>(sizeof(kWeightFormatNames) / sizeof(kWeightFormatNames[0]));

const quant::TypeInfo& type_info(ElementType type);
// The element type that a format keeps as it is.
const quant::TypeInfo& type_info(WeightFormat format);
// `count` values, a multiple of the block, from their bytes.
void to_floats(ElementType type, const uint8_t* bytes, int count, float* out);

}  // namespace lockstep
