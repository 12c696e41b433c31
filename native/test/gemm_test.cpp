// Matrix products: against float64 for every format and odd sizes; equal bits whatever the rows, tiles and blocks of a call; epilogues.
#include "blocks.h"

namespace lockstep::test {
namespace {

using cpu::Epilogue;
using cpu::Format;
using cpu::GemmOut;
using cpu::Input;
using cpu::kBlockRows;

constexpr Format kFormats[] = {Format::kF32,  Format::kBf16,  Format::kQ8_0, Format::kQ4_0, Format::kQ4_1, Format::kQ5_0,
                               Format::kQ5_1, Format::kIq4Nl, Format::kQ4_K, Format::kQ5_K, Format::kQ6_K};
constexpr const char* kNames[] = {"f32", "bf16", "q8_0", "q4_0", "q4_1", "q5_0", "q5_1", "iq4_nl", "q4_k", "q5_k", "q6_k"};

// A packed matrix and its values as the format holds them.
struct Matrix {
  cpu::Packed packed;
  std::vector<uint8_t> data;
  std::vector<float> values;  // [rows, cols]
};

bool is_float(Format format) { return format == Format::kF32 || format == Format::kBf16; }

// Quantised: random bytes, which all mean something once the scales are sane halves.
void fill_quantised(const cpu::Kernels& k, Random& random, Format format, int rows, int cols, Matrix* m) {
  const quant::TypeInfo& type = *quant::type_info(kNames[static_cast<int>(format)]);
  const size_t row_bytes = quant::row_bytes(type, static_cast<size_t>(cols));
  const std::vector<uint8_t> source = random_blocks(random, type, row_bytes * rows / static_cast<size_t>(type.block_bytes));
  const size_t bytes = k.packed_block_bytes(format, cols);
  for (int first = 0; first < rows; first += kBlockRows) {
    const uint8_t* pointers[kBlockRows];
    const int n = std::min(kBlockRows, rows - first);
    for (int r = 0; r < n; r++) pointers[r] = source.data() + (first + r) * row_bytes;
    k.pack_blocks(format, pointers, n, cols, m->data.data() + first / kBlockRows * bytes);
  }
  for (int r = 0; r < rows; r++) {
    const size_t count = static_cast<size_t>(cols);
    quant::dequantize_row(type, source.data() + r * row_bytes, count, m->values.data() + r * count);
  }
}

void fill_float(const cpu::Kernels& k, Random& random, Format format, int rows, int cols, Matrix* m) {
  m->values = random.values(m->values.size());
  const size_t bytes = k.packed_block_bytes(format, cols);
  for (int first = 0; first < rows; first += kBlockRows) {
    const float* pointers[kBlockRows];
    const int n = std::min(kBlockRows, rows - first);
    for (int r = 0; r < n; r++) pointers[r] = m->values.data() + static_cast<size_t>(first + r) * cols;
    k.pack_float(format, pointers, n, cols, m->data.data() + first / kBlockRows * bytes);
  }
  if (format == Format::kBf16) {
    for (float& v : m->values) v = bf16_round(v);
  }
}

Matrix make_matrix(const cpu::Kernels& k, Format format, int rows, int cols) {
  Random random(static_cast<uint64_t>(rows) * 4096 + static_cast<uint64_t>(cols) * 8 + static_cast<uint64_t>(format));
  Matrix m;
  const int blocks = (rows + kBlockRows - 1) / kBlockRows;
  m.data.resize(k.packed_block_bytes(format, cols) * blocks);
  m.values.resize(static_cast<size_t>(rows) * cols);
  if (is_float(format)) {
    fill_float(k, random, format, rows, cols, &m);
  } else {
    fill_quantised(k, random, format, rows, cols, &m);
  }
  m.packed = {format, rows, cols, m.data.data()};
  return m;
}

// m rows of activations in every kind; `seen` is what the format multiplies with.
struct Activations {
  Input input{};
  std::vector<float> f32;
  std::vector<uint16_t> bf16;
  std::vector<uint8_t> int8;

  Activations(const cpu::Kernels& k, int m, int cols, float nan_at = -1) {
    Random random(static_cast<uint64_t>(m) * 131 + static_cast<uint64_t>(cols));
    const int kp = (cols + 31) / 32 * 32;
    const size_t count = static_cast<size_t>(m) * kp;
    const cpu::Int8Layout layout(kp);
    f32.resize(count), bf16.resize(count), int8.resize(m * layout.bytes);
    input = {kp, f32.data(), bf16.data(), int8.data()};
    for (int r = 0; r < m; r++) {
      std::vector<float> x = random.values(static_cast<size_t>(cols));
      if (r % 3 == 1) x[static_cast<size_t>(r * 37 % cols)] *= 64;  // an outlier, in some rows of a tile
      if (r == static_cast<int>(nan_at)) x[0] = NAN;
      const size_t at = static_cast<size_t>(r) * kp;
      std::copy(x.begin(), x.end(), f32.begin() + static_cast<long>(at));
      k.to_bf16(x.data(), cols, kp, bf16.data() + at);
      k.to_int8(x.data(), cols, kp, int8.data() + r * layout.bytes);
    }
  }

  double seen(Format format, int row, int col) const {
    const size_t at = static_cast<size_t>(row) * input.k_padded + col;
    if (format == Format::kF32) return f32[at];
    if (format == Format::kBf16) return bf16_round(f32[at]);
    const int group = col / 32;
    const cpu::Int8Layout layout(input.k_padded);
    const cpu::Int8Row x(input.int8 + row * layout.bytes, layout);
    const bool is_wide = (x.has_outlier[group / 64] >> (group % 64) & 1) != 0 && x.outlier[group].vector == col % 32 / 4;
    return static_cast<double>(x.scale[group]) * (x.codes[col] + (is_wide ? 128 * x.outlier[group].high[col % 4] : 0));
  }
};

GemmOut plain(float* out, size_t ld) { return {Epilogue::kStore, Activation::kSilu, nullptr, out, ld, nullptr, nullptr, nullptr}; }

// y[row of x, row of w] in float64, and the sum of the magnitudes, to which rounding is in proportion.
struct Exact {
  double value;
  double magnitude;
};
Exact exact(const Matrix& w, const Activations& x, int m, int n) {
  Exact e{0, 0};
  for (int c = 0; c < w.packed.cols; c++) {
    const double product = w.values[static_cast<size_t>(n) * w.packed.cols + c] * x.seen(w.packed.format, m, c);
    e.value += product;
    e.magnitude += std::fabs(product);
  }
  return e;
}

void check_accuracy(Check& check, const cpu::Kernels& k, Format format, int rows, int cols, int m) {
  const Matrix w = make_matrix(k, format, rows, cols);
  const Activations x(k, m, cols);
  const size_t ld = static_cast<size_t>(rows) + 3;
  std::vector<float> out(ld * m, 7.0f);
  k.gemm(w.packed, 0, (rows + kBlockRows - 1) / kBlockRows, x.input, m, plain(out.data(), ld));
  char what[64];
  std::snprintf(what, sizeof(what), "%s [%d, %d] x %d", kNames[static_cast<int>(format)], rows, cols, m);
  for (int r = 0; r < m; r++) {
    for (int n = 0; n < rows; n++) {
      const Exact want = exact(w, x, r, n);
      check.near(out[r * ld + n], want.value, 2e-6 * want.magnitude + 1e-9, what, n);
    }
    for (size_t n = rows; n < ld; n++) check.expect(out[r * ld + n] == 7.0f, "%s: wrote behind row %d", what, r);
  }
}

}  // namespace

void test_gemm_accuracy(Check& check, const cpu::Kernels& k) {
  for (Format format : kFormats) {
    for (int cols : {2, 48, 80, 112, 208, 576}) {
      if (!is_float(format)) cols = (cols + cpu::quant_block(format) - 1) / cpu::quant_block(format) * cpu::quant_block(format);
      for (int rows : {1, 31, 32, 80}) {
        for (int m : {1, 2, 3, 5, 8, 13}) check_accuracy(check, k, format, rows, cols, m);
      }
    }
  }
}

namespace {

// Rows and columns by the hundred, which kernels may do in several parts, in any order of the rows.
void check_many(Check& check, const cpu::Kernels& k, Format format) {
  constexpr int kRows = 48, kBlocks = 2, kMany = 147, kCols = 2560, kEvery = 7;
  const Matrix w = make_matrix(k, format, kRows, kCols);
  const Activations x(k, kMany, kCols);
  std::vector<int32_t> order(kMany);
  for (int r = 0; r < kMany; r++) order[static_cast<size_t>(r)] = r * 64 % kMany;
  std::vector<float> together(static_cast<size_t>(kMany) * kRows), shuffled(together.size());
  k.gemm(w.packed, 0, kBlocks, x.input, kMany, plain(together.data(), kRows));
  GemmOut by_order = plain(shuffled.data(), kRows);
  by_order.in_rows = order.data();
  k.gemm(w.packed, 0, kBlocks, x.input, kMany, by_order);
  for (int i = 0; i < kMany; i += kEvery) {
    const int32_t row = order[static_cast<size_t>(i)];
    float alone[kRows];
    GemmOut out = plain(alone, kRows);
    out.in_rows = &row;
    k.gemm(w.packed, 0, kBlocks, x.input, 1, out);
    check.expect(same_bits(alone, together.data() + row * kRows, kRows) && same_bits(alone, shuffled.data() + i * kRows, kRows),
                 "%s: row %d of %d differs from one", kNames[static_cast<int>(format)], row, kMany);
  }
}

}  // namespace

void test_gemm_sameness(Check& check, const cpu::Kernels& k) {
  constexpr int kRows = 80, kBlocks = 3, kMost = 33;
  for (Format format : kFormats) {
    const int kCols = cpu::quant_block(format) == cpu::kSuperBlock ? 512 : 224;
    const Matrix w = make_matrix(k, format, kRows, kCols);
    const Activations x(k, kMost, kCols);
    std::vector<float> alone(static_cast<size_t>(kMost) * kRows);
    for (int r = 0; r < kMost; r++) {  // one row at a time, reached by in_rows
      const int32_t row = r;
      GemmOut out = plain(alone.data() + r * kRows, kRows);
      out.in_rows = &row;
      k.gemm(w.packed, 0, kBlocks, x.input, 1, out);
    }
    for (int m = 1; m <= kMost; m++) {
      std::vector<float> together(static_cast<size_t>(m) * kRows);
      k.gemm(w.packed, 0, kBlocks, x.input, m, plain(together.data(), kRows));
      check.expect(same_bits(together.data(), alone.data(), together.size()), "%s: %d rows differ from one",
                   kNames[static_cast<int>(format)], m);
      std::vector<float> blocks(together.size());
      for (int b = 0; b < kBlocks; b++) k.gemm(w.packed, b, 1, x.input, m, plain(blocks.data(), kRows));
      check.expect(same_bits(blocks.data(), alone.data(), blocks.size()), "%s: %d rows by block differ", kNames[static_cast<int>(format)],
                   m);
    }
    // A NaN row is its own affair.
    const Activations poisoned(k, kMost, kCols, 4);
    std::vector<float> out(alone.size());
    k.gemm(w.packed, 0, kBlocks, poisoned.input, kMost, plain(out.data(), kRows));
    check.expect(same_bits(out.data(), alone.data(), 4 * kRows) && same_bits(out.data() + 5 * kRows, alone.data() + 5 * kRows, 28 * kRows),
                 "%s: a row with NaN changes others", kNames[static_cast<int>(format)]);
    if (is_float(format)) check.expect(std::isnan(out[4 * kRows]), "%s: NaN was lost", kNames[static_cast<int>(format)]);
    check_many(check, k, format);
  }
}

namespace {

double activation_of(Activation kind, double x) {
  switch (kind) {
    case Activation::kSilu:
      return x / (1 + std::exp(-x));
    case Activation::kGeluTanh:
      return 0.5 * x * (1 + std::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
    case Activation::kGelu:
      return 0.5 * x * std::erfc(-x / std::sqrt(2.0));
    case Activation::kRelu:
      return x > 0 ? x : 0;
  }
  return 0;
}

constexpr Activation kActivations[] = {Activation::kSilu, Activation::kGeluTanh, Activation::kGelu, Activation::kRelu};

// The epilogues against a plain product: m rows go to rows 2, 5, 8 … of out.
void check_epilogue(Check& check, const cpu::Kernels& k, Format format, Epilogue epilogue, Activation activation, int rows) {
  constexpr int kM = 5;
  const int kCols = cpu::quant_block(format) == cpu::kSuperBlock ? 256 : 96;
  const Matrix w = make_matrix(k, format, rows, kCols);
  const Activations x(k, kM, kCols);
  const int blocks = (rows + kBlockRows - 1) / kBlockRows;
  Random random(9);
  const std::vector<float> bias = random.values(static_cast<size_t>(blocks) * kBlockRows, 8.0f), weight = random.values(kM);
  const int32_t out_rows[kM] = {2, 5, 8, 11, 14};
  std::vector<float> y(static_cast<size_t>(kM) * rows), out(static_cast<size_t>(16) * rows);
  k.gemm(w.packed, 0, blocks, x.input, kM, plain(y.data(), static_cast<size_t>(rows)));
  const std::vector<float> before = random.values(out.size());
  out = before;
  const int width = epilogue == Epilogue::kGated ? rows / 2 : rows;
  const GemmOut args = {epilogue, activation, bias.data(), out.data(), static_cast<size_t>(width), nullptr, out_rows, weight.data()};
  k.gemm(w.packed, 0, blocks, x.input, kM, args);
  std::vector<double> want(before.begin(), before.end());
  for (int m = 0; m < kM; m++) {
    for (int i = 0; i < width; i++) {
      double* at = &want[static_cast<size_t>(out_rows[m]) * width + i];
      const float* row = y.data() + m * rows;
      if (epilogue == Epilogue::kGated) {
        const int gate = i / 16 * 32 + i % 16;
        *at = activation_of(activation, static_cast<double>(row[gate]) + bias[gate]) *
              (static_cast<double>(row[gate + 16]) + bias[gate + 16]);
        continue;
      }
      const double v = static_cast<double>(row[i]) + bias[i];
      *at = epilogue == Epilogue::kAdd ? *at + v * weight[m] : epilogue == Epilogue::kAct ? activation_of(activation, v) : v;
    }
  }
  for (size_t i = 0; i < want.size(); i++) check.near(out[i], want[i], 4e-6 * (1 + std::fabs(want[i])), "epilogue", static_cast<int>(i));
  if (epilogue != Epilogue::kGated && epilogue != Epilogue::kAct) return;
  // The same values rounded, but for what a coarser exp makes of those close to the middle of two, and nothing else touched.
  constexpr uint16_t kUntouched = 0x4321;
  std::vector<uint16_t> rounded(out.size(), kUntouched);
  GemmOut to_bf16 = args;
  to_bf16.out = nullptr;
  to_bf16.bf16 = rounded.data();
  k.gemm(w.packed, 0, blocks, x.input, kM, to_bf16);
  for (size_t i = 0; i < want.size(); i++) {
    if (out[i] == before[i]) {
      check.expect(rounded[i] == kUntouched, "epilogue in bf16: a row that is not of the result was written");
      continue;
    }
    const uint32_t bits = static_cast<uint32_t>(rounded[i]) << 16;
    float value;
    std::memcpy(&value, &bits, sizeof(value));
    const double half_step = want[i] == 0 ? 0 : std::ldexp(1.0, std::ilogb(want[i]) - 8);
    check.near(value, want[i], half_step + 1e-5 * std::fabs(want[i]) + 4e-6, "epilogue in bf16", static_cast<int>(i));
  }
  if (activation == Activation::kSilu || activation == Activation::kGeluTanh) return;
  // Those that have no exp of their own for bf16 are rounded and nothing else.
  std::vector<uint16_t> row(static_cast<size_t>(width) + 32);
  for (const int32_t at : out_rows) {
    const size_t first = static_cast<size_t>(at) * width;
    k.to_bf16(out.data() + first, width, cpu::kGroup * ((width + cpu::kGroup - 1) / cpu::kGroup), row.data());
    check.expect(std::equal(row.begin(), row.begin() + width, rounded.begin() + static_cast<int64_t>(first)), "epilogue in bf16, %d rows",
                 rows);
  }
}

}  // namespace

void test_gemm_epilogues(Check& check, const cpu::Kernels& k) {
  for (Format format : kFormats) {
    for (int rows : {1, 16, 32, 70}) {
      check_epilogue(check, k, format, Epilogue::kStore, Activation::kSilu, rows);
      check_epilogue(check, k, format, Epilogue::kAdd, Activation::kSilu, rows);
      for (Activation activation : kActivations) check_epilogue(check, k, format, Epilogue::kAct, activation, rows);
    }
    for (int rows : {32, 64, 96}) {
      for (Activation activation : kActivations) check_epilogue(check, k, format, Epilogue::kGated, activation, rows);
    }
  }
  // A gated size of 24: the last block has 8 of each, up still at row 16; nothing is written behind the row.
  const Matrix w = make_matrix(k, Format::kF32, 64, 48);
  const Activations x(k, 3, 48);
  std::vector<float> whole(3 * 32), part(3 * 25, 7.0f);
  GemmOut out = {Epilogue::kGated, Activation::kSilu, nullptr, whole.data(), 32, nullptr, nullptr, nullptr};
  k.gemm(w.packed, 0, 2, x.input, 3, out);
  out.out = part.data();
  out.ld = 25;
  cpu::Packed short_w = w.packed;
  short_w.rows = 48;
  short_w.then = w.packed.data;
  k.gemm(short_w, 0, 2, x.input, 3, out);
  for (int m = 0; m < 3; m++) {
    check.expect(same_bits(part.data() + m * 25, whole.data() + m * 32, 24) && part[m * 25 + 24] == 7.0f, "gated tail, row %d", m);
  }
}

}  // namespace lockstep::test
