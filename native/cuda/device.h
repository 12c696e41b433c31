// What a rank owns of its device: streams, memory, graphs, each freed by its owner; and waits that end. Every call is made on the rank's
// own thread, which `Device::bind` has bound to the device.
#pragma once

#include <chrono>
#include <functional>
#include <string>

#include "common/status.h"
#include "cuda/runtime.h"

namespace lockstep::cuda {

// kSuccess is ok. `what` names the call in the text: "CUDA: what: the runtime's text (its name)".
Status to_status(const Runtime& runtime, Error error, const char* what);

// What ends a wait early.
struct WaitBounds {
  std::function<Status()> health;  // asked in every turn; what is not ok is the wait's answer. May be empty
  std::chrono::milliseconds timeout{60000};
};

// Calls `poll(&status)` until it answers true: then `status` is the answer. Spins at first, since a step takes microseconds, then sleeps in
// between.
template <class Poll>
Status poll_until(const WaitBounds& bounds, const char* what, Poll poll);

class Device {
 public:
  Device(const Runtime* runtime, int index) : runtime_(runtime), index_(index) {}
  // From now on the calling thread works on this device.
  Status bind() const;
  const Runtime& runtime() const { return *runtime_; }
  int index() const { return index_; }
  Status check(Error error, const char* what) const { return to_status(*runtime_, error, what); }

 private:
  const Runtime* const runtime_;
  const int index_;
};

class OwnStream {
 public:
  OwnStream() = default;
  ~OwnStream();
  OwnStream(const OwnStream&) = delete;
  OwnStream& operator=(const OwnStream&) = delete;
  Status create(const Device& device);
  Stream get() const { return stream_; }
  // Until everything in the stream is done.
  Status wait(const WaitBounds& bounds) const;

 private:
  const Device* device_ = nullptr;
  Stream stream_ = nullptr;
};

// A place in a stream that can be waited for.
class OwnEvent {
 public:
  OwnEvent() = default;
  ~OwnEvent();
  OwnEvent(const OwnEvent&) = delete;
  OwnEvent& operator=(const OwnEvent&) = delete;
  // Only one that is timed keeps when the device came to it.
  Status create(const Device& device, bool is_timed = false);
  // Behind what is in the stream now.
  Status record(const OwnStream& stream) const;
  // Until the stream has come to where this was last recorded; at once if it never was.
  Status wait(const WaitBounds& bounds) const;
  // Whether it has; *answer is how that went.
  bool has_come(Status* answer) const;
  // The device's time between two that are timed and have come, in microseconds.
  Status us_since(const OwnEvent& earlier, double* us) const;

 private:
  const Device* device_ = nullptr;
  Event event_ = nullptr;
};

// Device or pinned host memory.
class Memory {
 public:
  Memory() = default;
  ~Memory();
  Memory(const Memory&) = delete;
  Memory& operator=(const Memory&) = delete;
  // `what` is named where the memory is not there.
  Status reserve_device(const Device& device, size_t bytes, const char* what);
  Status reserve_pinned(const Device& device, size_t bytes, const char* what);
  uint8_t* data() const { return data_; }
  template <class T>
  T* as() const {
    return reinterpret_cast<T*>(data_);
  }
  size_t bytes() const { return bytes_; }
  // It is not given back: what still uses it may never end.
  void abandon() { data_ = nullptr; }

 private:
  Status take(const Device& device, size_t bytes, const char* what, bool pinned);

  const Device* device_ = nullptr;
  uint8_t* data_ = nullptr;
  size_t bytes_ = 0;
  bool pinned_ = false;
};

// Work recorded once and launched many times.
class RecordedWork {
 public:
  RecordedWork() = default;
  ~RecordedWork();
  RecordedWork(const RecordedWork&) = delete;
  RecordedWork& operator=(const RecordedWork&) = delete;
  // Between begin and end nothing of the stream runs. end() makes it ready to launch, its device memory included. A recording that is not
  // ended is given up.
  Status begin(const Device& device, Stream stream);
  Status end();
  bool is_ready() const { return exec_ != nullptr; }
  Status launch() const;

 private:
  const Device* device_ = nullptr;
  Stream stream_ = nullptr;
  GraphExec exec_ = nullptr;
  bool is_recording_ = false;
};

// --- the body of the template ---

// One turn of a wait: spins, yields or sleeps, the longer the wait has lasted.
class Pause {
 public:
  Pause() : start_(std::chrono::steady_clock::now()) {}
  // false: `timeout` is over.
  bool next(std::chrono::milliseconds timeout);

 private:
  const std::chrono::steady_clock::time_point start_;
};

template <class Poll>
Status poll_until(const WaitBounds& bounds, const char* what, Poll poll) {
  Pause pause;
  Status answer;
  while (!poll(&answer)) {
    if (bounds.health) LOCKSTEP_RETURN_IF_ERROR(bounds.health());
    if (!pause.next(bounds.timeout)) {
      return Status(Fault::kTimeout, std::string(what) + " made no progress for " + std::to_string(bounds.timeout.count()) + " ms");
    }
  }
  return answer;
}

}  // namespace lockstep::cuda
