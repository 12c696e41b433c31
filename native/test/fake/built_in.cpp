// The CUDA runtime of an addon for tests: devices of host memory, eight of a GiB unless the environment says otherwise.
//   EMULATED_GPUS=2             devices of the machine, of which CUDA_VISIBLE_DEVICES chooses as the real driver does
//   EMULATED_GPU_MIB=160        memory of each
//   EMULATED_GPUS_APART=1       they do not reach each other's memory
//   EMULATED_GPU_FAULT=1:700:FILE   device 1 fails with error 700 (600: it hangs) in its next piece of work once there is such a file
//   EMULATED_GPU_WRONG=gemm     that kernel gives a wrong value
//   EMULATED_NCCL=kernels       the fake libnccl's collectives are kernels, as on a real device
// The fake libraries are those that lie beside the program.
#include <dlfcn.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <sstream>
#include <string>
#include <thread>

#include "fake/cublaslt.h"
#include "fake/nccl_hooks.h"

namespace lockstep::cuda {
namespace {

int number(const char* variable, int otherwise) {
  const char* text = std::getenv(variable);
  return text == nullptr ? otherwise : std::atoi(text);
}

// As the driver reads it: up to the first number that is no device.
std::vector<int> visible_of(int devices) {
  std::vector<int> visible;
  const char* chosen = std::getenv("CUDA_VISIBLE_DEVICES");
  if (chosen == nullptr) {
    for (int i = 0; i < devices; i++) visible.push_back(i);
    return visible;
  }
  std::istringstream words(chosen);
  for (std::string word; std::getline(words, word, ',');) {
    const int device = std::atoi(word.c_str());
    if (word.empty() || device < 0 || device >= devices) break;
    visible.push_back(device);
  }
  return visible;
}

void fail_when_asked(const char* fault) {
  int device = 0;
  int error = 0;
  int at = 0;
  if (std::sscanf(fault, "%d:%d:%n", &device, &error, &at) != 2 || at == 0) return;
  std::thread([device, error, file = std::string(fault + at)] {
    while (access(file.c_str(), F_OK) != 0) std::this_thread::sleep_for(std::chrono::milliseconds(5));
    test::fail_cuda_work(device, error, 0);
  }).detach();
}

// A file beside the addon or program that this is part of; "": there is none.
std::string beside(const char* name) {
  Dl_info info{};
  if (dladdr(reinterpret_cast<const void*>(&beside), &info) == 0) return "";
  const std::string self = info.dli_fname;
  const std::string path = self.substr(0, self.rfind('/') + 1) + name;
  return access(path.c_str(), R_OK) == 0 ? path : "";
}

const Runtime* start() {
  const std::string nccl_path = beside("liblockstep_fake_nccl.so");
  test::FakeNccl* nccl = nccl_path.empty() ? nullptr : test::open_fake_nccl(nccl_path.c_str());
  if (const std::string path = beside("liblockstep_fake_cublaslt.so"); !path.empty()) test::open_fake_cublaslt(path.c_str());
  test::FakeMachine machine;
  machine.numbers = visible_of(number("EMULATED_GPUS", 8));
  machine.devices = static_cast<int>(machine.numbers.size());
  machine.bytes = static_cast<size_t>(number("EMULATED_GPU_MIB", 1024)) << 20;
  machine.peers = number("EMULATED_GPUS_APART", 0) == 0;
  if (const char* wrong = std::getenv("EMULATED_GPU_WRONG")) machine.wrong_kernel = wrong;
  const Runtime* runtime = test::start_fake_cuda(machine);
  if (const char* fault = std::getenv("EMULATED_GPU_FAULT")) fail_when_asked(fault);
  if (nccl != nullptr && std::getenv("EMULATED_NCCL") != nullptr) nccl->runtime = runtime;
  return runtime;
}

}  // namespace

const Runtime* built_in_runtime() {
  static const Runtime* const runtime = start();
  return runtime;
}

}  // namespace lockstep::cuda
