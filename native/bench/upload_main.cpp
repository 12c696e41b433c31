// How fast weights come from the page cache to a device (cuda/upload.h), beside what the page cache itself gives to as many threads that
// only read. The device is emulated: what a copy over PCIe would do beside the processor, the processor does here, so that the figure is a
// lower bound.   lockstep_upload_bench [MIB]
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <thread>
#include <vector>

#include "cuda/upload.h"
#include "fake/cuda_runtime.h"

namespace lockstep::bench {
namespace {

using namespace cuda;

constexpr size_t kRowBytes = 8192;  // 4096 values in bf16
constexpr int kTimes = 5;           // of which the best counts

double seconds_of(const std::function<void()>& work) {
  double best = 1e9;
  for (int i = 0; i < kTimes; i++) {
    const auto start = std::chrono::steady_clock::now();
    work();
    best = std::min(best, std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  }
  return best;
}

bool read_all(int file, size_t offset, size_t bytes, uint8_t* to) {
  while (bytes > 0) {
    const ssize_t got = pread(file, to, bytes, static_cast<off_t>(offset));
    if (got <= 0) return false;
    to += got, offset += static_cast<size_t>(got), bytes -= static_cast<size_t>(got);
  }
  return true;
}

void read_alone(int file, size_t bytes, int threads) {
  std::atomic<size_t> next{0};
  std::vector<std::thread> readers;
  for (int i = 0; i < threads; i++) {
    readers.emplace_back([&] {
      std::vector<uint8_t> buffer(kUploadBufferBytes);
      for (size_t at = next.fetch_add(buffer.size()); at < bytes; at = next.fetch_add(buffer.size()))
        (void)read_all(file, at, std::min(buffer.size(), bytes - at), buffer.data());
    });
  }
  for (std::thread& reader : readers) reader.join();
}

int run(size_t bytes) {
  const char* folder = std::getenv("TMPDIR");
  std::string path = std::string(folder != nullptr ? folder : "/tmp") + "/lockstep-upload-XXXXXX";
  const int file = mkstemp(path.data());
  if (file < 0) return 1;
  unlink(path.c_str());
  const std::vector<uint8_t> piece(kUploadBufferBytes, 7);
  for (size_t at = 0; at < bytes; at += piece.size()) {
    if (pwrite(file, piece.data(), piece.size(), static_cast<off_t>(at)) != static_cast<ssize_t>(piece.size())) return 1;
  }
  const Device device(test::start_fake_cuda({1, 13000, bytes + (size_t{256} << 20)}), 0);
  Memory memory;
  if (!device.bind().ok() || !memory.reserve_device(device, bytes, "weights").ok()) return 1;
  const std::vector<Upload> uploads = {{0, kRowBytes, static_cast<int>(bytes / kRowBytes)}};
  const WaitBounds bounds;
  for (const int threads : {1, 2, 4}) {
    Status status;
    const double alone = seconds_of([&] { read_alone(file, bytes, threads); });
    const double whole = seconds_of([&] {
      status = upload(device, bounds, memory.data(), uploads, threads, [&]() -> MakeUnits {
        return [&](size_t, int first, int count, uint8_t* to) {
          const bool is_read = read_all(file, kRowBytes * first, kRowBytes * count, to);
          return is_read ? Status() : Status(Fault::kLoad, "the file cannot be read");
        };
      });
    });
    if (!status.ok()) {
      std::fprintf(stderr, "%s\n", status.text().c_str());
      return 1;
    }
    const double gb = static_cast<double>(bytes) / 1e9;
    std::printf("%d threads: page cache %.2f GB/s, to the device %.2f GB/s (%.0f %%)\n", threads, gb / alone, gb / whole,
                100 * alone / whole);
  }
  return 0;
}

}  // namespace
}  // namespace lockstep::bench

int main(int argc, char** argv) {
  using lockstep::cuda::kUploadBufferBytes;
  const size_t mib = argc > 1 ? std::strtoul(argv[1], nullptr, 10) : 1024;
  return lockstep::bench::run(std::max<size_t>((mib << 20) / kUploadBufferBytes, 1) * kUploadBufferBytes);
}
