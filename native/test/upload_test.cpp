// The way of weights to a device (cuda/upload.h): all of it arrives, and a fault of any thread ends the others in time.
#include "cuda/upload.h"

#include <atomic>

#include "check.h"
#include "fake/clean.h"

namespace lockstep::test {
namespace {

using namespace cuda;

const WaitBounds kBounds{nullptr, std::chrono::milliseconds(20000)};
constexpr size_t kGap = 24;  // bytes between stretches, which nobody writes

uint8_t byte_at(size_t index, size_t at) { return static_cast<uint8_t>(index * 37 + at * 101 + at / 251); }

struct Plan {
  std::vector<Upload> uploads;
  size_t bytes = 0;
  void add(size_t unit_bytes, int units) {
    uploads.push_back({bytes, unit_bytes, units});
    bytes += unit_bytes * units + kGap;
  }
};

// Rows of a byte to one that is larger than a buffer, and stretches with nothing in them.
Plan odd_plan() {
  Plan plan;
  plan.add(1, 5000);
  plan.add(0, 7);
  plan.add(4096, 6001);
  plan.add(kUploadBufferBytes + 5, 2);
  plan.add(100, 0);
  for (int i = 0; i < 40; i++) plan.add(333, 1 + i * 17);
  return plan;
}

MakeUnits fill(const Plan& plan) {
  return [&plan](size_t index, int first, int count, uint8_t* to) {
    const size_t unit = plan.uploads[index].unit_bytes;
    for (size_t i = 0; i < unit * count; i++) to[i] = byte_at(index, unit * first + i);
    return Status();
  };
}

void everything_arrives(Check& check) {
  const Plan plan = odd_plan();
  for (const int threads : {1, 3, 99}) {
    {
      const Device device(start_fake_cuda({}), 0);
      Memory memory;
      check.expect(device.bind().ok() && memory.reserve_device(device, plan.bytes, "weights").ok(), "no device");
      std::atomic<int> makers{0};
      const Status status = upload(device, kBounds, memory.data(), plan.uploads, threads, [&] {
        makers++;
        return fill(plan);
      });
      check.expect(status.ok(), "%s", status.text().c_str());
      check.expect(makers == std::min(threads, kUploadThreadsMax), "%d threads of %d", makers.load(), threads);
      for (size_t i = 0; i < plan.uploads.size(); i++) {
        const Upload& one = plan.uploads[i];
        const uint8_t* at = memory.data() + one.offset;
        size_t wrong = 0;
        for (size_t j = 0; j < one.unit_bytes * one.units; j++) wrong += at[j] == byte_at(i, j) ? 0 : 1;
        for (size_t j = 0; j < kGap; j++) wrong += at[one.unit_bytes * one.units + j] == 0xff ? 0 : 1;
        check.expect(wrong == 0, "%d threads: %zu bytes of stretch %zu are wrong", threads, wrong, i);
      }
    }
    expect_clean(check);
  }
}

// `breaks` is called with a device before the upload, which must then end with a fault whose text holds `text`.
template <class Breaks>
void expect_fault(Check& check, const char* text, const Plan& plan, const MakeUnits* make, Breaks breaks) {
  const WaitBounds bounds{nullptr, std::chrono::milliseconds(1000)};
  const Device device(start_fake_cuda({}), 0);
  Memory memory;
  check.expect(device.bind().ok() && memory.reserve_device(device, plan.bytes, "weights").ok(), "no device");
  breaks();
  const auto start = std::chrono::steady_clock::now();
  const Status status = upload(device, bounds, memory.data(), plan.uploads, 4, [&] { return make == nullptr ? fill(plan) : *make; });
  check.expect(status.text().find(text) != std::string::npos, "the fault says '%s'", status.text().c_str());
  check.expect(std::chrono::steady_clock::now() - start < std::chrono::seconds(10), "it ended late");
}

void faults_end(Check& check) {
  std::atomic<int> made{0};
  const MakeUnits breaks_off = [&made](size_t, int, int, uint8_t*) {
    return ++made < 3 ? Status() : Status(Fault::kLoad, "tensor x: the file ends");
  };
  expect_fault(check, "tensor x: the file ends", odd_plan(), &breaks_off, [] {});
  check.expect(made < 3 + kUploadThreadsMax, "%d makers went on after the fault", made.load());
  expect_clean(check);
  expect_fault(check, "of pinned memory for reading weights", odd_plan(), nullptr, [] { fail_cuda_call("host_alloc", kOutOfMemory, 3); });
  expect_clean(check);
  expect_fault(check, "cudaErrorLaunchFailure", odd_plan(), nullptr, [] { fail_cuda_work(0, kLaunchFailure, 2); });
  Plan small;
  small.add(64, 1);
  expect_fault(check, "the device made no progress for 1000 ms", small, nullptr, [] { fail_cuda_work(0, kNotReady, 0); });
}

}  // namespace

void test_upload(Check& check) {
  everything_arrives(check);
  faults_end(check);
}

}  // namespace lockstep::test
