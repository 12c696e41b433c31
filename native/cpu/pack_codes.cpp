// Quantised weights: the blocks of GGUF files into packed blocks, and one row back out. Layouts: isa/layout.h; the blocks of GGUF files:
// ggml's quantisation reference. Codes, scales and minimums keep their bits; only their places change, and a K-quant's 6-bit scales get a
// byte each. Runs at load (and unpack_codes once a token), so it is plain code.
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

// Four codes, one a byte, so that a row is moved four values at a time: a start waits for it.
constexpr int kWordCodes = 4;
constexpr int kGroupWords = kGroup / kWordCodes;
uint32_t each(uint32_t byte) { return byte * 0x01010101u; }
uint32_t load_word(const uint8_t* p) {
  uint32_t word;
  memcpy(&word, p, sizeof(word));
  return word;
}

// --- GGUF blocks ---

// Bits 0 … 3, one a byte.
uint32_t spread_bits(uint32_t four) { return (four & 15) * 0x00204081u & each(1); }

// The fifth bits of a group of q5_0 or q5_1 lie in the word before its nibbles, one a value.
uint32_t fifth_bits(const uint8_t* nibbles, int j) { return spread_bits(load_word(nibbles - 4) >> (kWordCodes * j)) << 4; }

// Codes k = 4j … 4j + 3 of group g of a block.
uint32_t source_word(Format format, const Shape& shape, const uint8_t* block, int g, int j) {
  const uint8_t* codes = block + shape.source_codes;
  const auto small_nibbles = [&] { return load_word(codes + j % 4 * kWordCodes) >> (j / 4 * 4) & each(15); };
  const auto super_nibbles = [&] { return load_word(codes + g / 2 * kGroup + j * kWordCodes) >> (g % 2 * 4) & each(15); };
  switch (format) {
    case Format::kQ4_0:
    case Format::kQ4_1:
    case Format::kIq4Nl:
      return small_nibbles();
    case Format::kQ5_0:
    case Format::kQ5_1:
      return small_nibbles() | fifth_bits(codes, j);
    case Format::kQ4_K:
      return super_nibbles();
    case Format::kQ5_K:
      return super_nibbles() | (load_word(codes - kGroup + j * kWordCodes) >> g & each(1)) << 4;
    case Format::kQ6_K: {
      const int half = g / 4;
      const int quarter = g % 4;
      const uint32_t low = load_word(codes + half * 64 + quarter % 2 * kGroup + j * kWordCodes) >> (quarter / 2 * 4) & each(15);
      return low | (load_word(codes + 128 + half * kGroup + j * kWordCodes) >> (quarter * 2) & each(3)) << 4;
    }
    default:
      return load_word(codes + j * kWordCodes);
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

// All codes of row r.
void put_words(int bits, const uint32_t* words, int r, uint8_t* group) {
  const auto put = [&](uint8_t* plane, int vector, uint32_t word) { memcpy(plane + lane_byte(vector, r, 0), &word, sizeof(word)); };
  if (bits == 8) {
    for (int j = 0; j < kGroupWords; j++) put(group, j, words[j] ^ each(kByteZero));
    return;
  }
  for (int j = 0; j < kGroupWords; j += 2) put(group, j / 2, (words[j] & each(15)) | (words[j + 1] & each(15)) << 4);
  if (bits == 4) return;
  const int vectors = 8 / (bits - 4);  // whose upper bits share a byte
  for (int j = 0; j < kGroupWords; j += vectors) {
    uint32_t upper = 0;
    for (int i = 0; i < vectors; i++) upper |= (words[j + i] >> 4 & each((1u << (bits - 4)) - 1)) << (i * (bits - 4));
    put(group + kQ4Bytes, j / vectors, upper);
  }
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
        uint32_t words[kGroupWords];
        for (int j = 0; j < kGroupWords; j++) words[j] = source_word(format, shape, block, g, j);
        put_words(shape.bits, words, r, group);
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
