#include "gpu_probes.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <sstream>
#include <thread>
#include <vector>

#include "cpu/shm_communicator.h"
#include "cuda/cublaslt.h"
#include "cuda/generated.h"
#include "cuda/one_device.h"
#include "cuda/peers.h"

namespace lockstep::test {
namespace {

using namespace cuda;

constexpr std::chrono::milliseconds kTimeout(20000);
const WaitBounds kBounds{nullptr, kTimeout};

void tell(const std::string& probe, double value, const char* unit, const std::string& note) {
  std::printf(R"({"probe":"%s","value":%.6g,"unit":"%s","note":"%s"})"
              "\n",
              probe.c_str(), value, unit, note.c_str());
  std::fflush(stdout);
}

// The best of a few turns, each of `times` calls of `put`, in microseconds of the device's own time a call. The first turn warms up.
template <class Put>
Status time_of(const Device& device, const OwnStream& stream, int times, Put put, double* us) {
  constexpr int kTurns = 4;
  OwnEvent begin, end;
  LOCKSTEP_RETURN_IF_ERROR(begin.create(device, true));
  LOCKSTEP_RETURN_IF_ERROR(end.create(device, true));
  for (int turn = 0; turn < kTurns; turn++) {
    LOCKSTEP_RETURN_IF_ERROR(begin.record(stream));
    for (int i = 0; i < times; i++) LOCKSTEP_RETURN_IF_ERROR(put());
    LOCKSTEP_RETURN_IF_ERROR(end.record(stream));
    LOCKSTEP_RETURN_IF_ERROR(end.wait(kBounds));
    double all = 0;
    LOCKSTEP_RETURN_IF_ERROR(end.us_since(begin, &all));
    if (turn < 2 || all / times < *us) *us = all / times;
  }
  return Status();
}

struct Place {
  const Device& device;
  const OwnStream& stream;
  const bool small;
  const int wide_blocks;  // of gemm_wide; 0: the device has it not
  double copy_gbs = 0;    // of probe_copy
  Status check(Error error, const char* what) const { return device.check(error, what); }
  Status multiply_wide(const GemmArgs& args) const {
    return check(device.runtime().kernels->gemm_wide({args, wide_blocks}, stream.get()), "gemm_wide");
  }
};

Status probe_copy(Place& at) {
  const size_t bytes = at.small ? size_t{1} << 20 : size_t{1} << 30;
  Memory memory;
  double us = 0;
  LOCKSTEP_RETURN_IF_ERROR(memory.reserve_device(at.device, 2 * bytes, "the copy"));
  const Runtime& runtime = at.device.runtime();
  LOCKSTEP_RETURN_IF_ERROR(at.check(runtime.fill(memory.data(), 1, 2 * bytes, at.stream.get()), "fill"));
  const auto copy = [&] { return at.check(runtime.copy(memory.data() + bytes, memory.data(), bytes, at.stream.get()), "copy"); };
  LOCKSTEP_RETURN_IF_ERROR(time_of(at.device, at.stream, 20, copy, &us));
  at.copy_gbs = 2 * static_cast<double>(bytes) / us / 1e3;
  tell("copy", at.copy_gbs, "GB/s", std::to_string(bytes >> 20) + " MiB, read and written");
  return Status();
}

Status probe_product(const Place& at, LtProducts& products, int version) {
  const Kernels& k = *at.device.runtime().kernels;
  const int size = at.small ? 64 : 8192;
  const size_t values = static_cast<size_t>(size) * size;
  Memory memory;
  double us = 0;
  LOCKSTEP_RETURN_IF_ERROR(memory.reserve_device(at.device, values * 8, "a product"));
  uint16_t *x = memory.as<uint16_t>(), *w = x + values;
  auto* out = reinterpret_cast<float*>(w + values);
  for (uint16_t* matrix : {x, w}) {
    const GenerateArgs random = {matrix, Type::kBf16, size, size, size, 0, 0, size, generated_key(matrix == x ? "x" : "w")};
    LOCKSTEP_RETURN_IF_ERROR(at.check(k.generate(random, at.stream.get()), "generate"));
  }
  LOCKSTEP_RETURN_IF_ERROR(at.stream.wait(kBounds));  // as in a server: weights lie there before they are read ahead
  const GemmArgs args{x, w, Type::kBf16, nullptr, nullptr, 1, size, size, size, size, size, out, size};
  const bool by_library = products.can(args);
  const double tera = 2.0 * size * size * size / 1e6;
  const std::string what = "bfloat16, " + std::to_string(size) + " cubed, by ";
  LOCKSTEP_RETURN_IF_ERROR(time_of(at.device, at.stream, 5, [&] { return at.check(k.gemm(args, at.stream.get()), "gemm"); }, &us));
  tell("own product", tera / us, "TFLOP/s", what + "our own kernel");
  if (at.wide_blocks > 0) {
    LOCKSTEP_RETURN_IF_ERROR(time_of(at.device, at.stream, 5, [&] { return at.multiply_wide(args); }, &us));
    tell("wgmma product", tera / us, "TFLOP/s", what + "our own kernel of 9.0 (wgmma)");
  }
  if (by_library) LOCKSTEP_RETURN_IF_ERROR(time_of(at.device, at.stream, 20, [&] { return products.multiply(args); }, &us));
  tell("product", tera / us, "TFLOP/s",
       what + (by_library ? "cuBLASLt " + std::to_string(version) : "our own kernel: no libcublasLt was found"));
  return Status();
}

// What product_by (cuda/backend.h) and the choices of gemm.cu should be here: the same product by our own kernels, that of 9.0 and the
// library, of weights of bf16 and of 4 bits, which the last two have dequantised first. A matrix is one piece of what the backend
// dequantises.
Status probe_rows(const Place& at, LtProducts& products) {
  const Kernels& k = *at.device.runtime().kernels;
  const Stream stream = at.stream.get();
  const int n = at.small ? 64 : 4096;
  const std::vector<int> row_counts = at.small ? std::vector<int>{40} : std::vector<int>{16, 32, 64, 128, 256, 512, 1024, 2048};
  const auto square = static_cast<size_t>(n) * n;
  const size_t most = static_cast<size_t>(row_counts.back()) * n;
  const size_t brick_bytes = tile_bytes(Bricks::kInt4, n) * tiles_down(n);
  Memory memory;
  LOCKSTEP_RETURN_IF_ERROR(memory.reserve_device(at.device, 6 * most + 2 * square + brick_bytes, "products"));
  LOCKSTEP_RETURN_IF_ERROR(at.check(at.device.runtime().fill(memory.data(), 0, memory.bytes(), stream), "fill"));
  auto* out = memory.as<float>();
  auto* x = reinterpret_cast<uint16_t*>(out + most);
  uint16_t* halves = x + most;
  const auto* bricks = reinterpret_cast<const uint8_t*>(halves + square);
  for (const int rows : row_counts) {
    GemmArgs args{x, halves, Type::kBf16, nullptr, nullptr, 1, rows, n, n, n, n, out, n};
    for (const Bricks kind : {Bricks::kNone, Bricks::kInt4}) {
      GemmArgs own = args;
      if (kind != Bricks::kNone) own.w = bricks, own.bricks = kind;
      const std::string name = "product of " + std::to_string(rows) + " rows, " + (kind == Bricks::kNone ? "bfloat16" : "4 bits");
      const std::string note = std::to_string(n) + " columns of " + std::to_string(n);
      double us = 0;
      LOCKSTEP_RETURN_IF_ERROR(time_of(at.device, at.stream, 10, [&] { return at.check(k.gemm(own, stream), "gemm"); }, &us));
      tell(name + ", own", us, "us", note);
      const auto tell_of = [&](const char* whose, const auto& multiply) {
        const auto put = [&] {
          if (kind != Bricks::kNone)
            LOCKSTEP_RETURN_IF_ERROR(at.check(k.dequantize({bricks, kind, n, n, halves, n}, stream), "dequantize"));
          return multiply(args);
        };
        LOCKSTEP_RETURN_IF_ERROR(time_of(at.device, at.stream, 10, put, &us));
        tell(name + whose, us, "us", note);
        return Status();
      };
      if (at.wide_blocks > 0) LOCKSTEP_RETURN_IF_ERROR(tell_of(", wgmma", [&](const GemmArgs& of) { return at.multiply_wide(of); }));
      if (products.can(args)) LOCKSTEP_RETURN_IF_ERROR(tell_of(", cuBLASLt", [&](const GemmArgs& of) { return products.multiply(of); }));
    }
  }
  return Status();
}

// One launch of a recording of put(0) … put(count - 1), one behind the other, in microseconds.
template <class Put>
Status time_recorded(const Place& at, int count, Put put, double* us) {
  RecordedWork work;
  LOCKSTEP_RETURN_IF_ERROR(work.begin(at.device, at.stream.get()));
  for (int i = 0; i < count; i++) LOCKSTEP_RETURN_IF_ERROR(put(i));
  LOCKSTEP_RETURN_IF_ERROR(work.end());
  return time_of(at.device, at.stream, at.small ? 2 : 10, [&] { return work.launch(); }, us);
}

Status probe_launch(const Place& at) {
  constexpr int kRecorded = 100, kN = 64;
  const Runtime& runtime = at.device.runtime();
  Memory memory;
  double us = 0;
  LOCKSTEP_RETURN_IF_ERROR(memory.reserve_device(at.device, 3 * kN * sizeof(float), "a row"));
  LOCKSTEP_RETURN_IF_ERROR(at.check(runtime.fill(memory.data(), 0, memory.bytes(), at.stream.get()), "fill"));
  auto* x = memory.as<float>();
  const NormArgs args{x, nullptr, 1, kN, kN, {x + kN, nullptr, 1, 1e-5F, false}, false, {x + 2 * kN, nullptr, kN}};
  const auto start = [&] { return at.check(runtime.kernels->norm(args, at.stream.get()), "a launch"); };
  LOCKSTEP_RETURN_IF_ERROR(time_of(at.device, at.stream, 10 * kRecorded, start, &us));
  tell("launch", us, "us", "a kernel of one row behind another");
  // A recording takes as long as its kernels and what lies between two recordings: two lengths tell them apart.
  double us_of[2] = {};
  for (int i = 0; i < 2; i++) LOCKSTEP_RETURN_IF_ERROR(time_recorded(at, (i + 1) * kRecorded, [&](int) { return start(); }, &us_of[i]));
  tell("recorded launch", (us_of[1] - us_of[0]) / kRecorded, "us", "the same, recorded: what one more of them takes");
  tell("gap between recordings", 2 * us_of[0] - us_of[1], "us", "of the device, launched one behind the other as decode steps are");
  return Status();
}

// The products of a decode step of one row, each recorded over as many matrices as no cache holds, by the bytes of weights that they read.
Status probe_decode(const Place& at) {
  constexpr int kTimesMax = 32;
  const int hidden = at.small ? 64 : 4096;
  const int intermediate = at.small ? 128 : 14336;
  const size_t weight_bytes = at.small ? size_t{1} << 20 : size_t{2} << 30;
  const Runtime& runtime = at.device.runtime();
  const Kernels& k = *runtime.kernels;
  Memory memory, rows;
  LOCKSTEP_RETURN_IF_ERROR(memory.reserve_device(at.device, weight_bytes, "weights"));
  LOCKSTEP_RETURN_IF_ERROR(rows.reserve_device(at.device, 16 * static_cast<size_t>(intermediate), "rows"));
  LOCKSTEP_RETURN_IF_ERROR(at.check(runtime.fill(rows.data(), 0, rows.bytes(), at.stream.get()), "fill"));
  const int made = static_cast<int>(weight_bytes / type_bytes(Type::kBf16) / hidden);
  const GenerateArgs random = {memory.data(), Type::kBf16, made, hidden, hidden, 0, 0, hidden, generated_key("w")};
  LOCKSTEP_RETURN_IF_ERROR(at.check(k.generate(random, at.stream.get()), "generate"));
  LOCKSTEP_RETURN_IF_ERROR(at.stream.wait(kBounds));  // as in a server: weights lie there before they are read ahead
  struct Shape {
    const char* name;
    int n, k;
    bool adds, gates;
  };
  const Shape shapes[] = {{"q, k and v", hidden / 2 * 3, hidden, false, false},
                          {"o, added", hidden, hidden, true, false},
                          {"gate and up, gated", 2 * intermediate, hidden, false, true},
                          {"down, added", hidden, intermediate, true, false}};
  for (const Shape& shape : shapes) {
    const size_t values = static_cast<size_t>(shape.n) * shape.k;
    const int times = static_cast<int>(std::min<size_t>(kTimesMax, weight_bytes / (2 * values)));
    auto* const out = rows.as<float>() + intermediate;
    const auto put = [&](int i) {
      GemmArgs args{
          rows.data(), memory.as<uint16_t>() + i * values, Type::kBf16, nullptr, nullptr, 1, 1, shape.n, shape.k, shape.k, shape.k, out,
          shape.n};
      args.adds = shape.adds, args.gates = shape.gates;
      args.gated = {nullptr, reinterpret_cast<uint16_t*>(out), shape.n / 2};
      return at.check(k.gemm(args, at.stream.get()), "gemm");
    };
    double us = 0;
    LOCKSTEP_RETURN_IF_ERROR(time_recorded(at, times, put, &us));
    const double gbs = 2 * static_cast<double>(values) * times / us / 1e3;
    char note[160];
    std::snprintf(note, sizeof(note), "%d x %d in bfloat16 for a row, %.3g us each: %.0f %% of the copy", shape.n, shape.k, us / times,
                  100 * gbs / at.copy_gbs);
    tell(std::string("decode: ") + shape.name, gbs, "GB/s", note);
  }
  return Status();
}

// A norm and the product that reads it, as one kernel and as two: what kNormedRows and kNormedValues (cuda/backend.h) should be here.
Status probe_norms(const Place& at) {
  const int times_max = at.small ? 2 : 32;
  const std::vector<int> widths = at.small ? std::vector<int>{64} : std::vector<int>{576, 2048, 4096};
  const size_t weight_bytes = at.small ? size_t{1} << 20 : size_t{1} << 30;
  const Runtime& runtime = at.device.runtime();
  const Kernels& kernels = *runtime.kernels;
  Memory weights, memory;
  const size_t most = static_cast<size_t>(kMaxNormedRows) * widths.back();
  LOCKSTEP_RETURN_IF_ERROR(weights.reserve_device(at.device, weight_bytes, "weights"));
  LOCKSTEP_RETURN_IF_ERROR(memory.reserve_device(at.device, 9 * most * sizeof(float), "rows"));
  LOCKSTEP_RETURN_IF_ERROR(at.check(runtime.fill(weights.data(), 0, weights.bytes(), at.stream.get()), "fill"));
  LOCKSTEP_RETURN_IF_ERROR(at.check(runtime.fill(memory.data(), 0, memory.bytes(), at.stream.get()), "fill"));
  LOCKSTEP_RETURN_IF_ERROR(at.stream.wait(kBounds));  // as in a server: weights lie there before they are read ahead
  float *x = memory.as<float>(), *norm_weight = x + most, *out = x + 3 * most;
  auto* normed = reinterpret_cast<uint16_t*>(x + 2 * most);
  for (const int k : widths) {
    for (const bool gates : {false, true}) {
      const int n = gates ? 6 * k : k / 2 * 3;
      const size_t values = static_cast<size_t>(n) * k;
      const int times = static_cast<int>(std::min<size_t>(times_max, weight_bytes / (2 * values)));
      for (const int rows : {1, 2, 4, 8}) {
        const NormArgs norm{x, nullptr, rows, k, k, {norm_weight, nullptr, 0, 1e-5F, false}, false, {nullptr, normed, k}};
        double us[2] = {};
        for (const bool is_one : {false, true}) {
          const auto put = [&](int i) {
            GemmArgs args{normed, weights.as<uint16_t>() + i * values, Type::kBf16, nullptr, nullptr, 1, rows, n, k, k, k, out, n};
            args.gates = gates;
            args.gated = {nullptr, reinterpret_cast<uint16_t*>(out), n / 2};
            if (is_one) {
              args.x = x, args.norm = norm.norm;
            } else {
              LOCKSTEP_RETURN_IF_ERROR(at.check(kernels.norm(norm, at.stream.get()), "norm"));
            }
            return at.check(kernels.gemm(args, at.stream.get()), "gemm");
          };
          LOCKSTEP_RETURN_IF_ERROR(time_recorded(at, times, put, &us[is_one ? 1 : 0]));
        }
        char name[80], note[80];
        std::snprintf(name, sizeof(name), "norm and product of %d rows of %d%s", rows, k, gates ? ", gated" : "");
        std::snprintf(note, sizeof(note), "%d columns in bfloat16, in one kernel; %.3g us in two", n, us[0] / times);
        tell(name, us[1] / times, "us", note);
      }
    }
  }
  return Status();
}

// One rank's part of a probe of sums.
Status time_sums(int rank, const Runtime* runtime, PeerGroup* group, cpu::ShmGroup* meeting, const std::vector<int>& sizes, bool small) {
  constexpr int kN = 1024, kTimes = 20;
  const Device device(runtime, rank);
  OwnStream stream;
  LOCKSTEP_RETURN_IF_ERROR(device.bind());
  LOCKSTEP_RETURN_IF_ERROR(stream.create(device));
  const size_t rows = sizes.back() / kN;
  Memory memory;
  LOCKSTEP_RETURN_IF_ERROR(memory.reserve_device(device, 4 * rows * kN * sizeof(float), "parts"));
  LOCKSTEP_RETURN_IF_ERROR(device.check(runtime->fill(memory.data(), 0, memory.bytes(), stream.get()), "fill"));
  auto* at = memory.as<float>();
  const size_t part = rows * kN;
  cpu::ShmCommunicator host(meeting, rank);
  Peers peers(group, &host, &device, &stream);
  LOCKSTEP_RETURN_IF_ERROR(peers.open({{at, at + part}, at + 2 * part, static_cast<int>(rows), kN, kN, at + 3 * part}));
  if (!peers.is_open()) return Status(Fault::kDevice, "sums over ranks: " + peers.problem());
  for (const int values : sizes) {
    for (const bool two_shots : {false, true}) {
      PeerJoinArgs args{};
      args.two_shots = two_shots;
      args.rows = values / kN, args.n = args.ld = kN;
      args.x = at + 2 * part;
      int turn = 0;
      double us = 0;
      const auto join = [&] { return device.check(peers.join(args, turn = 1 - turn), "a sum"); };
      LOCKSTEP_RETURN_IF_ERROR(host.barrier());
      LOCKSTEP_RETURN_IF_ERROR(time_of(device, stream, small ? 2 : kTimes, join, &us));
      const std::string what = std::to_string(values * 4 >> 10) + " KiB in " + (two_shots ? "two shots" : "one shot");
      if (rank == 0) tell("sum over " + std::to_string(host.world_size) + " ranks, " + what, us, "us", "all on this device");
    }
  }
  return host.barrier();
}

Status probe_sums(const Runtime* runtime, bool small) {
  const std::vector<int> sizes =
      small ? std::vector<int>{2 << 10} : std::vector<int>{2 << 10, 4 << 10, 8 << 10, 16 << 10, 128 << 10, 1 << 20};
  for (const int world : {2, 4}) {
    const Runtime* shared = share_device(runtime, world);
    PeerGroup group(world, kTimeout);
    cpu::ShmGroup meeting(world, cpu::WaitPolicy(), kTimeout, nullptr);
    std::vector<Status> results(world);
    std::vector<std::thread> ranks;
    for (int r = 0; r < world; r++) {
      ranks.emplace_back([&, r] {
        results[r] = time_sums(r, shared, &group, &meeting, sizes, small);
        if (results[r].ok()) return;
        group.abort();
        meeting.abort();
      });
    }
    for (std::thread& rank : ranks) rank.join();
    for (Status& result : results) LOCKSTEP_RETURN_IF_ERROR(result);
  }
  return Status();
}

Status probe(const Runtime* runtime, const std::vector<std::string>& roots, bool small) {
  const Device device(runtime, 0);
  OwnStream stream;
  LOCKSTEP_RETURN_IF_ERROR(device.bind());
  LOCKSTEP_RETURN_IF_ERROR(stream.create(device));
  DeviceInfo info;
  LOCKSTEP_RETURN_IF_ERROR(device.check(runtime->device_info(device.index(), &info), "what the device is"));
  Place at{device, stream, small, can_gemm_wide(info) ? info.multiprocessors : 0};
  LOCKSTEP_RETURN_IF_ERROR(probe_copy(at));
  LOCKSTEP_RETURN_IF_ERROR(probe_launch(at));
  LOCKSTEP_RETURN_IF_ERROR(probe_decode(at));
  LOCKSTEP_RETURN_IF_ERROR(probe_norms(at));
  const CublasLt library = open_cublaslt("", roots, cublaslt_major(runtime));
  LtProducts products(library.is_open() ? &library.functions : nullptr, &device, &stream);
  LOCKSTEP_RETURN_IF_ERROR(products.init());
  LOCKSTEP_RETURN_IF_ERROR(probe_product(at, products, library.version));
  LOCKSTEP_RETURN_IF_ERROR(probe_rows(at, products));
  return probe_sums(runtime, small);
}

}  // namespace

int run_probes(const Runtime* runtime, const std::string& roots, bool small) {
  std::vector<std::string> folders;
  std::istringstream words(roots);
  for (std::string word; std::getline(words, word, ':');) folders.push_back(word);
  const Status status = probe(runtime, folders, small);
  if (!status.ok()) std::fprintf(stderr, "%s\n", status.text().c_str());
  return status.ok() ? 0 : 1;
}

}  // namespace lockstep::test
