// Random GGUF blocks for tests of packing and multiplying.
#pragma once

#include "check.h"
#include "common/quant/dequantize.h"

namespace lockstep::test {

// Any bytes are valid blocks once the halves in them (scales, and minimums or their scales) are sane: here 2^-7 … 2^-6 with either sign.
inline std::vector<uint8_t> random_blocks(Random& random, const quant::TypeInfo& type, size_t blocks) {
  const std::string name = type.name;
  const bool two = name == "q4_1" || name == "q5_1" || name == "q4_k" || name == "q5_k";
  const size_t half = name == "q6_k" ? 208 : 0;
  std::vector<uint8_t> bytes(blocks * static_cast<size_t>(type.block_bytes));
  for (uint8_t& b : bytes) b = static_cast<uint8_t>(random.next());
  for (size_t at = half; at < bytes.size(); at += static_cast<size_t>(type.block_bytes)) {
    bytes[at + 1] = static_cast<uint8_t>((bytes[at + 1] & 0x83) | 0x20);
    if (two) bytes[at + 3] = static_cast<uint8_t>((bytes[at + 3] & 0x83) | 0x20);
  }
  return bytes;
}

}  // namespace lockstep::test
