// Quantised weights on the device: a checkpoint's codes, scales and minimums, none rounded, in the order in which a warp multiplies with
// them. A matrix is tiles of 16 rows, a tile bricks of 128 columns, one after the other; what is missing of the last tile or brick has
// scale 0. A weight is scale * code + least. Plain C++: pack.cpp fills bricks, the kernels read them (bricks.cuh).
//
// Lane l of a warp holds rows l / 4 and l / 4 + 8 of a tile (mma.cuh) and of each 32 columns, a group, eight: columns 8 (l % 4) … + 7, or
// where each 16 columns have a scale of their own (kInt6K) 4 (l % 4) … + 3 and those + 16. Codes of a lane, c0 … c7 a group:
//   4 bits   [half of rows][lane] 16 bytes: a word a group; nibble i has code 2 i, nibble 4 + i code 2 i + 1
//   6 bits   the low 4 so; then [half of rows][lane] 8 bytes: a word for two groups; bits 2 f, + 1 with f = 4 (group % 2) + i have the
//   upper
//            bits of code 2 i, and those 16 further of code 2 i + 1
//   8 bits   [pair of groups][half of rows][lane] 16 bytes: two words a group; bytes c0 c2 c1 c3 and c4 c6 c5 c7
// so that two neighbouring columns lie 16 bits apart: one mask makes a pair of bf16 of them. Behind the codes, by row of the tile:
//   kInt4      [row][group] half scale, half least         q4_0, q4_1, and so AWQ, GPTQ and compressed-tensors in groups of 32 and 64
//   kInt4Wide  [row] half scale, half least                the same in groups of a multiple of 128, or one a row
//   kInt4K     [row] half d, half -m; then [row][group] bytes: scale = d * first, least = -m * second          q4_K
//   kInt6K     [row] half d, half 0; then [row][group] int8 factors of its two halves; codes are less 32        q6_K
//   kInt8      [row][group] half scale; codes are signed   q8_0
//   kFp8       [row] float scale; codes are e4m3           float8 with a scale a row, a tensor, or a multiple of 128 columns
#pragma once

#include <cstddef>
#include <cstdint>

#include "common/anywhere.h"

namespace lockstep::cuda {

enum class Bricks : uint8_t { kNone, kInt4, kInt4Wide, kInt4K, kInt6K, kInt8, kFp8 };

constexpr int kBrickRows = 16, kBrickCols = 128, kBrickGroup = 32, kBrickGroups = kBrickCols / kBrickGroup;
constexpr int kCodes4Bytes = kBrickRows * kBrickCols / 2, kCodes2Bytes = kCodes4Bytes / 2, kCodes8Bytes = 2 * kCodes4Bytes;
constexpr int kRowWordsBytes = kBrickRows * 4;               // a word a row
constexpr int kGroupBytes2 = kBrickRows * kBrickGroups * 2;  // two bytes a row and group
constexpr int kGroupBytes4 = 2 * kGroupBytes2;

LOCKSTEP_ANYWHERE constexpr int brick_code_bytes(Bricks bricks) {
  return bricks == Bricks::kInt8 || bricks == Bricks::kFp8 ? kCodes8Bytes
         : bricks == Bricks::kInt6K                        ? kCodes4Bytes + kCodes2Bytes
                                                           : kCodes4Bytes;
}
LOCKSTEP_ANYWHERE constexpr int brick_scale_bytes(Bricks bricks) {
  return bricks == Bricks::kInt4                                ? kGroupBytes4
         : bricks == Bricks::kInt8                              ? kGroupBytes2
         : bricks == Bricks::kInt4K || bricks == Bricks::kInt6K ? kRowWordsBytes + kGroupBytes2
                                                                : kRowWordsBytes;
}
// Multiples of 64.
LOCKSTEP_ANYWHERE constexpr size_t brick_bytes(Bricks bricks) {
  return bricks == Bricks::kNone ? 0 : brick_code_bytes(bricks) + brick_scale_bytes(bricks);
}

LOCKSTEP_ANYWHERE constexpr int bricks_across(int cols) { return (cols + kBrickCols - 1) / kBrickCols; }
LOCKSTEP_ANYWHERE constexpr int tiles_down(int rows) { return (rows + kBrickRows - 1) / kBrickRows; }
LOCKSTEP_ANYWHERE constexpr size_t tile_bytes(Bricks bricks, int cols) { return brick_bytes(bricks) * bricks_across(cols); }

}  // namespace lockstep::cuda
