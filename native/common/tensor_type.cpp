#include "common/tensor_type.h"

#include <cstring>

namespace lockstep {

const quant::TypeInfo& type_info(ElementType type) { return *quant::type_info(kElementTypeNames[static_cast<int>(type)]); }
const quant::TypeInfo& type_info(WeightFormat format) { return *quant::type_info(kWeightFormatNames[static_cast<int>(format)]); }

// The two types that most checkpoints have are turned a row at a time; a call for each value would take longer than reading the file.
void to_floats(ElementType type, const uint8_t* bytes, int count, float* out) {
  if (type == ElementType::kF32) {
    std::memcpy(out, bytes, sizeof(float) * static_cast<size_t>(count));
  } else if (type == ElementType::kBf16) {
    for (int i = 0; i < count; i++) {
      uint16_t half;
      std::memcpy(&half, bytes + 2 * i, sizeof(half));
      const uint32_t bits = static_cast<uint32_t>(half) << 16;
      std::memcpy(out + i, &bits, sizeof(bits));
    }
  } else {
    quant::dequantize_row(type_info(type), bytes, static_cast<size_t>(count), out);
  }
}

}  // namespace lockstep
