// What a test sets in the fake libnccl (nccl.cpp), which it opens as the product does. The fake puts its collectives into streams of the
// fake CUDA runtime, which is the test program's and reaches it through here.
#pragma once

#include <atomic>
#include <functional>
#include <map>
#include <mutex>
#include <string>

#include "fake/cuda_runtime.h"

namespace lockstep::test {

struct FakeNccl {
  // Its collectives are kernels of that (nccl_device.h); null: work that the host does, through the two below.
  const cuda::Runtime* runtime = nullptr;
  std::function<cuda::Error(cuda::Stream, Work)> put;
  std::function<bool(cuda::Stream, const void*, size_t)> can_use;

  std::atomic<int> version{22809};
  std::atomic<int> polls_in_progress{3};  // how often a call that is not blocking is still in progress when asked
  std::atomic<int> hanging_rank{-1};      // its collectives are launched and never begin
  std::atomic<int> async_error{0};        // of every communicator, from now on
  std::atomic<bool> abort_hangs{false};
  std::atomic<int> communicators{0};  // that are alive
  std::atomic<int> aborts{0}, finalizes{0};
  std::mutex mutex;
  std::map<std::string, int> failures;  // the next call of a function answers this
};

// What the library exports beside NCCL's own names.
constexpr const char* kFakeNcclSymbol = "fakeNccl";

}  // namespace lockstep::test
