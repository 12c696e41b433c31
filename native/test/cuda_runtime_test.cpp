// What a rank owns of a device (cuda/device.h), and that the fake runtime finds what a real device would not forgive.
#include "fake/cuda_runtime.h"

#include <thread>

#include "check.h"
#include "cuda/device.h"
#include "cuda/kernels.h"

namespace lockstep::test {
namespace {

using namespace cuda;

const WaitBounds kBounds{nullptr, std::chrono::milliseconds(5000)};

void expect_clean(Check& check, const char* where) {
  for (const std::string& complaint : cuda_complaints()) check.expect(false, "%s: %s", where, complaint.c_str());
  check.expect(cuda_leaks().empty(), "%s: not given back: %s", where, cuda_leaks().c_str());
}

// The body's last complaint must hold `text`.
template <class Body>
void expect_complaint(Check& check, const char* text, Body body) {
  const Runtime* runtime = start_fake_cuda({2});
  const Device device(runtime, 0);
  check.expect(device.bind().ok(), "bind failed");
  OwnStream stream;
  check.expect(stream.create(device).ok(), "no stream");
  body(device, stream);
  const std::vector<std::string> complaints = cuda_complaints();
  check.expect(!complaints.empty() && complaints.back().find(text) != std::string::npos, "'%s' was not found, but '%s'", text,
               complaints.empty() ? "" : complaints.back().c_str());
}

void work_runs_in_order(Check& check) {
  const Runtime* runtime = start_fake_cuda({});
  {
    const Device device(runtime, 0);
    check.expect(device.bind().ok(), "bind failed");
    OwnStream stream;
    Memory host;
    Memory memory;
    check.expect(
        stream.create(device).ok() && host.reserve_pinned(device, 64, "host").ok() && memory.reserve_device(device, 64, "memory").ok(),
        "nothing was given");
    std::memset(host.data(), 7, 64);
    check.expect(runtime->copy(memory.data(), host.data(), 64, stream.get()) == kSuccess, "copy failed");
    check.expect(runtime->fill(memory.data() + 8, 9, 8, stream.get()) == kSuccess, "fill failed");
    check.expect(memory.data()[0] == 0xff, "work was done before anyone waited");
    check.expect(runtime->stream_query(stream.get()) == kNotReady, "work was done at once");
    check.expect(stream.wait(kBounds).ok(), "the wait failed");
    check.expect(memory.data()[0] == 7 && memory.data()[8] == 9 && memory.data()[16] == 7, "work was not done in order");

    OwnEvent event;
    check.expect(event.create(device).ok() && event.wait(kBounds).ok(), "an event that was never recorded is not waited for");
    check.expect(runtime->fill(memory.data(), 3, 64, stream.get()) == kSuccess && event.record(stream).ok() &&
                     runtime->fill(memory.data() + 32, 4, 32, stream.get()) == kSuccess,
                 "a call failed");
    check.expect(event.wait(kBounds).ok() && memory.data()[0] == 3, "the event came before the work that it follows");
    check.expect(stream.wait(kBounds).ok() && memory.data()[32] == 4, "the wait failed");

    OwnEvent from, to;
    check.expect(from.create(device, true).ok() && to.create(device, true).ok(), "no events");
    constexpr std::chrono::milliseconds kWork(20);
    const auto works = [kWork] {
      std::this_thread::sleep_for(kWork);
      return kSuccess;
    };
    check.expect(from.record(stream).ok() && put_cuda_work(stream.get(), works) == kSuccess && to.record(stream).ok(), "a call failed");
    double us = 0;
    check.expect(!to.us_since(from, &us).ok(), "there is a time before the work is done");
    check.expect(to.wait(kBounds).ok() && to.us_since(from, &us).ok() && us >= 20e3 && us < 5e6, "the work took %g us", us);
  }
  expect_clean(check, "work in order");
}

void graphs_replay(Check& check) {
  const Runtime* runtime = start_fake_cuda({});
  {
    const Device device(runtime, 0);
    check.expect(device.bind().ok(), "bind failed");
    OwnStream stream;
    Memory x;
    RecordedWork work;
    check.expect(stream.create(device).ok() && x.reserve_device(device, 64, "x").ok(), "nothing was given");
    AddArgs args{};
    args.y = args.x = x.as<float>(), args.rows = 1, args.n = 16, args.ld = 16;
    check.expect(runtime->fill(x.data(), 0, 64, stream.get()) == kSuccess && stream.wait(kBounds).ok(), "fill failed");
    for (int i = 0; i < 16; i++) x.as<float>()[i] = 1;
    check.expect(work.begin(device, stream.get()).ok() && runtime->kernels->add(args, stream.get()) == kSuccess && work.end().ok(),
                 "the capture failed");
    check.expect(stream.wait(kBounds).ok() && x.as<float>()[5] == 1, "captured work ran");
    for (int i = 0; i < 3; i++) check.expect(work.launch().ok(), "the launch failed");
    check.expect(stream.wait(kBounds).ok() && x.as<float>()[5] == 8, "three launches doubled to %g", static_cast<double>(x.as<float>()[5]));
  }
  expect_clean(check, "graphs");
}

void misuse_is_found(Check& check) {
  expect_complaint(check, "has chosen no device", [](const Device& device, const OwnStream&) {
    std::thread([&] {
      void* pointer = nullptr;
      (void)device.runtime().device_alloc(&pointer, 8);
    }).join();
  });
  expect_complaint(check, "no stream", [&](const Device& device, const OwnStream&) {
    Memory memory;
    check.expect(memory.reserve_device(device, 8, "memory").ok(), "no memory");
    check.expect(device.runtime().fill(memory.data(), 0, 8, nullptr) == kInvalidHandle, "the default stream was taken");
  });
  expect_complaint(check, "8 bytes where 0 are allocated", [&](const Device& device, const OwnStream& stream) {
    void* pointer = nullptr;
    check.expect(device.runtime().device_alloc(&pointer, 8) == kSuccess && device.runtime().device_free(pointer) == kSuccess, "memory");
    check.expect(device.runtime().fill(pointer, 0, 8, stream.get()) == kInvalidValue, "freed memory was filled");
  });
  expect_complaint(check, "1 bytes where 0 are allocated", [&](const Device& device, const OwnStream& stream) {
    void* pointer = nullptr;
    check.expect(device.runtime().device_alloc(&pointer, 64) == kSuccess && device.runtime().device_free(pointer) == kSuccess, "memory");
    AddArgs args{};
    args.x = static_cast<float*>(pointer), args.y = args.x, args.rows = 1, args.n = args.ld = 16;
    check.expect(device.runtime().kernels->add(args, stream.get()) == kIllegalAddress, "a kernel was given freed memory");
    check.expect(device.runtime().stream_query(stream.get()) == kIllegalAddress, "the error does not stick");
    check.expect(device.runtime().set_device(0) == kIllegalAddress, "the error does not stick to the device");
    check.expect(device.runtime().set_device(1) == kSuccess, "another device has the error");
  });
  expect_complaint(check, "64 bytes where 32 are allocated", [&](const Device& device, const OwnStream& stream) {
    Memory memory;
    check.expect(memory.reserve_device(device, 32, "memory").ok(), "no memory");
    (void)device.runtime().fill(memory.data(), 0, 64, stream.get());
  });
  expect_complaint(check, "not pinned", [&](const Device& device, const OwnStream& stream) {
    Memory memory;
    char pageable[8] = {};
    check.expect(memory.reserve_device(device, 8, "memory").ok(), "no memory");
    (void)device.runtime().copy(memory.data(), pageable, 8, stream.get());
  });
  expect_complaint(check, "stream of device 0 on a thread of device 1", [&](const Device& device, const OwnStream& stream) {
    const Device other(&device.runtime(), 1);
    Memory memory;
    check.expect(other.bind().ok() && memory.reserve_device(other, 8, "memory").ok(), "no memory");
    (void)device.runtime().fill(memory.data(), 0, 8, stream.get());
    check.expect(device.bind().ok(), "bind failed");
  });
  expect_complaint(check, "memory of device 1 on device 0", [&](const Device& device, const OwnStream& stream) {
    const Device other(&device.runtime(), 1);
    Memory memory;
    check.expect(other.bind().ok() && memory.reserve_device(other, 8, "memory").ok() && device.bind().ok(), "no memory");
    (void)device.runtime().fill(memory.data(), 0, 8, stream.get());
  });
  expect_complaint(check, "device_alloc while this thread captures", [&](const Device& device, const OwnStream& stream) {
    RecordedWork work;
    void* pointer = nullptr;
    check.expect(work.begin(device, stream.get()).ok(), "no capture");
    check.expect(device.runtime().device_alloc(&pointer, 8) == kCaptureUnsupported, "memory was given");
    check.expect(work.end().fault() == Fault::kDevice && !work.is_ready(), "a broken capture was made a graph");
  });
  expect_complaint(check, "captured stream was asked", [&](const Device& device, const OwnStream& stream) {
    RecordedWork work;
    check.expect(work.begin(device, stream.get()).ok() && stream.wait(kBounds).fault() == Fault::kDevice && !work.end().ok(), "a wait");
  });
  expect_complaint(check, "another thread for a stream that is captured", [&](const Device& device, const OwnStream& stream) {
    RecordedWork work;
    Memory memory;
    check.expect(memory.reserve_device(device, 8, "memory").ok() && work.begin(device, stream.get()).ok(), "no capture");
    std::thread([&] {
      (void)device.bind();
      (void)device.runtime().fill(memory.data(), 0, 8, stream.get());
    }).join();
    check.expect(!work.end().ok(), "a broken capture was made a graph");
  });
  expect_complaint(check, "event that keeps none", [&](const Device& device, const OwnStream& stream) {
    OwnEvent timed, untimed;
    double us = 0;
    check.expect(timed.create(device, true).ok() && untimed.create(device).ok(), "no events");
    check.expect(timed.record(stream).ok() && untimed.record(stream).ok() && stream.wait(kBounds).ok(), "a call failed");
    check.expect(untimed.us_since(timed, &us).fault() == Fault::kDevice, "an event without times has one");
  });
  expect_complaint(check, "of what is not allocated", [](const Device& device, const OwnStream&) {
    void* pointer = nullptr;
    (void)device.runtime().device_alloc(&pointer, 8);
    (void)device.runtime().device_free(pointer);
    (void)device.runtime().device_free(pointer);
  });
}

void errors_are_told(Check& check) {
  const Runtime* runtime = start_fake_cuda({1, 13000, 1 << 20});
  const Device device(runtime, 0);
  check.expect(device.bind().ok(), "bind failed");
  {
    Memory memory;
    const Status status = memory.reserve_device(device, 8 << 20, "the KV cache");
    check.expect(status.fault() == Fault::kLoad && status.text() == "no 8 MiB of device 0 for the KV cache: 1 of 1 MiB are free",
                 "out of memory says: %s", status.text().c_str());
    check.expect(runtime->take_last_error() == kSuccess, "the error was not taken");
  }
  OwnStream stream;
  Memory memory;
  check.expect(stream.create(device).ok() && memory.reserve_device(device, 64, "memory").ok(), "nothing was given");
  fail_cuda_work(0, kLaunchFailure, 1);
  for (int i = 0; i < 3; i++) (void)runtime->fill(memory.data(), i, 64, stream.get());
  const Status failed = stream.wait(kBounds);
  check.expect(failed.fault() == Fault::kDevice && failed.text().find("cudaErrorLaunchFailure") != std::string::npos, "a wait says: %s",
               failed.text().c_str());
  check.expect(memory.data()[0] == 0, "work ran after the error");
  check.expect(stream.wait(kBounds).fault() == Fault::kDevice, "the error does not stick");

  (void)start_fake_cuda({});
  const Device sound(runtime, 0);
  OwnStream waiting;
  check.expect(sound.bind().ok() && waiting.create(sound).ok(), "a new machine keeps the old error");
  check.expect(put_cuda_work(waiting.get(), [] { return kNotReady; }) == kSuccess, "no work");
  check.expect(waiting.wait({nullptr, std::chrono::milliseconds(20)}).fault() == Fault::kTimeout, "a wait did not end");
  const auto stopped = [] { return Status(Fault::kAborted, "stopped"); };
  check.expect(waiting.wait({stopped, std::chrono::milliseconds(5000)}).fault() == Fault::kAborted, "a wait was not woken");
}

}  // namespace

void test_cuda_runtime(Check& check) {
  work_runs_in_order(check);
  graphs_replay(check);
  errors_are_told(check);
  std::fprintf(stderr, "    (complaints are what the next lines are about)\n");
  misuse_is_found(check);
}

}  // namespace lockstep::test
