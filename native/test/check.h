// A test program's needs and no more: expectations that count, groups that print a line, random values from a printed seed.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdarg>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <string>
#include <vector>

#include "cpu/kernels.h"

namespace lockstep::test {

struct Check {
  long expectations = 0;
  long failures = 0;
  double worst = 0;  // largest share of its tolerance that a `near` used
  long printed_max = 10;

  // One that prints nothing, for what is to fail.
  static Check silent() {
    Check check;
    check.printed_max = 0;
    return check;
  }

  // Prints the first failures of a group in full, and counts the rest.
  __attribute__((format(printf, 3, 4))) bool expect(bool ok, const char* format, ...) {
    expectations++;
    if (ok) return true;
    if (failures++ < printed_max) {
      va_list args;
      va_start(args, format);
      std::fprintf(stderr, "    ");
      std::vfprintf(stderr, format, args);
      std::fprintf(stderr, "\n");
      va_end(args);
    }
    return false;
  }

  // What threads have counted, each on its own.
  void add(const std::vector<Check>& parts) {
    for (const Check& part : parts) {
      expectations += part.expectations;
      failures += part.failures;
    }
  }

  bool near(double got, double want, double tolerance, const char* what, int index) {
    const double error = std::fabs(got - want);
    if (error / tolerance > worst) worst = error / tolerance;
    return expect(error <= tolerance, "%s[%d]: got %.9g, want %.9g, off by %.3g, allowed %.3g", what, index, got, want, error, tolerance);
  }
};

// Every value of [begin, end) has the same bits.
inline bool same_bits(const float* a, const float* b, size_t count) { return std::memcmp(a, b, count * sizeof(float)) == 0; }

// splitmix64 (Steele, Lea, Flood 2014).
class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed) {}
  uint64_t next() {
    uint64_t z = (state_ += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
  }
  int below(int n) { return static_cast<int>(next() % static_cast<uint64_t>(n)); }
  float uniform() { return static_cast<float>(static_cast<double>(next() >> 11) * 0x1p-53 * 2.0 - 1.0); }  // -1 … 1
  std::vector<float> values(size_t count, float scale = 1.0f) {
    std::vector<float> out(count);
    for (float& v : out) v = uniform() * scale;
    return out;
  }

 private:
  uint64_t state_;
};

inline float bf16_round(float x) {
  uint32_t bits;
  std::memcpy(&bits, &x, 4);
  bits = (bits + 0x7fff + ((bits >> 16) & 1)) & 0xffff0000u;
  std::memcpy(&x, &bits, 4);
  return x;
}

using TestFn = void (*)(Check&, const cpu::Kernels&);
struct KernelTest {
  const char* name;
  TestFn run;
};

void test_dequantize(Check& check);
void test_threads(Check& check);
void test_communicator(Check& check);
void test_lookup(Check& check);
void test_grammar(Check& check);
void test_cuda_runtime(Check& check);
void test_cuda_kernels(Check& check);
void test_tensor_cores(Check& check);
void test_early_kernels(Check& check);
void test_cuda_sampler(Check& check);
void test_upload(Check& check);
void test_wgmma(Check& check);
void test_cublaslt(Check& check);
void test_nccl(Check& check);
void test_peers(Check& check);
void test_discovery(Check& check);
void test_gpu_ranks(Check& check);
void test_sampler(Check& check, const cpu::Kernels& k);
void test_ranks(Check& check, const cpu::Kernels& k);
void test_pooling(Check& check, const cpu::Kernels& k);
void test_float_formats(Check& check);
void test_pack(Check& check, const cpu::Kernels& k);
void test_quantize_weights(Check& check, const cpu::Kernels& k);
void test_activations(Check& check, const cpu::Kernels& k);
void test_norms(Check& check, const cpu::Kernels& k);
void test_rope(Check& check, const cpu::Kernels& k);
void test_gemm_accuracy(Check& check, const cpu::Kernels& k);
void test_gemm_sameness(Check& check, const cpu::Kernels& k);
void test_gemm_epilogues(Check& check, const cpu::Kernels& k);
void test_attention_accuracy(Check& check, const cpu::Kernels& k);
void test_attention_sameness(Check& check, const cpu::Kernels& k);
void test_attention_edges(Check& check, const cpu::Kernels& k);
void test_attention_merge(Check& check, const cpu::Kernels& k);
void test_vocabulary(Check& check, const cpu::Kernels& k);

}  // namespace lockstep::test
