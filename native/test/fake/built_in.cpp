// The CUDA runtime of an addon for tests: eight devices of host memory.
#include "fake/nccl_hooks.h"

namespace lockstep::cuda {

const Runtime* built_in_runtime() {
  static const Runtime* const runtime = [] {
    test::open_fake_nccl(LOCKSTEP_FAKE_NCCL);
    test::FakeMachine machine;
    machine.devices = 8;
    return test::start_fake_cuda(machine);
  }();
  return runtime;
}

}  // namespace lockstep::cuda
