// Byte layout of packed weight blocks (32 output rows each, K padded to 32 with zeros). Row r of a block is lane r of every vector:
//   f32    [K][32] float
//   bf16   [K/2][32][2] bf16
//   q8_0   a group of 32 along K: [8][32][4] bytes q + kByteZero, then scales [32] half
//   q4_0   a group: [4][32][4] bytes, whose low nibbles are k = 8c … 8c+3 and high nibbles k = 8c+4 … 8c+7, then scales [32] half
//   q4_1   as q4_0, then minimums [32] half
//   iq4_nl as q4_0; the codes are indices of a table
//   q5_0   as q4_0, but between nibbles and scales the fifth bits [32][4] bytes: bit i of byte j is of k = 4i + j
//   q5_1   as q5_0, then minimums [32] half
//   q4_K   a super-block of 256 along K: scales [32] half and negated scales of the minimums [32] half, then 8 groups: nibbles as in
//          q4_0, scales [32] bytes, minimums [32] bytes
//   q5_K   as q4_K, with the fifth bits between nibbles and scales as in q5_0
//   q6_K   a super-block: scales [32] half, then 8 groups: nibbles as in q4_0, the upper bits [2][32][4] bytes (bits 2i and 2i + 1 of
//          byte j in half p are of k = 16p + 4i + j), and scales [2][32] int8, one for each 16 values
#pragma once

#include "../kernels.h"
#include "isa.h"

namespace lockstep::cpu::LOCKSTEP_ISA {
namespace {

constexpr size_t kScaleBytes = 2 * kBlockRows;
constexpr size_t kQ8Bytes = static_cast<size_t>(kGroup) * kBlockRows;
constexpr size_t kQ4Bytes = kQ8Bytes / 2;
constexpr size_t kQ8Group = kQ8Bytes + kScaleBytes;
constexpr size_t kQ40Group = kQ4Bytes + kScaleBytes;
constexpr size_t kQ41Group = kQ4Bytes + 2 * kScaleBytes;
constexpr size_t kBitBytes = kQ8Bytes / 8;  // one more bit of a group's codes
constexpr size_t kQ50Group = kQ40Group + kBitBytes;
constexpr size_t kQ51Group = kQ41Group + kBitBytes;
constexpr int kSuperGroups = 8;  // of a K-quant's super-block
constexpr size_t kSmallScaleBytes = kBlockRows;
constexpr size_t kQ4KGroup = kQ4Bytes + 2 * kSmallScaleBytes;
constexpr size_t kQ5KGroup = kQ4KGroup + kBitBytes;
constexpr size_t kQ6KGroup = kQ4Bytes + 2 * kBitBytes + 2 * kSmallScaleBytes;

// What the codes of iq4_nl stand for, as packed int8 weights.
constexpr uint8_t kIq4Values[16] = {129 ^ kByteZero, 152 ^ kByteZero, 173 ^ kByteZero, 191 ^ kByteZero, 207 ^ kByteZero, 221 ^ kByteZero,
                                    234 ^ kByteZero, 246 ^ kByteZero, 1 ^ kByteZero,   13 ^ kByteZero,  25 ^ kByteZero,  38 ^ kByteZero,
                                    53 ^ kByteZero,  69 ^ kByteZero,  89 ^ kByteZero,  113 ^ kByteZero};

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
    case Format::kQ5_0:
      return k / kGroup * kQ50Group;
    case Format::kQ5_1:
      return k / kGroup * kQ51Group;
    case Format::kIq4Nl:
      return k / kGroup * kQ40Group;
    case Format::kQ4_K:
      return k / (kSuperGroups * kGroup) * (2 * kScaleBytes + kSuperGroups * kQ4KGroup);
    case Format::kQ5_K:
      return k / (kSuperGroups * kGroup) * (2 * kScaleBytes + kSuperGroups * kQ5KGroup);
    case Format::kQ6_K:
      return k / (kSuperGroups * kGroup) * (kScaleBytes + kSuperGroups * kQ6KGroup);
  }
  return 0;
}

}  // namespace
}  // namespace lockstep::cpu::LOCKSTEP_ISA
