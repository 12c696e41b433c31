#include "fake/cuda_machine.h"

#include <cstdio>

#include "fake/emulate.h"

namespace lockstep::test {

using namespace cuda;

Machine& machine() {
  static Machine one;
  return one;
}

Caller& caller() {
  static thread_local Caller one;
  if (one.generation != machine().generation) one = {machine().generation, -1, kSuccess, nullptr};
  return one;
}

void complain(const std::string& text) {
  std::fprintf(stderr, "    fake CUDA: %s\n", text.c_str());
  machine().complaints.push_back(text);
}

Error answer(Error error) {
  if (error != kSuccess && error != kNotReady) caller().last_error = error;
  return error;
}

Call::Call(const char* name, Kind kind) : lock(machine().mutex) {
  Machine& m = machine();
  const auto injected = m.calls.find(name);
  if (injected != m.calls.end() && injected->second.after-- == 0) {
    error = injected->second.error;
    m.calls.erase(injected);
    return;
  }
  if (kind == kFree) return;
  const int device = caller().device;
  if (device < 0) {
    complain(std::string(name) + " on a thread that has chosen no device");
    error = kInvalidDevice;
  } else if (m.sticky[device] != kSuccess && m.sticky[device] != kNotReady) {  // one that hangs takes more work
    error = m.sticky[device];
  } else if (kind == kNotInCapture && caller().capturing != nullptr) {
    complain(std::string(name) + " while this thread captures");
    caller().capturing->capture->is_broken = true;
    error = kCaptureUnsupported;
  }
}

bool reaches(int device, const void* pointer, size_t bytes, const char* what, bool may_be_pageable) {
  const FakeMemory::Place place = machine().memory->find(pointer);
  if (!place.is_ours) {
    if (!may_be_pageable) complain(std::string(what) + ": host memory that is not pinned");
    return may_be_pageable;
  }
  if (place.left < bytes || place.left == 0) {
    complain(std::string(what) + ": " + std::to_string(bytes) + " bytes where " + std::to_string(place.left) + " are allocated");
    return false;
  }
  if (place.device == device || place.device == kHost || machine().peers.count({device, place.device}) > 0) return true;
  complain(std::string(what) + ": memory of device " + std::to_string(place.device) + " on device " + std::to_string(device));
  return false;
}

bool is_lost(const void* at) {
  const int lost = machine().setup.lost;
  if (lost < 0 || caller().device == lost) return false;
  const std::lock_guard<std::mutex> lock(machine().mutex);
  return machine().memory->find(at).device == lost;
}

Error put(Stream handle, Work work) {
  StreamTag* stream = find(machine().streams, handle, "stream");
  if (stream == nullptr) return kInvalidHandle;
  if (stream->capture == nullptr) {
    stream->work.push_back(std::move(work));
    stream->has_answered = false;
    return kSuccess;
  }
  if (stream->captured_by != std::this_thread::get_id()) {
    complain("work of another thread for a stream that is captured");
    stream->capture->is_broken = true;
    return kCaptureUnsupported;
  }
  stream->capture->work.push_back(std::move(work));
  return kSuccess;
}

namespace {

// Runs one piece; false: there is none, or the first is not ready.
bool run_one(StreamTag* stream, Error* error) {
  Work work;
  {
    const std::lock_guard<std::mutex> lock(machine().mutex);
    Machine& m = machine();
    *error = m.sticky[stream->device];
    if (stream->work.empty() || *error != kSuccess) return false;
    const auto injected = m.works.find(stream->device);
    if (injected != m.works.end() && injected->second.after-- == 0) {
      *error = m.sticky[stream->device] = injected->second.error;
      m.works.erase(injected);
      return false;
    }
    work = stream->work.front();
  }
  *error = work();
  const std::lock_guard<std::mutex> lock(machine().mutex);
  if (*error == kNotReady) return false;
  if (*error != kSuccess) machine().sticky[stream->device] = *error;
  stream->work.pop_front();
  return *error == kSuccess;
}

}  // namespace

Error run_work(StreamTag* stream, const std::function<bool()>& is_enough) {
  const std::unique_lock<std::mutex> running(stream->running, std::try_to_lock);
  if (!running.owns_lock()) return kNotReady;
  Error error = kSuccess;
  while (!is_enough() && run_one(stream, &error)) {
  }
  return error;
}

}  // namespace lockstep::test
