// Makes the fake libnccl one for real devices: its collectives are kernels of the CUDA runtime that is linked into it.
#include "cuda/runtime.h"
#include "fake/nccl.h"

extern "C" lockstep::test::FakeNccl* fakeNccl();

namespace {

[[maybe_unused]] const bool is_on_gpu = [] {
  fakeNccl()->runtime = lockstep::cuda::built_in_runtime();
  return true;
}();

}  // namespace
