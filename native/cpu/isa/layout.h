// Byte layout of packed weight blocks (32 output rows each, K padded to 32 with zeros). Row r of a block is lane r of every vector:
//   f32    [K][32] float
//   bf16   [K/2][32][2] bf16
//   q8_0   a group of 32 along K: [8][32][4] bytes q + kByteZero, then scales [32] half
//   q4_0   a group: [4][32][4] bytes, whose low nibbles are k = 8c … 8c+3 and high nibbles k = 8c+4 … 8c+7, then scales [32] half
//   q4_1   as q4_0, then minimums [32] half
#pragma once

#include "../kernels.h"

namespace lockstep::cpu::LOCKSTEP_ISA {
namespace {

constexpr size_t kScaleBytes = 2 * kBlockRows;
constexpr size_t kQ8Bytes = static_cast<size_t>(kGroup) * kBlockRows;
constexpr size_t kQ4Bytes = kQ8Bytes / 2;
constexpr size_t kQ8Group = kQ8Bytes + kScaleBytes;
constexpr size_t kQ40Group = kQ4Bytes + kScaleBytes;
constexpr size_t kQ41Group = kQ4Bytes + 2 * kScaleBytes;

static inline int padded(int k) { return (k + kGroup - 1) / kGroup * kGroup; }

static inline size_t block_bytes(Format format, int cols) {
  const size_t k = static_cast<size_t>(padded(cols));
  switch (format) {
    case Format::kF32:
      return k * kBlockRows * 4;
    case Format::kBf16:
      return k * kBlockRows * 2;
    case Format::kQ8_0:
      return k / kGroup * kQ8Group;
    case Format::kQ4_0:
      return k / kGroup * kQ40Group;
    case Format::kQ4_1:
      return k / kGroup * kQ41Group;
  }
  return 0;
}

}  // namespace
}  // namespace lockstep::cpu::LOCKSTEP_ISA
