// Bricks against float64, on an emulated device in tests and on a real one in scripts/gpu-check: what a checkpoint holds, packed, embedded,
// dequantised and multiplied, is what the decoders of native/common/quant make of the same blocks; and a row's bits do not depend on the
// rows beside it.
#include <unistd.h>

#include <array>
#include <cstdlib>

#include "blocks.h"
#include "common/source_files.h"
#include "common/tensor_type.h"
#include "cuda/pack.h"
#include "device_bench.h"

namespace lockstep::test {
namespace {

using namespace cuda;

// A file of bytes, and what reads tensors of it.
class Checkpoint {
 public:
  explicit Checkpoint(const std::vector<uint8_t>& bytes) {
    const char* folder = std::getenv("TMPDIR");
    path_ = std::string(folder != nullptr ? folder : "/tmp") + "/lockstep-bricks-XXXXXX";
    std::FILE* file = fdopen(mkstemp(path_.data()), "wb");
    std::fwrite(bytes.data(), 1, bytes.size(), file);
    std::fclose(file);
    is_open_ = files_.open({path_}).ok();
  }
  ~Checkpoint() { std::remove(path_.c_str()); }
  bool is_open() const { return is_open_; }
  const SourceFiles* files() const { return &files_; }

 private:
  std::string path_;
  SourceFiles files_;
  bool is_open_ = false;
};

// A tensor of random codes and what they mean.
struct Sample {
  WeightTensor tensor;
  std::vector<uint8_t> bytes;
  std::vector<float> values;  // [rows, cols]
};

WeightTensor tensor_of(WeightFormat format, ElementType type, int rows, int cols) {
  WeightTensor tensor;
  tensor.name = "w", tensor.rows = rows, tensor.cols = cols, tensor.format = format;
  tensor.source.type = type, tensor.source.rows = rows, tensor.source.cols = cols;
  return tensor;
}

Sample blocks_sample(Random& random, WeightFormat format, ElementType type, int rows, int cols) {
  Sample sample{tensor_of(format, type, rows, cols), {}, {}};
  const quant::TypeInfo& info = type_info(format);
  sample.bytes = random_blocks(random, info, static_cast<size_t>(rows) * cols / info.block_values);
  sample.values.resize(static_cast<size_t>(rows) * cols);
  quant::dequantize_row(info, sample.bytes.data(), sample.values.size(), sample.values.data());
  return sample;
}

// Codes in rows, then a float scale for each group: float8 in blocks of 128 or a scale a row, 4 bits with one scale for 128 columns.
Sample scaled_sample(Random& random, ElementType type, int rows, int cols, int group_rows, int group_cols) {
  const bool is_float = type == ElementType::kF8E4M3;
  Sample sample{tensor_of(is_float ? WeightFormat::kQ8_0 : WeightFormat::kQ4_0, type, rows, cols), {}, {}};
  const size_t code_bytes = static_cast<size_t>(rows) * cols / (is_float ? 1 : 2);
  const int across = (cols + group_cols - 1) / group_cols;
  for (size_t i = 0; i < code_bytes; i++) {
    const uint8_t code = static_cast<uint8_t>(random.next());
    sample.bytes.push_back(is_float && (code & 0x7f) == 0x7f ? 0x80 : code);  // no NaN, but a minus zero
  }
  std::vector<float> scales;
  for (int i = 0; i < (rows + group_rows - 1) / group_rows * across; i++)
    scales.push_back(static_cast<float>(1 + random.below(7)) * 0x1p-9F);
  const auto* bytes = reinterpret_cast<const uint8_t*>(scales.data());
  sample.bytes.insert(sample.bytes.end(), bytes, bytes + scales.size() * sizeof(float));
  Scaling& scaling = sample.tensor.scaling;
  scaling.present = scaling.scales.present = true;
  scaling.group_rows = group_rows, scaling.group_cols = group_cols;
  scaling.scales.byte_offset = static_cast<int64_t>(code_bytes);
  scaling.zero_point = is_float ? 0 : 8;
  for (int r = 0; r < rows; r++) {
    for (int c = 0; c < cols; c++) {
      const size_t at = static_cast<size_t>(r) * cols + c;
      const uint8_t byte = sample.bytes[is_float ? at : at / 2];
      const float code = is_float ? quant::f8_e4m3_to_float(byte) : static_cast<float>((at % 2 == 0 ? byte & 15 : byte >> 4) - 8);
      sample.values.push_back(scales[r / group_rows * across + c / group_cols] * code);
    }
  }
  return sample;
}

// Columns cols of the sample's rows, as tiles.
uint8_t* packed(Bench& b, const Sample& sample, Range cols, Bricks bricks) {
  const size_t bytes = tile_bytes(bricks, cols.count);
  const int tiles = tiles_down(sample.tensor.rows);
  uint8_t* out = b.take<uint8_t>(bytes * tiles);
  std::fill(out, out + bytes * tiles, 0);
  const Checkpoint checkpoint(sample.bytes);
  TensorRows reader(checkpoint.files());
  for (int tile = 0; checkpoint.is_open() && tile < tiles; tile++) {
    const int first = tile * kBrickRows;
    const Status status = pack_rows(sample.tensor, first, std::min(kBrickRows, sample.tensor.rows - first), cols, bricks, nullptr, &reader,
                                    0, out + bytes * tile);
    b.check.expect(status.ok(), "packing: %s", status.text().c_str());
  }
  return out;
}

struct Case {
  Bricks bricks;
  Sample sample;
  Range cols;
};

void products_of(Bench& b, const Case& c, const uint8_t* tiles, int rows) {
  const int n = c.sample.tensor.rows;
  const int k = c.cols.count;
  const float* x = b.rows(rows, k, k);
  const uint16_t* halves = b.halves(const_cast<float*>(x), static_cast<size_t>(rows) * k);
  const float* bias = rows % 2 == 1 ? b.rows(1, n, n) : nullptr;
  float* out = b.take<float>(static_cast<size_t>(rows) * n);
  GemmArgs args{halves, tiles, Type::kBf16, bias, nullptr, 1, rows, n, k, k, k, out, n, c.bricks};
  b.run(b.runtime->kernels->gemm, args);
  for (int i = 0; i < rows; i++) {
    for (int j = 0; j < n; j++) {
      double want = bias == nullptr ? 0 : wide(bias[j]);
      double size = 1e-3;
      for (int col = 0; col < k; col++) {
        const double product = wide(x[static_cast<size_t>(i) * k + col]) *
                               wide(c.sample.values[static_cast<size_t>(j) * c.sample.tensor.cols + c.cols.first + col]);
        want += product;
        size += std::fabs(product);
      }
      b.check.near(wide(out[static_cast<size_t>(i) * n + j]), want, 2e-6 * size, "product of bricks", i * n + j);
    }
  }
  for (const bool is_wide : {false, true}) {
    float* in_tiles = b.take<float>(static_cast<size_t>(rows) * n);
    GemmTilesArgs tiled{args, is_wide};
    tiled.gemm.out = in_tiles;
    b.run(b.runtime->kernels->gemm_tiles, tiled);
    b.check.expect(same_bits(in_tiles, out, static_cast<size_t>(rows) * n), "bricks of kind %d: %d rows have other bits in tiles (wide %d)",
                   static_cast<int>(c.bricks), rows, is_wide);
  }
  float* alone = b.take<float>(n);
  args.x = halves + static_cast<size_t>(rows - 1) * k, args.rows = 1, args.out = alone;
  b.run(b.runtime->kernels->gemm, args);
  b.check.expect(same_bits(alone, out + static_cast<size_t>(rows - 1) * n, n),
                 "bricks of kind %d: a row alone has other bits than among %d", static_cast<int>(c.bricks), rows);
  args.x = halves, args.rows = rows, args.out = out;
  expect_fused(b, args);
}

void whole_matrix(Bench& b, const Case& c, const std::vector<int>& row_counts) {
  const WeightTensor& tensor = c.sample.tensor;
  b.check.expect(bricks_for(tensor, c.cols) == c.bricks, "bricks of kind %d are of another", static_cast<int>(c.bricks));
  const uint8_t* tiles = packed(b, c.sample, c.cols, c.bricks);
  const int n = tensor.rows;
  const int k = c.cols.count;
  const auto value = [&](int row, int col) { return c.sample.values[static_cast<size_t>(row) * tensor.cols + c.cols.first + col]; };

  uint16_t* rounded = b.take<uint16_t>(static_cast<size_t>(n) * k);
  b.run(b.runtime->kernels->dequantize, {tiles, c.bricks, n, k, rounded, k});
  float* embedded = b.take<float>(3 * k);
  const std::vector<int32_t> ids = {7, -2, 7 + n};  // the second is what row 1 has sampled; the third is not here
  const std::vector<int32_t> last = {0, 7 + n - 1};
  b.run(b.runtime->kernels->embed, {b.values(ids), b.values(last), tiles, Type::kBf16, k, 7, n, 3, k, embedded, k, c.bricks});
  for (int col = 0; col < k; col++) {
    for (int row = 0; row < n; row++) {
      const double want = wide(value(row, col));
      b.check.near(wide(from_bf16(rounded[static_cast<size_t>(row) * k + col])), want, 0.004 * std::fabs(want) + 1e-7, "dequantised", col);
    }
    for (int i = 0; i < 2; i++) {
      const double want = wide(value(i * (n - 1), col));
      b.check.near(wide(embedded[i * k + col]), want, 1e-6 * (std::fabs(want) + 0.1), "embedded", col);
    }
    b.check.expect(embedded[2 * k + col] == 0, "another rank's row is no zeros");
  }
  for (const int rows : row_counts) products_of(b, c, tiles, rows);
}

void experts(Bench& b) {
  const int n = 22, k = 160, count = 3;
  std::vector<Sample> samples;
  std::vector<uint8_t> all;
  for (int e = 0; e < count; e++) {
    samples.push_back(blocks_sample(b.random, WeightFormat::kQ4_1, ElementType::kQ4_1, n, k));
    const uint8_t* tiles = packed(b, samples.back(), {0, k}, Bricks::kInt4);
    all.insert(all.end(), tiles, tiles + tile_bytes(Bricks::kInt4, k) * tiles_down(n));
  }
  float* x = b.rows(2, k, k);
  const uint16_t* halves = b.halves(x, 2 * k);
  const std::vector<int32_t> expert_of = {2, 0, 1, 1};
  float* out = b.take<float>(4 * n);
  b.run(b.runtime->kernels->gemm,
        {halves, b.values(all), Type::kBf16, nullptr, b.values(expert_of), 2, 4, n, k, k, k, out, n, Bricks::kInt4});
  for (int r = 0; r < 4; r++) {
    for (int j = 0; j < n; j++) {
      double want = 0;
      for (int c = 0; c < k; c++) want += wide(x[r / 2 * k + c]) * wide(samples[expert_of[r]].values[j * k + c]);
      b.check.near(wide(out[r * n + j]), want, 2e-5, "product of experts' bricks", r * n + j);
    }
  }
}

}  // namespace

void check_bricks(Bench& b) {
  Random& random = b.random;
  const auto blocks = [&](WeightFormat format, ElementType type, int n, int k) { return blocks_sample(random, format, type, n, k); };
  const auto whole = [](int k) { return Range{0, k}; };
  const std::vector<Case> cases = {
      {Bricks::kInt4, blocks(WeightFormat::kQ4_0, ElementType::kQ4_0, 17, 96), whole(96)},
      {Bricks::kInt4, blocks(WeightFormat::kQ4_1, ElementType::kQ4_1, 33, 1184), whole(1184)},
      {Bricks::kInt4, blocks(WeightFormat::kQ4_1, ElementType::kQ4_1, 1, 320), {64, 160}},  // a rank's columns
      {Bricks::kInt4K, blocks(WeightFormat::kQ4_K, ElementType::kQ4_K, 19, 768), {256, 512}},
      {Bricks::kInt6K, blocks(WeightFormat::kQ6_K, ElementType::kQ6_K, 35, 512), whole(512)},
      {Bricks::kInt8, blocks(WeightFormat::kQ8_0, ElementType::kQ8_0, 16, 224), whole(224)},
      {Bricks::kInt4Wide, scaled_sample(random, ElementType::kU4, 18, 256, 1, 128), whole(256)},
      {Bricks::kInt4Wide, scaled_sample(random, ElementType::kU4, 5, 160, 1, 160), {32, 96}},
      {Bricks::kFp8, scaled_sample(random, ElementType::kF8E4M3, 40, 208, 40, 208), whole(208)},  // a scale a tensor, odd columns
      {Bricks::kFp8, scaled_sample(random, ElementType::kF8E4M3, 21, 112, 1, 112), {16, 80}},     // a scale a row
      {Bricks::kFp8, scaled_sample(random, ElementType::kF8E4M3, 136, 256, 128, 128), {128, 128}},
      // Gate and up in whole tiles.
      {Bricks::kInt4, blocks(WeightFormat::kQ4_1, ElementType::kQ4_1, 64, 160), whole(160)},
      {Bricks::kInt4K, blocks(WeightFormat::kQ4_K, ElementType::kQ4_K, 32, 256), whole(256)},
      {Bricks::kInt6K, blocks(WeightFormat::kQ6_K, ElementType::kQ6_K, 32, 256), whole(256)},
      {Bricks::kInt8, blocks(WeightFormat::kQ8_0, ElementType::kQ8_0, 64, 96), whole(96)},
      {Bricks::kInt4Wide, scaled_sample(random, ElementType::kU4, 32, 128, 1, 128), whole(128)},
      {Bricks::kFp8, scaled_sample(random, ElementType::kF8E4M3, 32, 128, 1, 128), whole(128)},
  };
  for (size_t i = 0; i < cases.size(); i++) {
    b.clear();
    whole_matrix(b, cases[i], i < 2 ? std::vector<int>{1, 2, 7, 8, 9, 16, 17, 33, 65} : std::vector<int>{1, 9, 18, 40});
  }
  b.clear();
  experts(b);
  // What has no bricks: a cut through a block, groups out of order, formats without.
  const WeightTensor q4 = tensor_of(WeightFormat::kQ4_0, ElementType::kQ4_0, 4, 320);
  b.check.expect(bricks_for(q4, {16, 160}) == Bricks::kNone, "a cut through a block has bricks");
  b.check.expect(bricks_for(tensor_of(WeightFormat::kBf16, ElementType::kQ3_K, 4, 256), {0, 256}) == Bricks::kNone, "bf16 has bricks");
}

}  // namespace lockstep::test
