#include "cuda/upload.h"

#include <algorithm>
#include <atomic>
#include <mutex>
#include <thread>

namespace lockstep::cuda {
namespace {

struct Job {
  size_t index;
  int first, count;
};

// The jobs, which threads take in order until one of them fails.
class Jobs {
 public:
  explicit Jobs(const std::vector<Upload>& uploads) {
    for (size_t i = 0; i < uploads.size(); i++) {
      if (uploads[i].unit_bytes == 0) continue;
      const int step = std::max(static_cast<int>(std::min<size_t>(kUploadBufferBytes / uploads[i].unit_bytes, INT32_MAX)), kUploadUnits);
      for (int first = 0; first < uploads[i].units; first += step) jobs_.push_back({i, first, std::min(step, uploads[i].units - first)});
    }
  }
  size_t count() const { return jobs_.size(); }
  // null: there are no more.
  const Job* next() {
    const size_t at = next_++;
    return at < jobs_.size() ? &jobs_[at] : nullptr;
  }
  void fail(Status status) {
    next_ = jobs_.size();
    const std::lock_guard<std::mutex> lock(mutex_);
    if (fault_.ok()) fault_ = std::move(status);
  }
  Status fault() const { return fault_; }

 private:
  std::vector<Job> jobs_;
  std::atomic<size_t> next_{0};
  std::mutex mutex_;
  Status fault_;
};

// One thread's stream and buffers.
class Uploader {
 public:
  Uploader(const Device& device, const WaitBounds& bounds, uint8_t* base) : device_(device), bounds_(bounds), base_(base) {}
  Status init(size_t buffer_bytes);
  Status run(const Upload& upload, const Job& job, const MakeUnits& make);
  // What was copied is there. Also after a fault, since buffers that are still read may not be given back; where the device does not come
  // to an end, they are left.
  Status finish();

 private:
  struct Buffer {
    Memory memory;
    OwnEvent copied;
  };
  const Device& device_;
  const WaitBounds& bounds_;
  uint8_t* const base_;
  size_t buffer_bytes_ = 0;
  OwnStream stream_;
  Buffer buffers_[2];
  int next_ = 0;
};

Status Uploader::init(size_t buffer_bytes) {
  buffer_bytes_ = buffer_bytes;
  LOCKSTEP_RETURN_IF_ERROR(device_.bind());
  LOCKSTEP_RETURN_IF_ERROR(stream_.create(device_));
  for (Buffer& buffer : buffers_) {
    LOCKSTEP_RETURN_IF_ERROR(buffer.copied.create(device_));
    LOCKSTEP_RETURN_IF_ERROR(buffer.memory.reserve_pinned(device_, buffer_bytes, "reading weights"));
  }
  return Status();
}

Status Uploader::run(const Upload& upload, const Job& job, const MakeUnits& make) {
  const int step = static_cast<int>(std::min<size_t>(buffer_bytes_ / upload.unit_bytes, INT32_MAX));
  const int end = job.first + job.count;
  for (int first = job.first; first < end; first += step) {
    const int count = std::min(step, end - first);
    Buffer& buffer = buffers_[next_];
    next_ = 1 - next_;
    LOCKSTEP_RETURN_IF_ERROR(buffer.copied.wait(bounds_));
    LOCKSTEP_RETURN_IF_ERROR(make(job.index, first, count, buffer.memory.data()));
    uint8_t* to = base_ + upload.offset + upload.unit_bytes * first;
    LOCKSTEP_RETURN_IF_ERROR(
        device_.check(device_.runtime().copy(to, buffer.memory.data(), upload.unit_bytes * count, stream_.get()), "copying weights"));
    LOCKSTEP_RETURN_IF_ERROR(buffer.copied.record(stream_));
  }
  return Status();
}

Status Uploader::finish() {
  Status status = stream_.get() == nullptr ? Status() : stream_.wait(bounds_);
  if (!status.ok()) {
    for (Buffer& buffer : buffers_) buffer.memory.abandon();
  }
  return status;
}

}  // namespace

Status upload(const Device& device, const WaitBounds& bounds, uint8_t* base, const std::vector<Upload>& uploads, int threads,
              const std::function<MakeUnits()>& new_maker) {
  size_t buffer_bytes = kUploadBufferBytes;
  for (const Upload& one : uploads) buffer_bytes = std::max(buffer_bytes, one.unit_bytes);
  Jobs jobs(uploads);
  const auto work = [&] {
    Uploader uploader(device, bounds, base);
    Status status = uploader.init(buffer_bytes);
    const MakeUnits make = new_maker();
    for (const Job* job = nullptr; status.ok() && (job = jobs.next()) != nullptr;) status = uploader.run(uploads[job->index], *job, make);
    if (!status.ok()) jobs.fail(std::move(status));
    status = uploader.finish();
    if (!status.ok()) jobs.fail(std::move(status));
  };
  const int wanted = std::min(std::clamp(threads, 1, kUploadThreadsMax), static_cast<int>(std::max<size_t>(jobs.count(), 1)));
  std::vector<std::thread> others;
  for (int i = 1; i < wanted; i++) others.emplace_back(work);
  work();
  for (std::thread& other : others) other.join();
  return jobs.fault();
}

}  // namespace lockstep::cuda
