// What is said of a machine's CUDA: every reason for which no device can be used, and devices and peers where they can.
#include "cuda/discovery.h"

#include "check.h"
#include "cuda/cublaslt.h"
#include "fake/cuda_runtime.h"

namespace lockstep::test {

using namespace cuda;

void test_discovery(Check& check) {
  const auto expect_problem = [&](const Discovery& found, const std::string& problem) {
    check.expect(found.problem == problem && found.devices.empty(), "it says: %s", found.problem.c_str());
  };
  expect_problem(discover(nullptr, true), "this build has no CUDA: nvcc 12.8 or later was not found when it was built");
  FakeMachine machine;
  machine.driver_version = 0;
  expect_problem(discover(start_fake_cuda(machine), false), "there is no NVIDIA driver: libcuda.so.1 is not found");
  expect_problem(discover(start_fake_cuda(machine), true),
                 "the driver is too old: it is not loaded, and CUDA 13.0 needs driver 580 or later");
  machine.driver_version = 12040;
  const Discovery old = discover(start_fake_cuda(machine), true);
  expect_problem(old, "the driver is too old: it has CUDA 12.4, and CUDA 13.0 needs driver 580 or later");
  check.expect(old.driver_version == 12040 && old.runtime_version == 13000, "versions %d, %d", old.driver_version, old.runtime_version);
  machine.driver_version = 13000;
  machine.devices = 0;
  expect_problem(discover(start_fake_cuda(machine), true), "the driver finds no device");
  machine.devices = 2;
  const Runtime* runtime = start_fake_cuda(machine);
  fail_cuda_call("device_info", kLaunchFailure, 1);
  expect_problem(discover(runtime, true), "the driver fails: cudaErrorLaunchFailure (cudaErrorLaunchFailure)");

  const Discovery found = discover(runtime, true);
  check.expect(found.problem.empty() && found.devices.size() == 2, "two devices: %s", found.problem.c_str());
  check.expect(std::string(found.devices[1].name) == "Fake GPU 1" && std::string(found.devices[1].bus_id) == "0000:02:00.0", "device 1");
  check.expect(found.peers == std::vector<std::vector<bool>>{{false, true}, {true, false}}, "peers");
  machine.peers = false;
  check.expect(discover(start_fake_cuda(machine), true).peers == std::vector<std::vector<bool>>{{false, false}, {false, false}},
               "no peers");

  const CublasLt other = open_cublaslt(LOCKSTEP_FAKE_NCCL, {}, 13);
  check.expect(
      other.version == 0 && other.refused == std::vector<std::string>{std::string(LOCKSTEP_FAKE_NCCL) + ": it has no cublasLtCreate"},
      "another library was taken for cuBLASLt");
  check.expect(open_cublaslt("", {"/nowhere"}, 13).refused.empty(), "a search complains of what is not there");
}

}  // namespace lockstep::test
