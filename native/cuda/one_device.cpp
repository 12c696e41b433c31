#include "cuda/one_device.h"

#include <atomic>

namespace lockstep::cuda {
namespace {

// The table's functions have no place for a "which".
std::atomic<const Runtime*> whole{nullptr};
std::atomic<int> parts{0};

bool is_device(int device) { return device >= 0 && device < parts; }

Error device_count(int* count) {
  const Error error = whole.load()->device_count(count);
  if (error == kSuccess && *count > 0) *count = parts;
  return error;
}

Error device_info(int device, DeviceInfo* info) { return is_device(device) ? whole.load()->device_info(0, info) : kInvalidDevice; }
Error set_device(int device) { return is_device(device) ? whole.load()->set_device(0) : kInvalidDevice; }

Error can_access_peer(int* can, int device, int peer) {
  *can = is_device(device) && is_device(peer) && device != peer ? 1 : 0;
  return kSuccess;
}

Error enable_peer(int peer) { return is_device(peer) ? kSuccess : kInvalidDevice; }

}  // namespace

const Runtime* share_device(const Runtime* runtime, int count) {
  static Runtime shared;
  if (runtime == nullptr || runtime == &shared) return runtime;
  whole = runtime;
  parts = count;
  shared = *runtime;
  shared.device_count = device_count;
  shared.device_info = device_info;
  shared.set_device = set_device;
  shared.can_access_peer = can_access_peer;
  shared.enable_peer = enable_peer;
  return &shared;
}

}  // namespace lockstep::cuda
