// A rank's compute threads: the rank's own thread is thread 0, the others wait for jobs. A job is a range of chunks: every thread begins
// with its own part and then steals from the ends of the others', since a disturbed core would otherwise hold up everyone.
#pragma once

#include <atomic>
#include <memory>
#include <thread>
#include <vector>

#include "common/status.h"
#include "cpu/wait.h"

namespace lockstep::cpu {

class Threads {
 public:
  // (context, thread, first chunk, number of chunks)
  using Work = void (*)(void*, int, int, int);

  // By the thread that will call run.
  Threads(int count, WaitPolicy policy, std::chrono::milliseconds timeout);
  ~Threads();
  int count() const { return count_; }
  // The first of so many chunks that thread `thread` begins with; those of thread + 1 end its share.
  int share_begin(int chunks, int thread) const { return static_cast<int>(static_cast<int64_t>(chunks) * thread / count_); }

  // Calls work on parts of [0, chunks) from all threads and returns when all are done. Parts have at most `grain` chunks.
  // work must not throw, nor wait for other ranks. After a thread has missed the deadline nothing runs any more: see status().
  template <typename F>
  void run(int chunks, int grain, F&& work) {
    if (count_ == 1 || chunks <= grain) {
      if (chunks > 0) work(0, 0, chunks);
      return;
    }
    run_on_all(
        chunks, grain, [](void* f, int thread, int first, int n) { (*static_cast<std::remove_reference_t<F>*>(f))(thread, first, n); },
        &work);
  }
  // As run, but thread t gets the t-th of equal contiguous parts and nobody steals: first touch of memory.
  template <typename F>
  void run_in_place(int chunks, F&& work) {
    stealing_ = false;
    run(chunks, 1, work);
    stealing_ = true;
  }
  // Fails once a helper was lost.
  Status status() const;

 private:
  // Chunks not yet taken, [first, end) in one word, so that owner and thieves agree by compare-and-swap.
  struct alignas(64) Share {
    std::atomic<uint64_t> range{0};
  };
  void run_on_all(int chunks, int grain, Work work, void* context);
  void work_through(int thread);
  void helper(int thread);
  bool call_off(int thread);
  bool take_front(int owner, int* first, int* n);
  bool steal_back(int owner, int* first, int* n);

  const int count_;
  const WaitPolicy policy_;
  const std::chrono::milliseconds timeout_;
  std::unique_ptr<Share[]> shares_;
  std::unique_ptr<Signal[]> done_;  // [count] number of the last job that a helper has finished
  // [count] number of the last job that a helper has begun, or that was called off because the others had done everything before it woke:
  // a core that is busy elsewhere then costs nothing.
  struct alignas(64) Claim {
    std::atomic<uint32_t> job{0};
  };
  std::unique_ptr<Claim[]> claims_;
  std::unique_ptr<Mate[]> mates_;  // [count]
  Signal job_;
  uint32_t job_number_ = 0;
  Work work_ = nullptr;
  void* context_ = nullptr;
  int grain_ = 1;
  bool stealing_ = true;
  bool lost_ = false;
  std::atomic<bool> stop_{false};
  AbortFlag never_;  // helpers between steps are ended by stop_, not by an abort
  std::vector<std::thread> helpers_;
};

}  // namespace lockstep::cpu
