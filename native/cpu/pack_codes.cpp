// Quantised weights: the blocks of GGUF files into packed blocks, and one row back out. Layouts: isa/layout.h; the blocks of GGUF files:
// ggml's quantisation reference. Codes, scales and minimums keep their bits; only their places change, and a K-quant's 6-bit scales get a
// byte each. Not hot: runs at load (and unpack_codes once a token), so it is plain code.
#include <cstring>

#include "families.h"
#include "isa/isa.h"
#include "isa/layout.h"

namespace lockstep::cpu::LOCKSTEP_ISA {
namespace {

constexpr size_t kHalfBytes = 2;

// A weight is scale * (code - offset) + minimum; a code of 8 bits and the values of iq4_nl's are signed.
struct Shape {
  int bits;  // of a code
  int offset;
  int source_values;    // of a GGUF block
  size_t source_bytes;  // of a GGUF block
  size_t source_codes;  // where its codes begin
  size_t header;        // bytes before the groups of a super-block
  size_t group;         // bytes of a group of 32
};

Shape shape_of(Format format) {
  switch (format) {
    case Format::kQ4_0:
      return {4, 8, 32, 18, 2, 0, kQ40Group};
    case Format::kQ4_1:
      return {4, 0, 32, 20, 4, 0, kQ41Group};
    case Format::kIq4Nl:
      return {4, 0, 32, 18, 2, 0, kQ40Group};
    case Format::kQ5_0:
      return {5, 16, 32, 22, 6, 0, kQ50Group};
    case Format::kQ5_1:
      return {5, 0, 32, 24, 8, 0, kQ51Group};
    case Format::kQ4_K:
      return {4, 0, 256, 144, 16, 2 * kScaleBytes, kQ4KGroup};
    case Format::kQ5_K:
      return {5, 0, 256, 176, 48, 2 * kScaleBytes, kQ5KGroup};
    case Format::kQ6_K:
      return {6, 32, 256, 210, 0, kScaleBytes, kQ6KGroup};
    default:
      return {8, 0, 32, 34, 2, 0, kQ8Group};
  }
}

bool is_super(const Shape& shape) { return shape.source_values == kSuperBlock; }
bool has_min(Format format) { return format == Format::kQ4_1 || format == Format::kQ5_1; }

// --- GGUF blocks ---

int nibble(const uint8_t* codes, int i) { return i < 16 ? codes[i] & 15 : codes[i - 16] >> 4; }

int source_code(Format format, const uint8_t* block, int i) {
  const uint8_t* codes = block + shape_of(format).source_codes;
  switch (format) {
    case Format::kQ4_0:
    case Format::kQ4_1:
    case Format::kIq4Nl:
      return nibble(codes, i);
    case Format::kQ5_0:
    case Format::kQ5_1:
      return nibble(codes, i) | (codes[i / 8 - 4] >> (i % 8) & 1) << 4;
    case Format::kQ4_K:
      return codes[i / 64 * 32 + i % 32] >> (i / 32 % 2 * 4) & 15;
    case Format::kQ5_K:
      return (codes[i / 64 * 32 + i % 32] >> (i / 32 % 2 * 4) & 15) | (codes[i % 32 - 32] >> (i / 32) & 1) << 4;
    case Format::kQ6_K: {
      const int half = i / 128;
      const int quarter = i % 128 / 32;
      const int low = codes[half * 64 + quarter % 2 * 32 + i % 32] >> (quarter / 2 * 4) & 15;
      return low | (codes[128 + half * 32 + i % 32] >> (quarter * 2) & 3) << 4;
    }
    default:
      return static_cast<int8_t>(codes[i]);
  }
}

// 6-bit scale and minimum `i` of the eight in 12 bytes.
void small_scales(const uint8_t* packed, int i, uint8_t* scale, uint8_t* least) {
  if (i < 4) {
    *scale = packed[i] & 63;
    *least = packed[i + 4] & 63;
  } else {
    *scale = static_cast<uint8_t>((packed[i + 4] & 15) | packed[i - 4] >> 6 << 4);
    *least = static_cast<uint8_t>(packed[i + 4] >> 4 | packed[i] >> 6 << 4);
  }
}

// --- packed groups; k counts from the group's first value ---

size_t lane_byte(int vector, int r, int k) { return (static_cast<size_t>(vector) * kBlockRows + r) * 4 + k % 4; }
size_t code_bytes(int bits) { return kQ8Bytes * bits / 8; }

void put_code(int bits, int code, int r, int k, uint8_t* group) {
  if (bits == 8) {
    group[lane_byte(k / 4, r, k)] = static_cast<uint8_t>(code ^ kByteZero);
    return;
  }
  group[lane_byte(k / 8, r, k)] |= static_cast<uint8_t>((code & 15) << (k % 8 >= 4 ? 4 : 0));
  if (bits == 4) return;
  const int vectors = 8 / (bits - 4);  // whose upper bits share a byte
  group[kQ4Bytes + lane_byte(k / 4 / vectors, r, k)] |= static_cast<uint8_t>(code >> 4 << (k / 4 % vectors * (bits - 4)));
}

int code_at(int bits, const uint8_t* group, int r, int k) {
  if (bits == 8) return static_cast<int8_t>(group[lane_byte(k / 4, r, k)] ^ kByteZero);
  const int low = group[lane_byte(k / 8, r, k)] >> (k % 8 >= 4 ? 4 : 0) & 15;
  if (bits == 4) return low;
  const int vectors = 8 / (bits - 4);
  const int high = group[kQ4Bytes + lane_byte(k / 4 / vectors, r, k)] >> (k / 4 % vectors * (bits - 4));
  return low | (high & ((1 << (bits - 4)) - 1)) << 4;
}

// Halves of row r's header.
void put_header(Format format, const uint8_t* block, int r, uint8_t* header) {
  const bool q6 = format == Format::kQ6_K;
  memcpy(header + kHalfBytes * r, block + (q6 ? 208 : 0), kHalfBytes);
  if (q6) return;
  uint8_t* least = header + kScaleBytes + kHalfBytes * r;
  memcpy(least, block + 2, kHalfBytes);
  least[1] ^= 0x80;  // negated: a K-quant takes its minimums away
}

// Scales of row r's group g of the block (0 where a block is a group).
void put_scales(Format format, const Shape& shape, const uint8_t* block, int g, int r, uint8_t* group) {
  uint8_t* scales = group + code_bytes(shape.bits);
  if (format == Format::kQ6_K) {
    scales[r] = block[192 + 2 * g];
    scales[kSmallScaleBytes + r] = block[192 + 2 * g + 1];
  } else if (is_super(shape)) {
    small_scales(block + 4, g, scales + r, scales + kSmallScaleBytes + r);
  } else {
    memcpy(scales + kHalfBytes * r, block, kHalfBytes);
    if (has_min(format)) memcpy(scales + kScaleBytes + kHalfBytes * r, block + 2, kHalfBytes);
  }
}

float half_at(const uint8_t* halves, int r) {
  uint16_t h;
  memcpy(&h, halves + kHalfBytes * r, kHalfBytes);
  return half_to_float(h);
}

struct Scale {
  float scale;
  float least;
};
Scale scale_at(Format format, const Shape& shape, const uint8_t* header, const uint8_t* group, int r, int k) {
  const uint8_t* scales = group + code_bytes(shape.bits);
  if (format == Format::kQ6_K) {
    return {half_at(header, r) * static_cast<float>(static_cast<int8_t>(scales[k / 16 * kSmallScaleBytes + r])), 0.0f};
  }
  if (is_super(shape)) {
    return {half_at(header, r) * static_cast<float>(scales[r]),
            half_at(header + kScaleBytes, r) * static_cast<float>(scales[kSmallScaleBytes + r])};
  }
  return {half_at(scales, r), has_min(format) ? half_at(scales + kScaleBytes, r) : 0.0f};
}

}  // namespace

void pack_codes(Format format, const uint8_t* const* rows, int num_rows, int cols, uint8_t* dst) {
  const Shape shape = shape_of(format);
  const int groups = shape.source_values / kGroup;
  const size_t super_bytes = shape.header + shape.group * groups;
  memset(dst, 0, block_bytes(format, cols));  // rows that are missing have scale and minimum 0
  for (int b = 0; b < cols / shape.source_values; b++) {
    uint8_t* header = dst + b * super_bytes;
    for (int r = 0; r < num_rows; r++) {
      if (rows[r] == nullptr) continue;
      const uint8_t* block = rows[r] + b * shape.source_bytes;
      if (is_super(shape)) put_header(format, block, r, header);
      for (int g = 0; g < groups; g++) {
        uint8_t* group = header + shape.header + g * shape.group;
        for (int k = 0; k < kGroup; k++) put_code(shape.bits, source_code(format, block, g * kGroup + k), r, k, group);
        put_scales(format, shape, block, g, r, group);
      }
    }
  }
}

void unpack_codes(Format format, const uint8_t* block, int row, int cols, float* dst) {
  const Shape shape = shape_of(format);
  const int groups = shape.source_values / kGroup;
  const size_t super_bytes = shape.header + shape.group * groups;
  for (int k = 0; k < cols; k += kHalfGroup) {  // values of one scale in every format
    const uint8_t* header = block + k / shape.source_values * super_bytes;
    const uint8_t* group = header + shape.header + k % shape.source_values / kGroup * shape.group;
    const Scale at = scale_at(format, shape, header, group, row, k % kGroup);
    for (int i = 0; i < kHalfGroup; i++) {
      const int code = code_at(shape.bits, group, row, k % kGroup + i);
      const int value = format == Format::kIq4Nl ? static_cast<int8_t>(kIq4Values[code] ^ kByteZero) : code - shape.offset;
      const float product = at.scale * static_cast<float>(value);
      dst[k + i] = product + at.least;
    }
  }
}

}  // namespace lockstep::cpu::LOCKSTEP_ISA
