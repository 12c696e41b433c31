#include "common/mask_maker.h"

namespace lockstep {

MaskMaker::~MaskMaker() {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    stop_ = true;
    jobs_.clear();
  }
  wake_.notify_one();
  if (thread_.joinable()) thread_.join();
}

void MaskMaker::make(std::vector<Job> jobs) {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    jobs_ = std::move(jobs);
    if (!thread_.joinable()) thread_ = std::thread([this] { work(); });
  }
  wake_.notify_one();
}

void MaskMaker::work() {
  std::unique_lock<std::mutex> lock(mutex_);
  for (;;) {
    wake_.wait(lock, [this] { return stop_ || !jobs_.empty(); });
    if (stop_) return;
    const Job job = std::move(jobs_.back());
    jobs_.pop_back();
    lock.unlock();
    job.run->mask(job.at);
    lock.lock();
  }
}

}  // namespace lockstep
