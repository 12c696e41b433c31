// Decoding of GGUF types against recorded vectors, and packing: every weight comes back out as the file had it.
#include "blocks.h"
#include "data/gguf_vectors.h"

namespace lockstep::test {
namespace {

using cpu::Format;

int hex_digit(char c) { return c <= '9' ? c - '0' : c - 'a' + 10; }

std::vector<uint8_t> from_hex(const char* digits) {
  std::vector<uint8_t> bytes;
  for (; *digits != 0; digits += 2) bytes.push_back(static_cast<uint8_t>(hex_digit(digits[0]) << 4 | hex_digit(digits[1])));
  return bytes;
}

void check_pack_float(Check& check, const cpu::Kernels& k, Format format, int rows, int cols) {
  Random random(static_cast<uint64_t>(rows * 1000 + cols));
  const std::vector<float> w = random.values(static_cast<size_t>(rows) * cols);
  const float* pointers[cpu::kBlockRows];
  for (int r = 0; r < rows; r++) pointers[r] = r == 1 ? nullptr : w.data() + static_cast<size_t>(r) * cols;
  std::vector<uint8_t> block(k.packed_block_bytes(format, cols), 0xff);
  k.pack_float(format, pointers, rows, cols, block.data());
  std::vector<float> out(static_cast<size_t>(cols));
  for (int r = 0; r < cpu::kBlockRows; r++) {
    k.unpack_row(format, block.data(), r, cols, out.data());
    for (int c = 0; c < cols; c++) {
      float want = r >= rows || r == 1 ? 0.0f : w[static_cast<size_t>(r) * cols + c];
      if (format == Format::kBf16) want = bf16_round(want);
      check.expect(out[c] == want, "row %d column %d of %d: got %g, want %g", r, c, cols, out[c], want);
    }
  }
}

void check_pack_blocks(Check& check, const cpu::Kernels& k, Format format, const char* name, int rows, int cols) {
  const quant::TypeInfo& type = *quant::type_info(name);
  Random random(static_cast<uint64_t>(rows * 77 + cols));
  std::vector<std::vector<uint8_t>> w;
  const uint8_t* pointers[cpu::kBlockRows];
  for (int r = 0; r < rows; r++) w.push_back(random_blocks(random, type, static_cast<size_t>(cols / type.block_values)));
  for (int r = 0; r < rows; r++) pointers[r] = r == 2 ? nullptr : w[r].data();
  std::vector<uint8_t> block(k.packed_block_bytes(format, cols), 0xff);
  k.pack_blocks(format, pointers, rows, cols, block.data());
  std::vector<float> out(static_cast<size_t>(cols)), want(static_cast<size_t>(cols));
  for (int r = 0; r < cpu::kBlockRows; r++) {
    std::fill(want.begin(), want.end(), 0.0f);
    if (r < rows && r != 2) quant::dequantize_row(type, w[r].data(), want.size(), want.data());
    k.unpack_row(format, block.data(), r, cols, out.data());
    for (int c = 0; c < cols; c++) check.expect(out[c] == want[c], "row %d column %d: got %g, want %g", r, c, out[c], want[c]);
  }
}

}  // namespace

void test_dequantize(Check& check) {
  for (const GgufVector& vector : kGgufVectors) {
    const quant::TypeInfo* type = quant::type_info(vector.type);
    if (!check.expect(type != nullptr, "%s cannot be decoded", vector.type)) continue;
    const std::vector<uint8_t> bytes = from_hex(vector.bytes);
    const std::vector<uint8_t> bits = from_hex(vector.values);
    std::vector<float> out(static_cast<size_t>(vector.count));
    check.expect(bytes.size() == quant::row_bytes(*type, out.size()), "%s: %zu bytes", vector.type, bytes.size());
    quant::dequantize_row(*type, bytes.data(), out.size(), out.data());
    for (size_t i = 0; i < out.size(); i++) {
      const uint8_t* b = bits.data() + 4 * i;
      const uint32_t word = static_cast<uint32_t>(b[0]) << 24 | static_cast<uint32_t>(b[1]) << 16 | static_cast<uint32_t>(b[2]) << 8 | b[3];
      const float want = quant::float_of_bits(word);
      check.expect(out[i] == want, "%s value %zu: got %.9g, want %.9g", vector.type, i, out[i], want);
    }
  }
  // Halves: subnormals, zeros, the largest, infinity.
  check.expect(quant::half_to_float(1) == 0x1p-24f, "smallest half");
  check.expect(quant::half_to_float(0x83ff) == -1023 * 0x1p-24f, "largest subnormal half");
  check.expect(quant::half_to_float(0x7bff) == 65504.0f, "largest half");
  check.expect(std::signbit(quant::half_to_float(0x8000)), "minus zero");
  check.expect(std::isinf(quant::half_to_float(0x7c00)) && std::isnan(quant::half_to_float(0x7e00)), "infinity and NaN");
}

void test_pack(Check& check, const cpu::Kernels& k) {
  for (Format format : {Format::kF32, Format::kBf16}) {
    for (int cols : {2, 31, 32, 48, 80, 112, 208, 576}) {
      for (int rows : {1, 5, 32}) check_pack_float(check, k, format, rows, cols);
    }
  }
  struct Quantised {
    Format format;
    const char* name;
  };
  constexpr Quantised kQuantised[] = {
      {Format::kQ8_0, "q8_0"},    {Format::kQ4_0, "q4_0"}, {Format::kQ4_1, "q4_1"}, {Format::kQ5_0, "q5_0"}, {Format::kQ5_1, "q5_1"},
      {Format::kIq4Nl, "iq4_nl"}, {Format::kQ4_K, "q4_k"}, {Format::kQ5_K, "q5_k"}, {Format::kQ6_K, "q6_k"},
  };
  for (const Quantised& q : kQuantised) {
    for (int blocks : {1, 2, 7, 18}) {
      for (int rows : {1, 7, 32}) check_pack_blocks(check, k, q.format, q.name, rows, blocks * cpu::quant_block(q.format));
    }
  }
}

}  // namespace lockstep::test
