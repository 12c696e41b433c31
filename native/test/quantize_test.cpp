// Quantisation on load: errors against the plain way, grids found again, the same bytes from every instruction set. And the small floats
// that scales are kept in.
#include "check.h"
#include "common/quant/dequantize.h"

namespace lockstep::test {
namespace {

using cpu::Format;

struct Case {
  Format format;
  const char* name;
};
constexpr Case kCases[] = {{Format::kQ8_0, "q8_0"}, {Format::kQ4_0, "q4_0"}, {Format::kQ4_1, "q4_1"}};

// Rows as blocks, and back.
struct Quantised {
  std::vector<uint8_t> bytes;
  std::vector<float> values;
};
Quantised quantise(const cpu::Kernels& k, const Case& c, const std::vector<float>& w, int rows, int cols) {
  const quant::TypeInfo& type = *quant::type_info(c.name);
  const size_t row_bytes = quant::row_bytes(type, static_cast<size_t>(cols));
  Quantised out{std::vector<uint8_t>(row_bytes * rows, 0xee), std::vector<float>(w.size())};
  std::vector<const float*> from(rows);
  std::vector<uint8_t*> to(rows);
  for (int r = 0; r < rows; r++) {
    from[r] = w.data() + static_cast<size_t>(r) * cols;
    to[r] = out.bytes.data() + row_bytes * r;
  }
  k.quantize_blocks(c.format, from.data(), rows, cols, to.data());
  for (int r = 0; r < rows; r++)
    quant::dequantize_row(type, to[r], static_cast<size_t>(cols), out.values.data() + static_cast<size_t>(r) * cols);
  return out;
}

double squared_error(const std::vector<float>& a, const std::vector<float>& b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); i++) sum += (static_cast<double>(a[i]) - b[i]) * (static_cast<double>(a[i]) - b[i]);
  return sum;
}

// The plain way: the scale that spans the group, nearest codes.
double plain_error(const Case& c, const std::vector<float>& w) {
  double sum = 0;
  for (size_t g = 0; g < w.size(); g += 32) {
    const auto [low, high] = std::minmax_element(w.begin() + g, w.begin() + g + 32);
    const double most = std::max(-*low, *high);
    const bool affine = c.format == Format::kQ4_1;
    const double scale = affine ? (*high - *low) / 15.0 : c.format == Format::kQ8_0 ? most / 127 : most / 8;
    const double least = affine ? *low : 0;
    for (size_t i = g; i < g + 32; i++) {
      const double code = affine ? std::round((w[i] - least) / scale)
                                 : std::clamp(std::round(w[i] / scale), -128.0, c.format == Format::kQ8_0 ? 127.0 : 7.0);
      sum += (w[i] - least - scale * code) * (w[i] - least - scale * code);
    }
  }
  return sum;
}

// Near the normal distribution, as weights are.
std::vector<float> bell(Random& random, size_t count, float scale) {
  std::vector<float> out(count);
  for (float& v : out) v = (random.uniform() + random.uniform() + random.uniform() + random.uniform()) * scale;
  return out;
}

void check_errors(Check& check, const cpu::Kernels& k, const Case& c) {
  Random random(7);
  const int rows = 37;
  const int cols = 224;
  const std::vector<float> w = bell(random, static_cast<size_t>(rows) * cols, 0.02F);
  const Quantised q = quantise(k, c, w, rows, cols);
  const double error = squared_error(q.values, w);
  const double plain = plain_error(c, w);
  // 1.000, 0.751 and 0.782 were measured.
  const double bound = c.format == Format::kQ8_0 ? 1.01 : c.format == Format::kQ4_0 ? 0.8 : 0.9;
  check.expect(error <= bound * plain, "%s: squared error is %.3f of the plain way's", c.name, error / plain);
  // A row's bytes do not depend on the rows beside it.
  const Quantised one = quantise(k, c, std::vector<float>(w.begin() + 5 * cols, w.begin() + 6 * cols), 1, cols);
  check.expect(std::memcmp(one.bytes.data(), q.bytes.data() + 5 * one.bytes.size(), one.bytes.size()) == 0, "%s: a row alone", c.name);
  const Quantised plain_code = quantise(*cpu::kernels_for("scalar"), c, w, rows, cols);
  check.expect(plain_code.bytes == q.bytes, "%s: other bytes than scalar code makes", c.name);
}

// Weights that lie on a format's grid come back as they were, whichever codes a group uses.
void check_grid(Check& check, const cpu::Kernels& k, const Case& c) {
  Random random(11);
  const int cols = 32 * 64;
  std::vector<float> w(cols);
  const float scale = 0x1.8p-6F;
  for (int g = 0; g < cols / 32; g++) {
    const int used = c.format == Format::kQ8_0 ? 255 : 14 + random.below(3);
    for (int i = 0; i < 32; i++) {
      const int code = i == 0 ? used - 1 : i == 1 ? 0 : random.below(used);
      w[g * 32 + i] = scale * static_cast<float>(c.format == Format::kQ8_0 ? code - 127 : c.format == Format::kQ4_0 ? code - 8 : code - 3);
    }
  }
  const Quantised q = quantise(k, c, w, 1, cols);
  for (int i = 0; i < cols; i++) check.near(q.values[i], w[i], 1e-3 * scale, c.name, i);
}

void check_edges(Check& check, const cpu::Kernels& k, const Case& c) {
  std::vector<float> w(96, 0.0F);
  for (int i = 32; i < 64; i++) w[i] = 0.5F;
  w[70] = -3.0F;
  const Quantised q = quantise(k, c, w, 1, 96);
  for (int i = 0; i < 96; i++) check.near(q.values[i], w[i], w[i] == 0 && c.format != Format::kQ4_1 ? 1e-6 : 2e-3, c.name, i);
}

}  // namespace

void test_quantize_weights(Check& check, const cpu::Kernels& k) {
  for (const Case& c : kCases) {
    check_errors(check, k, c);
    check_grid(check, k, c);
    check_edges(check, k, c);
  }
}

void test_float_formats(Check& check) {
  for (int code = 0; code < 0x10000; code++) {
    const uint16_t half = static_cast<uint16_t>(code);
    const float value = quant::half_to_float(half);
    if (std::isnan(value))
      check.expect(std::isnan(quant::half_to_float(quant::float_to_half(value))), "NaN %04x", code);
    else
      check.expect(quant::float_to_half(value) == half, "half %04x comes back as %04x", code, quant::float_to_half(value));
  }
  // Halfway between two halves: to the even one; just beyond: up.
  check.expect(quant::float_to_half(1.0F + 0x1p-11F) == 0x3c00 && quant::float_to_half(1.0F + 3 * 0x1p-11F) == 0x3c02, "ties to even");
  check.expect(quant::float_to_half(1.0F + 0x1.004p-11F) == 0x3c01, "above a tie");
  check.expect(quant::float_to_half(0x1p-25F) == 0 && quant::float_to_half(0x1.8p-24F) == 2, "ties of subnormals");
  check.expect(quant::float_to_half(65519.0F) == 0x7bff && quant::float_to_half(65520.0F) == 0x7c00, "the largest half");
  // OCP 8-bit floating point specification, table 2.
  check.expect(quant::f8_e4m3_to_float(0x7e) == 448.0F && quant::f8_e4m3_to_float(0xfe) == -448.0F, "largest e4m3");
  check.expect(quant::f8_e4m3_to_float(0x08) == 0x1p-6F && quant::f8_e4m3_to_float(0x07) == 0.875F * 0x1p-6F, "smallest normal e4m3");
  check.expect(quant::f8_e4m3_to_float(0x01) == 0x1p-9F && quant::f8_e4m3_to_float(0x38) == 1.0F, "smallest e4m3, one");
  check.expect(std::isnan(quant::f8_e4m3_to_float(0x7f)) && std::isnan(quant::f8_e4m3_to_float(0xff)), "NaN of e4m3");
}

}  // namespace lockstep::test
