#include "cuda/pack.h"

#include <algorithm>
#include <cstring>

#include "common/tensor_type.h"

namespace lockstep::cuda {
namespace {

constexpr uint16_t kSignOfHalf = 0x8000;
constexpr int kCodesOfLane = 8;  // of a group

// One scale for all of a brick's columns, wherever the cut begins.
bool has_wide_groups(const WeightTensor& tensor, Range cols) {
  const Scaling& scaling = tensor.scaling;
  if (!scaling.present || scaling.group_of_column.present) return false;
  if (scaling.group_cols >= tensor.cols) return true;
  return scaling.group_cols % kBrickCols == 0 && cols.first % kBrickCols == 0;
}

void put_u16(uint16_t value, uint8_t* to) { std::memcpy(to, &value, sizeof(value)); }

// Codes of the group that begins at value 32 * `group` of a row of blocks, a byte each.
void expand_codes(WeightFormat format, const uint8_t* row, int group, uint8_t* codes) {
  const quant::TypeInfo& type = type_info(format);
  const int in_block = group % (type.block_values / kBrickGroup);
  const uint8_t* block = row + static_cast<size_t>(group) * kBrickGroup / type.block_values * type.block_bytes;
  switch (format) {
    case WeightFormat::kQ4_0:
    case WeightFormat::kQ4_1: {
      const uint8_t* nibbles = block + type.block_bytes - kBrickGroup / 2;
      for (int i = 0; i < kBrickGroup / 2; i++) {
        codes[i] = nibbles[i] & 15;
        codes[i + kBrickGroup / 2] = nibbles[i] >> 4;
      }
      return;
    }
    case WeightFormat::kQ4_K: {
      const uint8_t* nibbles = block + 16 + in_block / 2 * 32;
      for (int i = 0; i < kBrickGroup; i++) codes[i] = nibbles[i] >> (in_block % 2 * 4) & 15;
      return;
    }
    case WeightFormat::kQ6_K: {
      const int quarter = in_block % 4;
      const uint8_t* low = block + in_block / 4 * 64 + quarter % 2 * 32;
      const uint8_t* high = block + 128 + in_block / 4 * 32;
      for (int i = 0; i < kBrickGroup; i++)
        codes[i] = static_cast<uint8_t>((low[i] >> (quarter / 2 * 4) & 15) | (high[i] >> (2 * quarter) & 3) << 4);
      return;
    }
    default:
      std::memcpy(codes, block + 2, kBrickGroup);  // q8_0
  }
}

// Eight fields of 16 bits apart, of `bits` bits each: the even bytes of `codes` from bit 0 on, the odd ones from bit 16 on.
uint32_t interleave(uint64_t codes, int bits) {
  uint32_t word = 0;
  for (int i = 0; i < kCodesOfLane / 2; i++) {
    word |= static_cast<uint32_t>(codes >> (16 * i) & 0xff) << (bits * i);
    word |= static_cast<uint32_t>(codes >> (16 * i + 8) & 0xff) << (16 + bits * i);
  }
  return word;
}

void put_group(Bricks bricks, const uint8_t* codes, int row, int group, uint8_t* brick) {
  constexpr uint64_t kLow = 0x0f0f0f0f0f0f0f0fU;
  constexpr uint64_t kHigh = 0x0303030303030303U;
  const int half = row / 8;
  for (int t = 0; t < 4; t++) {
    const int lane = half * 32 + row % 8 * 4 + t;
    uint64_t own = 0;
    if (bricks == Bricks::kInt6K) {
      uint32_t parts[2];
      for (int i = 0; i < 2; i++) std::memcpy(&parts[i], codes + 16 * i + 4 * t, sizeof(parts[i]));
      own = parts[0] | static_cast<uint64_t>(parts[1]) << 32;
    } else {
      std::memcpy(&own, codes + kCodesOfLane * t, sizeof(own));
    }
    if (brick_code_bytes(bricks) == kCodes8Bytes) {
      uint8_t* to = brick + (group / 2 * 64 + lane) * 16 + group % 2 * 8;
      for (int i = 0; i < kCodesOfLane; i++) to[i / 4 * 4 + i % 2 * 2 + i % 4 / 2] = static_cast<uint8_t>(own >> (8 * i));
      continue;
    }
    const uint32_t low = interleave(own & kLow, 4);
    std::memcpy(brick + lane * 16 + group * 4, &low, sizeof(low));
    if (bricks != Bricks::kInt6K) continue;
    uint32_t high = 0;
    uint8_t* at = brick + kCodes4Bytes + lane * 8 + group / 2 * 4;
    std::memcpy(&high, at, sizeof(high));
    high |= interleave(own >> 4 & kHigh, 2) << (8 * (group % 2));
    std::memcpy(at, &high, sizeof(high));
  }
}

// Scale and minimum of the group from its block, as the format of the bricks has them.
Status put_scales(const WeightTensor& tensor, Bricks bricks, const uint8_t* blocks, int group_of_row, int row, int group, uint8_t* brick) {
  const WeightFormat format = tensor.format;
  const quant::TypeInfo& type = type_info(format);
  const int in_block = group_of_row % (type.block_values / kBrickGroup);
  const uint8_t* block = blocks + static_cast<size_t>(group_of_row) * kBrickGroup / type.block_values * type.block_bytes;
  uint8_t* words = brick + brick_code_bytes(bricks) + row * 4;
  uint8_t* bytes = brick + brick_code_bytes(bricks) + kRowWordsBytes + (row * kBrickGroups + group) * 2;
  switch (bricks) {
    case Bricks::kInt4K: {
      const quant::ScaleMin factors = quant::k_scale_min(block + 4, in_block);
      std::memcpy(words, block, 2);
      put_u16(quant::read_u16(block + 2) ^ kSignOfHalf, words + 2);
      bytes[0] = static_cast<uint8_t>(factors.scale);
      bytes[1] = static_cast<uint8_t>(factors.least);
      return Status();
    }
    case Bricks::kInt6K:
      std::memcpy(words, block + 208, 2);
      std::memcpy(bytes, block + 192 + 2 * in_block, 2);
      return Status();
    case Bricks::kInt8:
      std::memcpy(brick + kCodes8Bytes + (row * kBrickGroups + group) * 2, block, 2);
      return Status();
    default:
      break;
  }
  const uint16_t least = format == WeightFormat::kQ4_1 ? quant::read_u16(block + 2) : quant::float_to_half(-8 * quant::read_half(block));
  if ((least & 0x7c00) == 0x7c00) return Status(Fault::kLoad, "tensor " + tensor.name + " has a scale beyond what 4 bits are kept with");
  uint8_t* to = bricks == Bricks::kInt4Wide ? words : brick + kCodes4Bytes + (row * kBrickGroups + group) * 4;
  std::memcpy(to, block, 2);
  put_u16(least, to + 2);
  return Status();
}

Status pack_fp8_rows(const WeightTensor& tensor, int first, int count, Range cols, TensorRows* reader, int at, uint8_t* tile) {
  const uint8_t* codes[kBrickRows];
  const float* scales[kBrickRows];
  LOCKSTEP_RETURN_IF_ERROR(reader->codes(tensor, first, count, codes, scales));
  for (int i = 0; i < count; i++) {
    for (int b = 0; b < bricks_across(cols.count); b++) {
      uint8_t* brick = tile + brick_bytes(Bricks::kFp8) * b;
      const int from = cols.first + b * kBrickCols;
      uint8_t row[kBrickCols] = {};
      std::memcpy(row, codes[i] + from, std::min(kBrickCols, cols.end() - from));
      for (int g = 0; g < kBrickGroups; g++) put_group(Bricks::kFp8, row + g * kBrickGroup, at + i, g, brick);
      std::memcpy(brick + kCodes8Bytes + (at + i) * 4, scales[i] + from / tensor.scaling.group_cols, sizeof(float));
    }
  }
  return Status();
}

// The rows' blocks from column cols.first on: those of the file, or floats quantised, which `store` then holds.
Status read_blocks(const WeightTensor& tensor, int first, int count, Range cols, const QuantizeBlocks& quantize, TensorRows* reader,
                   std::vector<uint8_t>* store, const uint8_t** rows) {
  const quant::TypeInfo& type = type_info(tensor.format);
  if (holds_its_blocks(tensor)) {
    LOCKSTEP_RETURN_IF_ERROR(reader->blocks(tensor, first, count, rows));
    for (int i = 0; i < count; i++) rows[i] += quant::row_bytes(type, static_cast<size_t>(cols.first));
    return Status();
  }
  const size_t row_bytes = quant::row_bytes(type, static_cast<size_t>(cols.count));
  store->resize(row_bytes * count);
  const float* floats[kBrickRows];
  uint8_t* blocks[kBrickRows];
  LOCKSTEP_RETURN_IF_ERROR(reader->floats(tensor, first, count, floats));
  for (int i = 0; i < count; i++) {
    floats[i] += cols.first;
    rows[i] = blocks[i] = store->data() + row_bytes * i;
  }
  quantize(tensor.format, floats, count, cols.count, blocks);
  return Status();
}

}  // namespace

Bricks bricks_for(const WeightTensor& tensor, Range cols) {
  const WeightFormat format = tensor.format;
  if (format == WeightFormat::kF32) return Bricks::kNone;
  if (tensor.scaling.present && tensor.source.type == ElementType::kF8E4M3 && has_wide_groups(tensor, cols)) return Bricks::kFp8;
  const int block = type_info(format).block_values;
  if (cols.first % block != 0 || cols.count % block != 0) return Bricks::kNone;
  const bool from_floats = format == WeightFormat::kQ8_0 || format == WeightFormat::kQ4_0 || format == WeightFormat::kQ4_1;
  if (!from_floats && !holds_its_blocks(tensor)) return Bricks::kNone;
  switch (format) {
    case WeightFormat::kQ4_0:
    case WeightFormat::kQ4_1:
      return holds_its_blocks(tensor) && has_wide_groups(tensor, cols) ? Bricks::kInt4Wide : Bricks::kInt4;
    case WeightFormat::kQ4_K:
      return Bricks::kInt4K;
    case WeightFormat::kQ6_K:
      return Bricks::kInt6K;
    case WeightFormat::kQ8_0:
      return Bricks::kInt8;
    default:
      return Bricks::kNone;
  }
}

Status pack_rows(const WeightTensor& tensor, int first, int count, Range cols, Bricks bricks, const QuantizeBlocks& quantize,
                 TensorRows* reader, int at, uint8_t* tile) {
  if (bricks == Bricks::kFp8) return pack_fp8_rows(tensor, first, count, cols, reader, at, tile);
  std::vector<uint8_t> store;
  const uint8_t* rows[kBrickRows];
  LOCKSTEP_RETURN_IF_ERROR(read_blocks(tensor, first, count, cols, quantize, reader, &store, rows));
  for (int i = 0; i < count; i++) {
    for (int group = 0; group < cols.count / kBrickGroup; group++) {
      uint8_t* brick = tile + brick_bytes(bricks) * (group / kBrickGroups);
      const int in_brick = group % kBrickGroups;
      uint8_t codes[kBrickGroup];
      expand_codes(tensor.format, rows[i], group, codes);
      put_group(bricks, codes, at + i, in_brick, brick);
      LOCKSTEP_RETURN_IF_ERROR(put_scales(tensor, bricks, rows[i], group, at + i, in_brick, brick));
    }
  }
  return Status();
}

}  // namespace lockstep::cuda
