#include "cuda/discovery.h"

namespace lockstep::cuda {
namespace {

constexpr int kOldestDriver = 580;  // what a CUDA 13 runtime needs

std::string version_text(int version) { return std::to_string(version / 1000) + "." + std::to_string(version % 1000 / 10); }

std::string problem_of(const Runtime& runtime, Error error, const Discovery& found, bool has_driver_library) {
  if (!has_driver_library) return "there is no NVIDIA driver: libcuda.so.1 is not found";
  if (error == kInsufficientDriver) {
    const std::string has = found.driver_version > 0 ? "it has CUDA " + version_text(found.driver_version) : "it is not loaded";
    return "the driver is too old: " + has + ", and CUDA " + version_text(found.runtime_version) + " needs driver " +
           std::to_string(kOldestDriver) + " or later";
  }
  if (error == kNoDevice) return "the driver finds no device";
  return std::string("the driver fails: ") + runtime.error_text(error) + " (" + runtime.error_name(error) + ")";
}

}  // namespace

bool has_driver_library() {
  // Not closed again: where there is one, the runtime opens it too.
  return open_library({{"libcuda.so.1"}, "", "", {}}, [](void*) { return std::string(); }).handle != nullptr;
}

Discovery discover(const Runtime* runtime, bool has_driver_library) {
  Discovery found;
  if (runtime == nullptr) {
    found.problem = "this build has no CUDA: nvcc 12.8 or later was not found when it was built";
    return found;
  }
  int count = 0;
  (void)runtime->runtime_version(&found.runtime_version);
  if (has_driver_library) (void)runtime->driver_version(&found.driver_version);
  Error error = runtime->device_count(&count);
  for (int i = 0; error == kSuccess && i < count; i++) {
    DeviceInfo info;
    error = runtime->device_info(i, &info);
    if (error == kSuccess) found.devices.push_back(info);
  }
  if (error == kSuccess && count == 0) error = kNoDevice;
  if (error != kSuccess) {
    (void)runtime->take_last_error();
    found.devices.clear();
    found.problem = problem_of(*runtime, error, found, has_driver_library);
    return found;
  }
  for (int device = 0; device < count; device++) {
    found.peers.emplace_back();
    for (int peer = 0; peer < count; peer++) {
      int can = 0;
      const bool known = device != peer && runtime->can_access_peer(&can, device, peer) == kSuccess;
      found.peers.back().push_back(known && can != 0);
    }
  }
  return found;
}

}  // namespace lockstep::cuda
