// What of CUDA is on this machine, found without changing it: for `lockstep doctor` and for the choice of devices. Nothing here fails: what
// is not there is said in words.
#pragma once

#include <string>
#include <vector>

#include "common/shared_library.h"
#include "cuda/runtime.h"

namespace lockstep::cuda {

struct Discovery {
  std::string problem;      // why no device can be used; "": devices has at least one
  int runtime_version = 0;  // of this build; 0: it holds none
  int driver_version = 0;   // newest CUDA that the driver knows; 0: none is loaded
  std::vector<DeviceInfo> devices;
  // [device][peer] whether the driver says that one reaches the other's memory. What it says is tried by a copy before it is relied on.
  std::vector<std::vector<bool>> peers;
};

// `has_driver_library`: libcuda.so.1 can be opened, since the runtime answers alike where it is missing and where it is too old.
// runtime: null in a build without CUDA.
Discovery discover(const Runtime* runtime, bool has_driver_library);
bool has_driver_library();

}  // namespace lockstep::cuda
