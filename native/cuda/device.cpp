#include "cuda/device.h"

#include <thread>

namespace lockstep::cuda {
namespace {

bool is_over(const Device& device, Error error, Status* answer) {
  if (error == kNotReady) return false;
  *answer = device.check(error, "work in the stream");
  return true;
}

}  // namespace

Status to_status(const Runtime& runtime, Error error, const char* what) {
  if (error == kSuccess) return Status();
  return Status(Fault::kDevice, std::string("CUDA: ") + what + ": " + runtime.error_text(error) + " (" + runtime.error_name(error) + ")");
}

bool Pause::next(std::chrono::milliseconds timeout) {
  constexpr std::chrono::microseconds kSpin(50), kYield(1000), kSleep(100);
  const auto waited = std::chrono::steady_clock::now() - start_;
  if (waited > timeout) return false;
  if (waited > kYield) {
    std::this_thread::sleep_for(kSleep);
  } else if (waited > kSpin) {
    std::this_thread::yield();
  }
  return true;
}

Status Device::bind() const { return check(runtime_->set_device(index_), "set_device"); }

OwnStream::~OwnStream() {
  if (stream_ != nullptr) (void)device_->runtime().stream_destroy(stream_);
}

Status OwnStream::create(const Device& device) {
  device_ = &device;
  return device.check(device.runtime().stream_create(&stream_), "stream_create");
}

Status OwnStream::wait(const WaitBounds& bounds) const {
  return poll_until(bounds, "the device",
                    [this](Status* answer) { return is_over(*device_, device_->runtime().stream_query(stream_), answer); });
}

OwnEvent::~OwnEvent() {
  if (event_ != nullptr) (void)device_->runtime().event_destroy(event_);
}

Status OwnEvent::create(const Device& device, bool is_timed) {
  device_ = &device;
  return device.check(device.runtime().event_create(&event_, is_timed), "event_create");
}

Status OwnEvent::us_since(const OwnEvent& earlier, double* us) const {
  float ms = 0;
  LOCKSTEP_RETURN_IF_ERROR(device_->check(device_->runtime().event_elapsed(&ms, earlier.event_, event_), "event_elapsed"));
  *us = 1e3 * static_cast<double>(ms);
  return Status();
}

Status OwnEvent::record(const OwnStream& stream) const {
  return device_->check(device_->runtime().event_record(event_, stream.get()), "event_record");
}

Status OwnEvent::wait(const WaitBounds& bounds) const {
  return poll_until(bounds, "the device", [this](Status* answer) { return has_come(answer); });
}

bool OwnEvent::has_come(Status* answer) const { return is_over(*device_, device_->runtime().event_query(event_), answer); }

Memory::~Memory() {
  if (data_ == nullptr) return;
  const Runtime& runtime = device_->runtime();
  (void)(pinned_ ? runtime.host_free(data_) : runtime.device_free(data_));
}

Status Memory::take(const Device& device, size_t bytes, const char* what, bool pinned) {
  device_ = &device;
  pinned_ = pinned;
  const size_t asked = bytes > 0 ? bytes : 1;
  void* pointer = nullptr;
  const Error error = pinned ? device.runtime().host_alloc(&pointer, asked) : device.runtime().device_alloc(&pointer, asked);
  if (error == kOutOfMemory) {
    (void)device.runtime().take_last_error();
    size_t free_bytes = 0;
    size_t total_bytes = 0;
    if (!pinned) (void)device.runtime().memory_info(&free_bytes, &total_bytes);
    const std::string where = pinned ? "of pinned memory" : "of device " + std::to_string(device.index());
    const std::string left =
        pinned ? "" : ": " + std::to_string(free_bytes >> 20) + " of " + std::to_string(total_bytes >> 20) + " MiB are free";
    return Status(Fault::kLoad, "no " + std::to_string(asked >> 20) + " MiB " + where + " for " + what + left);
  }
  LOCKSTEP_RETURN_IF_ERROR(device.check(error, what));
  data_ = static_cast<uint8_t*>(pointer);
  bytes_ = bytes;
  return Status();
}

Status Memory::reserve_device(const Device& device, size_t bytes, const char* what) { return take(device, bytes, what, false); }
Status Memory::reserve_pinned(const Device& device, size_t bytes, const char* what) { return take(device, bytes, what, true); }

RecordedWork::~RecordedWork() {
  Graph graph = nullptr;
  if (is_recording_ && device_->runtime().capture_end(stream_, &graph) == kSuccess) (void)device_->runtime().graph_destroy(graph);
  if (exec_ != nullptr) (void)device_->runtime().graph_exec_destroy(exec_);
}

Status RecordedWork::begin(const Device& device, Stream stream) {
  device_ = &device;
  stream_ = stream;
  LOCKSTEP_RETURN_IF_ERROR(device.check(device.runtime().capture_begin(stream), "capture_begin"));
  is_recording_ = true;
  return Status();
}

Status RecordedWork::end() {
  const Runtime& runtime = device_->runtime();
  Graph graph = nullptr;
  is_recording_ = false;
  LOCKSTEP_RETURN_IF_ERROR(device_->check(runtime.capture_end(stream_, &graph), "capture_end"));
  const Error error = runtime.graph_instantiate(&exec_, graph);
  (void)runtime.graph_destroy(graph);
  LOCKSTEP_RETURN_IF_ERROR(device_->check(error, "graph_instantiate"));
  return device_->check(runtime.graph_upload(exec_, stream_), "graph_upload");
}

Status RecordedWork::launch() const { return device_->check(device_->runtime().graph_launch(exec_, stream_), "graph_launch"); }

}  // namespace lockstep::cuda
