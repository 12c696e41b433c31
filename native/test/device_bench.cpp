#include "device_bench.h"

#include <thread>

namespace lockstep::test {
namespace {

constexpr size_t kPieceAlign = 256;
constexpr size_t kGuard = 64;
constexpr int kPoison = 0xff;

const cuda::WaitBounds kBounds{nullptr, std::chrono::milliseconds(20000)};

}  // namespace

Bench::Bench(Check& check, const cuda::Runtime* runtime) : check(check), runtime(runtime), device(runtime, 0) {
  expect_ok(device.bind(), "no device");
  expect_ok(stream.create(device), "no stream");
  expect_ok(on_host_.reserve_pinned(device, kArenaBytes, "values"), "no memory");
  expect_ok(on_device_.reserve_device(device, kArenaBytes, "values"), "no memory");
}

void Bench::expect_ok(const Status& status, const char* what) { check.expect(status.ok(), "%s: %s", what, status.text().c_str()); }

void Bench::clear() {
  pieces_.clear();
  used_ = 0;
}

uint8_t* Bench::take_bytes(size_t bytes) {
  const size_t whole = (bytes + kGuard + kPieceAlign - 1) / kPieceAlign * kPieceAlign;
  if (on_host_.data() == nullptr || used_ + whole > kArenaBytes) {
    std::fprintf(stderr, "a check takes more than the %zu MiB that there are for it\n", kArenaBytes >> 20);
    std::abort();
  }
  uint8_t* piece = on_host_.data() + used_;
  std::memset(piece, kPoison, whole);
  pieces_.push_back({used_, bytes});
  used_ += whole;
  return piece;
}

void Bench::carry_over(void* args, size_t bytes) const {
  for (size_t at = 0; at + sizeof(void*) <= bytes; at += sizeof(void*)) {
    uint8_t* word = static_cast<uint8_t*>(args) + at;
    uintptr_t pointer;
    std::memcpy(&pointer, word, sizeof(pointer));
    const uintptr_t offset = pointer - reinterpret_cast<uintptr_t>(on_host_.data());
    if (offset >= used_) continue;
    pointer = reinterpret_cast<uintptr_t>(on_device_.data()) + offset;
    std::memcpy(word, &pointer, sizeof(pointer));
  }
}

void Bench::launch(const std::vector<std::function<cuda::Error(cuda::Stream)>>& launches) {
  const auto copy = [this](uint8_t* to, const uint8_t* from) {
    expect_ok(device.check(runtime->copy(to, from, used_, stream.get()), "copy"), "a copy failed");
    expect_ok(stream.wait(kBounds), "a copy failed");
  };
  copy(on_device_.data(), on_host_.data());
  std::vector<Status> results(launches.size());
  const auto run = [&](size_t i) {
    cuda::OwnStream own;
    Status& status = results[i];
    status = device.bind();
    if (status.ok()) status = own.create(device);
    if (status.ok()) status = device.check(launches[i](own.get()), "a launch");
    if (status.ok()) status = own.wait(kBounds);
  };
  std::vector<std::thread> others;
  for (size_t i = 1; i < launches.size(); i++) others.emplace_back(run, i);
  run(0);
  for (std::thread& other : others) other.join();
  for (const Status& status : results) expect_ok(status, "a kernel failed");
  copy(on_host_.data(), on_device_.data());
  for (const Piece& piece : pieces_) {
    const uint8_t* behind = on_host_.data() + piece.at + piece.bytes;
    const bool untouched = std::all_of(behind, behind + kGuard, [](uint8_t byte) { return byte == kPoison; });
    if (!untouched) check.expect(false, "something was written behind %zu bytes", piece.bytes);
  }
}

float* Bench::rows(int count, int n, int ld, float scale) {
  float* out = take<float>(static_cast<size_t>(count) * ld);
  for (int i = 0; i < count; i++) {
    const std::vector<float> values = random.values(n, scale);
    std::fill(out + static_cast<size_t>(i) * ld, out + static_cast<size_t>(i + 1) * ld, 0.0F);
    std::copy(values.begin(), values.end(), out + static_cast<size_t>(i) * ld);
  }
  return out;
}

uint16_t* Bench::halves(float* x, size_t count) {
  auto* out = take<uint16_t>(count);
  for (size_t i = 0; i < count; i++) {
    out[i] = to_bf16(x[i]);
    x[i] = from_bf16(out[i]);
  }
  return out;
}

void Bench::expect_rows(const cuda::RowsOut& out, const std::vector<double>& want, int rows, int n, double tolerance, const char* what) {
  for (int i = 0; i < rows; i++) {
    for (int c = 0; c < out.ld; c++) {
      const size_t at = static_cast<size_t>(i) * out.ld + c;
      const double expected = c < n ? want[static_cast<size_t>(i) * n + c] : 0;
      const double allowed = c < n ? tolerance * (1 + std::fabs(expected)) : 1e-30;
      check.near(wide(out.f32[at]), expected, allowed, what, static_cast<int>(at));
      check.expect(out.bf16[at] == to_bf16(out.f32[at]), "%s: bf16 is not the rounded value", what);
    }
  }
}

// The table has nothing but pointers to functions.
int unchecked_kernels(const Bench& bench) {
  const void* kernels[sizeof(cuda::Kernels) / sizeof(void*)];
  static_assert(sizeof(kernels) == sizeof(cuda::Kernels), "a table of pointers");
  std::memcpy(kernels, bench.runtime->kernels, sizeof(kernels));
  int unchecked = 0;
  for (const void* kernel : kernels) unchecked += bench.kernels_run.count(kernel) == 0 ? 1 : 0;
  return unchecked;
}

}  // namespace lockstep::test
