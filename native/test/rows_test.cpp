// Operations on one row: activations to bf16 and int8, norms, add, RoPE; and what the sampler asks of logits.
#include <limits>

#include "check.h"

namespace lockstep::test {
namespace {

constexpr int kSizes[] = {1, 2, 7, 16, 24, 31, 32, 33, 48, 80, 112, 208, 576, 1000};
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInfinity = std::numeric_limits<float>::infinity();

int padded(int k) { return (k + 31) / 32 * 32; }

void check_bf16(Check& check, const cpu::Kernels& k, const std::vector<float>& x) {
  const int n = static_cast<int>(x.size());
  std::vector<uint16_t> out(static_cast<size_t>(padded(n)), 0xffff);
  k.to_bf16(x.data(), n, padded(n), out.data());
  for (int i = 0; i < padded(n); i++) {
    const uint32_t bits = static_cast<uint32_t>(out[i]) << 16;
    float got;
    std::memcpy(&got, &bits, 4);
    const float want = i < n ? bf16_round(x[i]) : 0.0f;
    check.expect(got == want, "bf16 %d of %d: got %.9g, want %.9g", i, n, got, want);
  }
}

// A row of int8 activations, whose memory holds something else before.
struct Codes {
  std::vector<uint8_t> bytes;
  cpu::Int8Row row;
  Codes(const cpu::Kernels& k, const std::vector<float>& x, int k_padded)
      : bytes(cpu::Int8Layout(k_padded).bytes, 99), row(bytes.data(), cpu::Int8Layout(k_padded)) {
    k.to_int8(x.data(), static_cast<int>(x.size()), k_padded, bytes.data());
  }
};

void check_int8(Check& check, const cpu::Kernels& k, const std::vector<float>& x) {
  const int n = static_cast<int>(x.size());
  const int groups = padded(n) / 32;
  const Codes held(k, x, padded(n));
  const cpu::Int8Row& to = held.row;
  double squares = 0;
  for (float v : x) squares += static_cast<double>(v) * v;
  for (int g = 0; g < groups; g++) {
    int total[2] = {};
    float largest = 0;
    for (int i = g * 32; i < std::min(n, g * 32 + 32); i++) largest = std::fmax(largest, std::fabs(x[i]));
    const bool has_outlier = (to.has_outlier[g / 64] >> (g % 64) & 1) != 0;
    check.expect(has_outlier == (largest > 7 * std::sqrt(squares / n)), "int8: group %d of %d has %s outlier", g, n,
                 has_outlier ? "an" : "no");
    const int from = has_outlier ? g * 32 + 4 * to.outlier[g].vector : g * 32;  // of the four with 15 bits
    const int end = has_outlier ? from + 4 : from;
    float ordinary = has_outlier ? largest / 128 : largest;
    for (int i = g * 32; i < std::min(n, g * 32 + 32); i++) {
      if (has_outlier && (i < from || i >= end)) ordinary = std::fmax(ordinary, std::fabs(x[i]));
    }
    for (int i = g * 32; i < g * 32 + 32; i++) {
      const float want = i < n ? x[i] : 0.0f;
      const int code = to.codes[i] + (i >= from && i < end ? 128 * to.outlier[g].high[i - from] : 0);
      total[i % 32 / 16] += code;
      check.expect(std::fabs(code * to.scale[g] - want) <= 0.502f * to.scale[g], "int8 %d of %d: %d * %g for %g", i, n, code, to.scale[g],
                   want);
    }
    check.expect(to.first_sum[g] == -total[0], "first sum of group %d: %d, want -%d", g, to.first_sum[g], total[0]);
    check.expect(to.sum[g] == -total[0] - total[1], "sum of group %d: %d, want -%d", g, to.sum[g], total[0] + total[1]);
    check.near(to.scale[g], ordinary / 127.0, 1e-6 * ordinary + 1e-30, "scale", g);
  }
}

}  // namespace

void test_activations(Check& check, const cpu::Kernels& k) {
  for (int n : kSizes) {
    Random random(static_cast<uint64_t>(n));
    check_bf16(check, k, random.values(static_cast<size_t>(n), 3.0f));
    check_int8(check, k, random.values(static_cast<size_t>(n), 3.0f));
    std::vector<float> outlier = random.values(static_cast<size_t>(n));
    outlier[static_cast<size_t>(n) / 2] = -100;
    check_int8(check, k, outlier);
    std::vector<float> alone(static_cast<size_t>(n));
    alone[static_cast<size_t>(n) - 1] = 5;
    check_int8(check, k, alone);
  }
  std::vector<float> wide = Random(1).values(5000);  // more than 64 groups
  wide[4000] = 90;
  check_int8(check, k, wide);
  check_int8(check, k, std::vector<float>(64, 0.0f));
  check_bf16(check, k, {1.00390625f, 1.01171875f, -1.00390625f, 3.4e38f, 0.0f, -0.0f});  // ties to even; rounds to infinity
  // NaN and infinity: some result, and NaN stays NaN in bf16.
  std::vector<float> odd(64, 1.0f);
  odd[3] = kNan;
  odd[40] = kInfinity;
  std::vector<uint16_t> bf16(64);
  k.to_bf16(odd.data(), 64, 64, bf16.data());
  check.expect((bf16[3] & 0x7fff) > 0x7f80, "NaN became %04x", bf16[3]);
  const Codes codes(k, odd, 64);
  check.expect(std::isinf(codes.row.scale[1]), "an infinity leaves scale %g", codes.row.scale[1]);
}

void test_norms(Check& check, const cpu::Kernels& k) {
  for (int n : kSizes) {
    Random random(static_cast<uint64_t>(n) + 5);
    const std::vector<float> x = random.values(static_cast<size_t>(n), 4.0f), w = random.values(static_cast<size_t>(n)),
                             b = random.values(static_cast<size_t>(n));
    std::vector<float> out(static_cast<size_t>(n) + 1, 7.0f);
    double squares = 0, mean = 0, variance = 0;
    for (float v : x) squares += static_cast<double>(v) * v, mean += v;
    mean /= n;
    for (float v : x) variance += (v - mean) * (v - mean);
    const double rms = 1 / std::sqrt(squares / n + 1e-5), deviation = 1 / std::sqrt(variance / n + 1e-5);
    k.rms_norm(x.data(), w.data(), 1.0f, 1e-5f, n, out.data());
    for (int i = 0; i < n; i++) check.near(out[i], x[i] * rms * (w[i] + 1.0), 3e-6, "rms_norm", i);
    for (const float* bias : {b.data(), static_cast<const float*>(nullptr)}) {
      k.layer_norm(x.data(), w.data(), bias, 1e-5f, n, out.data());
      for (int i = 0; i < n; i++) {
        const double want = (x[i] - mean) * deviation * w[i] + (bias != nullptr ? bias[i] : 0.0f);
        check.near(out[i], want, 1e-5, "layer_norm", i);
      }
    }
    k.rms_norm(x.data(), w.data(), 0.0f, 1e-5f, n, out.data());
    std::vector<float> sum = b;
    k.add(x.data(), n, sum.data());
    for (int i = 0; i < n; i++) check.expect(sum[i] == b[i] + x[i], "add %d", i);
    check.expect(out[n] == 7.0f, "wrote behind the row of %d", n);
  }
}

void test_rope(Check& check, const cpu::Kernels& k) {
  for (int dim : {2, 6, 12, 16, 24, 48, 64, 80, 96, 128, 256}) {
    Random random(static_cast<uint64_t>(dim));
    const std::vector<float> x = random.values(static_cast<size_t>(dim) + 3), angle = random.values(static_cast<size_t>(dim) / 2, 3.0f);
    std::vector<float> cos, sin, out = x;
    for (float a : angle) cos.push_back(std::cos(a)), sin.push_back(std::sin(a));
    k.rope(out.data(), cos.data(), sin.data(), dim);
    for (int i = 0; i < dim / 2; i++) {
      const double a = x[i], b = x[i + dim / 2];
      check.near(out[i], a * cos[i] - b * sin[i], 3e-7, "rope low", i);
      check.near(out[i + dim / 2], b * cos[i] + a * sin[i], 3e-7, "rope high", i);
    }
    for (int i = dim; i < dim + 3; i++) check.expect(out[i] == x[i], "rope turned value %d behind the rotary part of %d", i, dim);
  }
}

void test_vocabulary(Check& check, const cpu::Kernels& k) {
  const double unit = std::ldexp(1.0, cpu::kFixedExpBits);
  for (int n : {1, 2, 15, 16, 17, 31, 100, 1000, 49152}) {
    Random random(static_cast<uint64_t>(n));
    std::vector<float> logits = random.values(static_cast<size_t>(n), 12.0f);
    float value;
    int32_t index;
    k.argmax(logits.data(), n, &value, &index);
    int want = 0;
    for (int i = 1; i < n; i++) want = logits[i] > logits[want] ? i : want;
    check.expect(index == want && value == logits[want], "argmax of %d: %d, want %d", n, index, want);
    double sum = 0;
    uint64_t parts = 0;
    for (float l : logits) {
      sum += std::exp(static_cast<double>(l) - value);
      parts += k.fixed_exp(l, value);
    }
    const uint64_t whole = k.sum_exp(logits.data(), n, value);
    check.near(static_cast<double>(whole) / unit, sum, 2e-7 * sum, "sum_exp", n);
    check.expect(whole == parts, "sum_exp of %d is not the sum of fixed_exp", n);
    const int cut = n / 3;
    check.expect(whole == k.sum_exp(logits.data(), cut, value) + k.sum_exp(logits.data() + cut, n - cut, value), "cut at %d of %d", cut, n);
    std::vector<float> capped = logits;
    k.softcap(capped.data(), n, 30.0f);
    for (int i = 0; i < n; i++)
      check.near(capped[i], 30.0 * std::tanh(logits[i] / 30.0), 6e-7 * std::fabs(logits[i]) + 1e-12, "softcap", i);
  }
  for (int i = 0; i <= 20000; i++) {  // the relative error that isa/math.h states, and the rounding to a unit
    const float x = -static_cast<float>(i) * 0.000773f;
    const double want = std::exp(static_cast<double>(x));
    check.near(static_cast<double>(k.fixed_exp(x, 0.0f)) / unit, want, 1.2e-7 * want + 0.51 / unit, "exp", i);
  }
  check.expect(k.fixed_exp(3.0f, 3.0f) == uint64_t{1} << cpu::kFixedExpBits, "exp(0) is not 1");
  check.expect(k.fixed_exp(-200.0f, 3.0f) == 0 && k.fixed_exp(kNan, 3.0f) == 0, "what vanishes or is NaN counts as 0");
  check.expect(k.fixed_exp(-kInfinity, 0.0f) == 0 && k.fixed_exp(1.0f, kNan) == 0, "infinities and a NaN maximum count as 0");
  const std::vector<float> flat(262144, 0.5f);
  check.expect(k.sum_exp(flat.data(), 262144, 0.5f) == uint64_t{262144} << cpu::kFixedExpBits, "262,144 equal logits overflow");
  float value;
  int32_t index;
  const std::vector<float> ties = {1, 5, 2, 5, 5, kNan, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5};
  k.argmax(ties.data(), static_cast<int>(ties.size()), &value, &index);
  check.expect(index == 1 && value == 5.0f, "ties: %d", index);
  const std::vector<float> nans(40, kNan);
  k.argmax(nans.data(), 40, &value, &index);
  check.expect(index == 0, "argmax of NaN only: %d", index);
}

}  // namespace lockstep::test
