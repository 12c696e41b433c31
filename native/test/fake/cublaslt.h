// What a test sets in the fake libcublasLt (cublaslt.cpp), which it opens as the product does; as fake/nccl.h.
#pragma once

#include <dlfcn.h>

#include <atomic>
#include <cstdlib>
#include <functional>

#include "common/shared_library.h"
#include "fake/cuda_runtime.h"

namespace lockstep::test {

struct FakeLt {
  std::function<cuda::Error(cuda::Stream, Work)> put;
  std::function<bool(cuda::Stream, const void*, size_t)> can_use;

  std::atomic<int> version{130002};
  std::atomic<bool> create_fails{false}, knows_nothing{false};
  std::atomic<bool> matmul_fails{false};  // the next one
  std::atomic<int> heuristics{0}, products{0};
  std::atomic<int> alive{0};  // handles, layouts and the like
};

// What the library exports beside cuBLASLt's own names.
constexpr const char* kFakeLtSymbol = "fakeLt";

// Gives it the fake CUDA runtime. In the program that has that; the library itself only includes this.
inline FakeLt* open_fake_cublaslt(const char* path) {
  void* handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  FakeLt* (*symbol)() = nullptr;
  if (handle == nullptr || !find_symbol(handle, kFakeLtSymbol, &symbol)) std::abort();
  symbol()->put = put_cuda_work;
  symbol()->can_use = cuda_can_use;
  return symbol();
}

}  // namespace lockstep::test
