// Memory of an arena that comes into being ahead of its use. The first write to a huge page makes the system clear it, which takes it 0.1
// ms; in a virtual machine whose memory the host does not hold yet it takes 4 to 5 ms (measured; a Firecracker guest that gives free memory
// back), and a prompt of 512 tokens of a 135M model needs six: a sixth of its time. So while no step runs a thread touches some pages past
// those in use: a few where that is cheap, and where it is not as many as a burst of requests may need.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <thread>

namespace lockstep::cpu {

class PagesAhead {
 public:
  PagesAhead() = default;
  ~PagesAhead();
  PagesAhead(const PagesAhead&) = delete;
  PagesAhead& operator=(const PagesAhead&) = delete;

  // Begins with the pages at `data`, which must live until this ends. Others may use all of it meanwhile.
  void start(uint8_t* data, size_t bytes);
  // A step begins that uses what lies before `bytes`; it ends. Of one thread.
  void begin_step(size_t bytes);
  void end_step();

 private:
  void run();
  bool wait_for_work(size_t done);

  uint8_t* data_ = nullptr;
  size_t bytes_ = 0;
  size_t ahead_ = 0;                  // of the thread below
  uint64_t quiet_at_ = ~uint64_t{0};  // steps_ when it last was quiet for a while
  std::mutex mutex_;
  std::condition_variable changed_;
  std::atomic<size_t> used_{0};
  std::atomic<uint64_t> steps_{0};  // beginnings and ends: odd while one runs
  std::atomic<bool> asleep_{false};
  std::atomic<bool> ending_{false};
  std::thread thread_;
};

}  // namespace lockstep::cpu
