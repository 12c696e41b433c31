#include "bench/roof.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <thread>
#include <vector>

#if defined(__x86_64__)
#include <immintrin.h>
#if defined(LOCKSTEP_HAVE_AMX)
#define LOCKSTEP_ROOF_AMX 1
#endif
#endif

namespace lockstep::bench {
namespace {

constexpr size_t kHugePage = size_t{2} << 20;
constexpr size_t kReadBytes = size_t{256} << 20;
constexpr int kTries = 40;  // a few milliseconds each: on a shared machine some fall between the others' turns
constexpr int kRounds = 20 * 1000 * 1000 / 16;
constexpr int kChains = 16;  // independent sums: enough for two instructions a cycle at six cycles of latency

// The sums are only there so that the loads are not dropped.
uint64_t read_words(const uint8_t* data, size_t bytes) {
  uint64_t sums[8] = {};
  for (size_t i = 0; i < bytes; i += sizeof(sums)) {
    uint64_t words[8];
    std::memcpy(words, data + i, sizeof(words));
    for (int j = 0; j < 8; j++) sums[j] += words[j];
  }
  for (int j = 1; j < 8; j++) sums[0] += sums[j];
  return sums[0];
}

#if defined(__x86_64__)
__attribute__((target("avx2"))) uint64_t read_vectors(const uint8_t* data, size_t bytes) {
  __m256i sums[4] = {};
  for (size_t i = 0; i < bytes; i += sizeof(sums)) {
    for (int j = 0; j < 4; j++) {
      sums[j] = _mm256_add_epi64(sums[j], _mm256_loadu_si256(reinterpret_cast<const __m256i*>(data + i) + j));
    }
  }
  const __m256i sum = _mm256_add_epi64(_mm256_add_epi64(sums[0], sums[1]), _mm256_add_epi64(sums[2], sums[3]));
  return static_cast<uint64_t>(_mm256_extract_epi64(sum, 0));
}
#endif

uint64_t read_all(const uint8_t* data, size_t bytes) {
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx2")) return read_vectors(data, bytes);
#endif
  return read_words(data, bytes);
}

volatile uint64_t sink;

#if defined(__x86_64__)
// The empty asm keeps the operands unknown to the compiler, so that the loop stays what it says.
#define LOCKSTEP_OPAQUE(x) asm volatile("" : "+v"(x))

__attribute__((target("avx512f,avx512bw,avx512bf16"))) void dot_bf16_512() {
  __m512 sums[kChains] = {};
  __m512i ones = _mm512_set1_epi32(0x3f803f80);
  __m512bh a;
  std::memcpy(&a, &ones, sizeof(a));
  for (int i = 0; i < kRounds; i++) {
#pragma GCC unroll 16
    for (auto& sum : sums) {
      sum = _mm512_dpbf16_ps(sum, a, a);
      LOCKSTEP_OPAQUE(sum);
    }
  }
#pragma GCC unroll 16
  for (auto& sum : sums) sink = static_cast<uint64_t>(_mm512_cvtss_f32(sum));
}

__attribute__((target("avx512f,avx512bw,avx512vnni"))) void dot_int8_512() {
  __m512i sums[kChains] = {};
  const __m512i ones = _mm512_set1_epi8(1);
  for (int i = 0; i < kRounds; i++) {
#pragma GCC unroll 16
    for (auto& sum : sums) {
      sum = _mm512_dpbusd_epi32(sum, ones, ones);
      LOCKSTEP_OPAQUE(sum);
    }
  }
#pragma GCC unroll 16
  for (auto& sum : sums) sink = static_cast<uint64_t>(_mm512_cvtsi512_si32(sum));
}

#if defined(LOCKSTEP_ROOF_AMX)
constexpr int kTileRounds = 200 * 1000;  // milliseconds: these processors slow tiles down to a third after some 30

// Whole tiles: 16 rows of 64 bytes.
__attribute__((target("amx-tile"))) void configure_tiles() {
  struct alignas(64) {
    uint8_t palette = 1;
    uint8_t rest[15] = {};
    uint16_t bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
    uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
  } const shapes;
  asm volatile("ldtilecfg %0" : : "m"(shapes));
}

__attribute__((target("amx-tile,amx-bf16"))) void dot_bf16_tiles() {
  configure_tiles();
  for (int i = 0; i < kTileRounds; i++) {
    _tile_dpbf16ps(0, 4, 6);
    _tile_dpbf16ps(1, 4, 7);
    _tile_dpbf16ps(2, 5, 6);
    _tile_dpbf16ps(3, 5, 7);
  }
  _tile_release();
}

__attribute__((target("amx-tile,amx-int8"))) void dot_int8_tiles() {
  configure_tiles();
  for (int i = 0; i < kTileRounds; i++) {
    _tile_dpbusd(0, 4, 6);
    _tile_dpbusd(1, 4, 7);
    _tile_dpbusd(2, 5, 6);
    _tile_dpbusd(3, 5, 7);
  }
  _tile_release();
}
#endif

__attribute__((target("avx2,fma"))) void fma_256() {
  __m256 sums[12] = {};
  __m256 ones = _mm256_set1_ps(1);
  // Before the loop alone: inside it GCC makes copies, for which 16 registers are too few, and half of the speed was lost.
  LOCKSTEP_OPAQUE(ones);
#pragma GCC unroll 16
  for (auto& sum : sums) LOCKSTEP_OPAQUE(sum);
  for (int i = 0; i < kRounds; i++) {
#pragma GCC unroll 16
    for (auto& sum : sums) sum = _mm256_fmadd_ps(ones, ones, sum);
  }
#pragma GCC unroll 16
  for (auto& sum : sums) sink = static_cast<uint64_t>(_mm256_cvtss_f32(sum));
}
#endif

double rate(Pick pick, int threads, double amount, const std::function<void(int)>& work) {
  double rates[kTries];
  for (double& value : rates) value = amount * threads / time_threads(threads, work);
  std::sort(rates, rates + kTries);
  return rates[pick == Pick::kBest ? kTries - 1 : kTries / 2];
}

}  // namespace

Pages::Pages(size_t bytes) : bytes_((bytes + kHugePage - 1) / kHugePage * kHugePage + kHugePage) {
  void* mapped = mmap(nullptr, bytes_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (mapped == MAP_FAILED) std::abort();
#if defined(MADV_HUGEPAGE)
  madvise(mapped, bytes_, MADV_HUGEPAGE);
#endif
  data_ = static_cast<uint8_t*>(mapped);
  std::memset(data_, 1, bytes_);
}

Pages::~Pages() { munmap(data_, bytes_); }

double time_threads(int threads, const std::function<void(int)>& work) {
  const double start = seconds_now();
  std::vector<std::thread> others;
  for (int t = 1; t < threads; t++) others.emplace_back(work, t);
  work(0);
  for (std::thread& other : others) other.join();
  return seconds_now() - start;
}

double read_bandwidth(int threads, Pick pick) {
  const Pages pages(kReadBytes * threads);
  return rate(pick, threads, kReadBytes, [&](int t) { sink = read_all(pages.data() + kReadBytes * t, kReadBytes); });
}

double dot_peak_bf16(const char* isa, int threads, Pick pick) {
#if defined(__x86_64__)
  const double ops = static_cast<double>(kRounds) * 2;
#if defined(LOCKSTEP_ROOF_AMX)
  if (std::strcmp(isa, "amx") == 0) return rate(pick, threads, 2.0 * kTileRounds * 4 * 16 * 16 * 32, [](int) { dot_bf16_tiles(); });
#endif
  if (std::strcmp(isa, "avx512") == 0) return rate(pick, threads, ops * kChains * 32, [](int) { dot_bf16_512(); });
  if (std::strncmp(isa, "avx", 3) == 0) return rate(pick, threads, ops * 12 * 8, [](int) { fma_256(); });
#endif
  return 0;
}

double dot_peak_int8(const char* isa, int threads, Pick pick) {
#if defined(__x86_64__)
  const double ops = static_cast<double>(kRounds) * 2;
#if defined(LOCKSTEP_ROOF_AMX)
  if (std::strcmp(isa, "amx") == 0) return rate(pick, threads, 2.0 * kTileRounds * 4 * 16 * 16 * 64, [](int) { dot_int8_tiles(); });
#endif
  if (std::strcmp(isa, "avx512") == 0) return rate(pick, threads, ops * kChains * 64, [](int) { dot_int8_512(); });
#endif
  return 0;
}

}  // namespace lockstep::bench
