// Makes the masks of a step while its layers run, so that the sampler finds them. What is not made in time the sampler makes itself: nobody
// waits for more than one mask that is being made, and a mask is bounded work.
#pragma once

#include <condition_variable>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "common/grammar.h"

namespace lockstep {

class MaskMaker {
 public:
  struct Job {
    std::shared_ptr<GrammarRun> run;
    GrammarRun::Position at;
  };
  MaskMaker() = default;
  MaskMaker(const MaskMaker&) = delete;
  MaskMaker& operator=(const MaskMaker&) = delete;
  ~MaskMaker();
  // The masks of a step; those of the step before that are not made yet are wanted no more. The thread begins with the first of them.
  void make(std::vector<Job> jobs);

 private:
  void work();

  std::mutex mutex_;
  std::condition_variable wake_;
  std::vector<Job> jobs_;
  bool stop_ = false;
  std::thread thread_;
};

}  // namespace lockstep
