// Opens the fake libnccl and gives it the fake CUDA runtime.
#pragma once

#include <dlfcn.h>

#include <cstdlib>

#include "common/shared_library.h"
#include "fake/nccl.h"

namespace lockstep::test {

inline FakeNccl* open_fake_nccl(const char* path) {
  void* handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  FakeNccl* (*symbol)() = nullptr;
  if (handle == nullptr || !find_symbol(handle, kFakeNcclSymbol, &symbol)) std::abort();
  symbol()->put = put_cuda_work;
  symbol()->can_use = cuda_can_use;
  return symbol();
}

}  // namespace lockstep::test
