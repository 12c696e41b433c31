// Speed of the CPU kernels at the shapes of three real models, beside the roof of the machine probed in the same run.
//   lockstep_kernel_bench [--isa NAME] [--threads N] [--model 135m|0.5b|0.6b] [--only linears|attention|rows] [--format NAME,…]
// Linears: all matrices of the model in their order, each thread a fixed part of every matrix, one spin barrier a matrix; so a figure is
// that of a step without attention, norms and sampling. Weights are random bytes in packed form.
#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstring>
#include <map>
#include <string>
#include <thread>
#include <vector>

#include "bench/roof.h"
#include "cpu/kernels.h"

namespace lockstep::bench {
namespace {

using cpu::Format;

struct Model {
  const char* name;
  int layers, hidden, heads, kv_heads, head_dim, intermediate, vocab;
};
constexpr Model kModels[] = {
    {"135m", 30, 576, 9, 3, 64, 1536, 49152}, {"0.5b", 24, 896, 14, 2, 64, 4864, 151936}, {"0.6b", 28, 1024, 16, 8, 128, 3072, 151936}};
struct Kind {
  Format format;
  const char* name;
};
constexpr Kind kKinds[] = {
    {Format::kBf16, "bf16"}, {Format::kQ8_0, "q8_0"},    {Format::kQ4_0, "q4_0"}, {Format::kQ4_1, "q4_1"}, {Format::kQ5_0, "q5_0"},
    {Format::kQ5_1, "q5_1"}, {Format::kIq4Nl, "iq4_nl"}, {Format::kQ4_K, "q4_k"}, {Format::kQ5_K, "q5_k"}, {Format::kQ6_K, "q6_k"},
};
constexpr int kRowCounts[] = {1, 2, 4, 8, 16, 32, 512};
constexpr int kMostRows = 512;
constexpr double kMinSeconds = 0.4;

struct Options {
  const cpu::Kernels* kernels;
  int threads = 2;
  std::string model, only, formats;
};

struct Roof {
  double bytes, bf16, int8;
};

class Barrier {
 public:
  explicit Barrier(int threads) : threads_(threads) {}
  void wait() {
    const int generation = generation_.load();
    if (arrived_.fetch_add(1) + 1 == threads_) {
      arrived_.store(0);
      generation_.fetch_add(1);
      return;
    }
    for (int spins = 0; generation_.load(std::memory_order_acquire) == generation; spins++) {
      if (spins > 10000) std::this_thread::yield();  // fewer cores than threads
    }
  }

 private:
  const int threads_;
  std::atomic<int> arrived_{0}, generation_{0};
};

struct Linear {
  cpu::Packed w;
  bool gated;
  bool head;
};

int blocks_of(int rows) { return (rows + cpu::kBlockRows - 1) / cpu::kBlockRows; }

size_t linears_bytes(const cpu::Kernels& k, const Model& m, Format f, std::vector<Linear>* out) {
  const int qkv = (m.heads + 2 * m.kv_heads) * m.head_dim;
  const int shapes[4][2] = {{qkv, m.hidden}, {m.hidden, m.heads * m.head_dim}, {2 * m.intermediate, m.hidden}, {m.hidden, m.intermediate}};
  for (int layer = 0; layer < m.layers; layer++) {
    for (int i = 0; i < 4; i++) out->push_back({{f, shapes[i][0], shapes[i][1], nullptr}, i == 2, false});
  }
  out->push_back({{f, m.vocab, m.hidden, nullptr}, false, true});
  size_t bytes = 0;
  for (const Linear& l : *out) bytes += k.packed_block_bytes(f, l.w.cols) * blocks_of(l.w.rows);
  return bytes;
}

// Rows of random activations in all kinds. One group of 20 has an outlier, as in a real model's rows.
constexpr uint64_t kOutliers = 0x8000080000800008;
struct Activations {
  std::vector<float> f32;
  std::vector<uint16_t> bf16;
  std::vector<uint8_t> int8;
  cpu::Input input;
  Activations(const cpu::Kernels& k, int rows, int cols) : f32(static_cast<size_t>(rows) * cols), bf16(f32.size()) {
    const cpu::Int8Layout layout(cols);
    int8.resize(rows * layout.bytes);
    input = {cols, f32.data(), bf16.data(), int8.data()};
    uint32_t state = 1;
    // Small, so that no gate comes so far out that its exponential is a subnormal number, which takes a hundred cycles.
    for (float& x : f32) x = static_cast<float>((state = state * 1664525 + 1013904223) >> 8) * 0x1p-33f - 0x1p-10f;
    k.to_bf16(f32.data(), static_cast<int>(f32.size()), static_cast<int>(f32.size()), bf16.data());
    for (int m = 0; m < rows; m++) {
      uint8_t* at = int8.data() + m * layout.bytes;
      k.to_int8(f32.data() + static_cast<size_t>(m) * cols, cols, cols, at);
      const cpu::Int8Row row(at, layout);
      for (int g = 0; g < cols / 32; g++) {
        if ((kOutliers >> (g % 64) & 1) == 0) continue;
        row.has_outlier[g / 64] |= uint64_t{1} << (g % 64);
        row.outlier[g] = {{1, 0, 0, 0}, g % 8};
      }
    }
  }
};
using ActivationsByWidth = std::map<int, Activations>;

void run_step(const Options& o, const std::vector<Linear>& linears, const ActivationsByWidth& x, float* out, int m, int thread,
              Barrier* barrier) {
  for (const Linear& l : linears) {
    const int blocks = blocks_of(l.w.rows);
    const int first = blocks * thread / o.threads;
    const int rows = l.head ? std::min(m, 32) : m;  // a long prompt needs logits of few rows
    const cpu::GemmOut to = {l.gated ? cpu::Epilogue::kGated : cpu::Epilogue::kStore,
                             lockstep::Activation::kSilu,
                             nullptr,
                             out,
                             static_cast<size_t>(l.gated ? l.w.rows / 2 : l.w.rows),
                             nullptr,
                             nullptr,
                             nullptr};
    o.kernels->gemm(l.w, first, blocks * (thread + 1) / o.threads - first, x.at(l.w.cols).input, rows, to);
    barrier->wait();
  }
}

// Seconds of one step: median and best of as many as fit into kMinSeconds. On a machine that others use, the best is the one to read.
struct Times {
  double median, best;
};
template <class Step>
Times measure(Step step) {
  std::vector<double> times;
  double total = 0;
  step();
  while (total < kMinSeconds || times.size() < 3) {
    const double start = seconds_now();
    step();
    times.push_back(seconds_now() - start);
    total += times.back();
  }
  std::sort(times.begin(), times.end());
  return {times[times.size() / 2], times[0]};
}

void bench_linears(const Options& o, const Model& model, Format format, const char* name, const Roof& roof) {
  std::vector<Linear> linears;
  const size_t bytes = linears_bytes(*o.kernels, model, format, &linears);
  const Pages pages(bytes);
  for (size_t i = 0; i < bytes; i++) pages.data()[i] = static_cast<uint8_t>((i * 2654435761u >> 13) & 0x3f);
  size_t at = 0;
  double flops_a_row = 0, head_flops = 0;
  for (Linear& l : linears) {
    l.w.data = pages.data() + at;
    at += o.kernels->packed_block_bytes(format, l.w.cols) * blocks_of(l.w.rows);
    (l.head ? head_flops : flops_a_row) += 2.0 * l.w.rows * l.w.cols;
  }
  ActivationsByWidth x;
  for (const Linear& l : linears) x.try_emplace(l.w.cols, *o.kernels, kMostRows, l.w.cols);
  std::vector<float> out(static_cast<size_t>(kMostRows) * std::max(model.intermediate, model.vocab / 16));
  for (int m : kRowCounts) {
    Barrier barrier(o.threads);
    const Times times = measure([&] { time_threads(o.threads, [&](int t) { run_step(o, linears, x, out.data(), m, t, &barrier); }); });
    const double seconds = times.best;
    const double flops = flops_a_row * m + head_flops * std::min(m, 32);
    const double peak =
        format == Format::kF32 || roof.int8 == 0 || format == Format::kBf16 ? roof.bf16 / (format == Format::kF32 ? 2 : 1) : roof.int8;
    std::printf("%-6s %-5s %-5s %4d %9.2f %9.2f %10.0f %8.1f %5.0f%% %9.0f %5.0f%%\n", model.name, name, o.kernels->name, m,
                times.median * 1e3, seconds * 1e3, m / seconds, static_cast<double>(bytes) / seconds / 1e9,
                100.0 * static_cast<double>(bytes) / seconds / roof.bytes, flops / seconds / 1e9,
                peak > 0 ? 100.0 * flops / seconds / peak : 0.0);
    std::fflush(stdout);
  }
}

// `rows` queries at the end of a context of `context` tokens, all heads of a layer, on one thread.
void bench_attention(const Options& o, const Model& model, int rows, int context, const Roof& roof) {
  const int group = model.heads / model.kv_heads;
  const size_t head_bytes = static_cast<size_t>(context) * model.head_dim * 4;
  std::vector<uint8_t> cache(head_bytes * model.kv_heads);
  std::vector<int32_t> table(static_cast<size_t>(context) / 16);
  for (size_t i = 0; i < table.size(); i++) table[i] = static_cast<int32_t>(i);
  const size_t queries = static_cast<size_t>(rows) * group;
  std::vector<float> q(queries * model.head_dim, 0.1f), max(queries), sum(queries), acc(q.size());
  std::vector<uint8_t> scratch(o.kernels->attention_scratch_bytes(static_cast<int>(queries), model.head_dim));
  const Times times = measure([&] {
    for (int h = 0; h < model.kv_heads; h++) {
      cpu::AttentionArgs a{};
      a.kv = {cpu::KvType::kBf16, model.head_dim, 16, cache.data() + head_bytes * h, static_cast<size_t>(64) * model.head_dim,
              table.data()};
      a.q = q.data(), a.q_row_stride = static_cast<size_t>(group) * model.head_dim, a.q_head_stride = static_cast<size_t>(model.head_dim);
      a.rows = rows, a.heads = group, a.pos0 = context - rows, a.scale = 0.125f, a.scratch = scratch.data();
      a.max = max.data(), a.sum = sum.data(), a.acc = acc.data();
      for (a.piece = 0; a.piece * cpu::kPiece < context; a.piece++) o.kernels->attention(a);
    }
  });
  const double seconds = times.best;
  const double keys = static_cast<double>(rows) * (context - rows) + 0.5 * rows * (rows + 1);
  const double flops = 4.0 * keys * model.head_dim * model.heads;
  std::printf("%-6s attention, 1 thread: %3d rows at %5d: %9.1f us, %7.1f GFLOP/s", model.name, rows, context, seconds * 1e6,
              flops / seconds / 1e9);
  std::printf(" (%3.0f%% of one thread's dot peak), cache read at %.1f GB/s\n",
              roof.bf16 > 0 ? 100.0 * flops / seconds / roof.bf16 * o.threads : 0.0, static_cast<double>(cache.size()) / seconds / 1e9);
}

template <class Call>
void bench_row(const Options& o, const char* what, int n, Call call) {
  constexpr int kRepeats = 50;
  const Times times = measure([&] {
    for (int i = 0; i < kRepeats; i++) call();
  });
  const double seconds = times.best;
  std::printf("%-5s %-10s of %6d values: %9.0f ns, %6.2f values/ns\n", o.kernels->name, what, n, seconds / kRepeats * 1e9,
              n * kRepeats / seconds / 1e9);
}

void bench_rows(const Options& o, const Model& model) {
  const cpu::Kernels& k = *o.kernels;
  const int n = model.hidden;
  const Activations x(k, 32, 64 * 1024 / 32 * 8);
  std::vector<uint8_t> int8(cpu::Int8Layout(n).bytes);
  std::vector<float> out(x.f32.size()), weight(static_cast<size_t>(n), 1.0f);
  std::vector<uint16_t> bf16(x.f32.size());
  float value = 0;
  int32_t index = 0;
  volatile uint64_t total = 0;
  bench_row(o, "rms_norm", n, [&] { k.rms_norm(x.f32.data(), weight.data(), 0, 1e-5f, n, out.data()); });
  bench_row(o, "layer_norm", n, [&] { k.layer_norm(x.f32.data(), weight.data(), nullptr, 1e-5f, n, out.data()); });
  bench_row(o, "to_bf16", n, [&] { k.to_bf16(x.f32.data(), n, n, bf16.data()); });
  bench_row(o, "to_int8", n, [&] { k.to_int8(x.f32.data(), n, n, int8.data()); });
  bench_row(o, "argmax", model.vocab, [&] { k.argmax(x.f32.data(), model.vocab, &value, &index); });
  bench_row(o, "sum_exp", model.vocab, [&] { total = k.sum_exp(x.f32.data(), model.vocab, 1.0f); });
}

bool parse(int argc, char** argv, Options* o) {
  const char* isa = nullptr;
  for (int i = 1; i + 1 < argc; i += 2) {
    const std::string flag = argv[i];
    if (flag == "--isa") isa = argv[i + 1];
    if (flag == "--threads") o->threads = std::atoi(argv[i + 1]);
    if (flag == "--model") o->model = argv[i + 1];
    if (flag == "--only") o->only = argv[i + 1];
    if (flag == "--format") o->formats = std::string(",") + argv[i + 1] + ",";
  }
  o->kernels = cpu::kernels_for(isa);
  return o->kernels != nullptr && o->threads >= 1 && o->threads <= 64 && argc % 2 == 1;
}

int run(int argc, char** argv) {
  Options o;
  if (!parse(argc, argv, &o)) {
    std::fprintf(stderr,
                 "usage: lockstep_kernel_bench [--isa NAME] [--threads N] [--model 135m|0.5b|0.6b] [--only linears|attention|rows] "
                 "[--format NAME,…]\n");
    return 2;
  }
  const Roof roof = {read_bandwidth(o.threads), dot_peak_bf16(o.kernels->name, o.threads), dot_peak_int8(o.kernels->name, o.threads)};
  std::printf("roof, %d threads: read %.1f GB/s, dot %.0f GFLOP/s, int8 dot %.0f Gop/s\n", o.threads, roof.bytes / 1e9, roof.bf16 / 1e9,
              roof.int8 / 1e9);
  const auto wanted = [&](const char* part) { return o.only.empty() || o.only == part; };
  for (const Model& model : kModels) {
    if (!o.model.empty() && o.model != model.name) continue;
    if (wanted("linears")) {
      std::printf("%-6s %-5s %-5s %4s %9s %9s %10s %8s %6s %9s %6s\n", "model", "type", "isa", "rows", "median ms", "best ms", "tokens/s",
                  "GB/s", "roof", "GFLOP/s", "peak");
      for (const Kind& kind : kKinds) {
        if (!o.formats.empty() && o.formats.find("," + std::string(kind.name) + ",") == std::string::npos) continue;
        if (model.hidden % cpu::quant_block(kind.format) == 0 || kind.format == Format::kBf16)
          bench_linears(o, model, kind.format, kind.name, roof);
      }
    }
    if (wanted("attention")) {
      bench_attention(o, model, 1, 256, roof);
      bench_attention(o, model, 1, 4096, roof);
      bench_attention(o, model, 8, 4096, roof);
      bench_attention(o, model, 256, 256, roof);
      bench_attention(o, model, 256, 4096, roof);
    }
    if (wanted("rows")) bench_rows(o, model);
  }
  return 0;
}

}  // namespace
}  // namespace lockstep::bench

int main(int argc, char** argv) { return lockstep::bench::run(argc, argv); }
