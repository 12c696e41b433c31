// Which devices and libraries were found, and why others were not.
#pragma once

#include <napi.h>

namespace lockstep::addon {

// () -> NativeDevices of src/addon/binding.ts
Napi::Value devices(const Napi::CallbackInfo& info);
// ({ roots, nccl, cublasLt }) -> NativeDeviceLibraries
Napi::Value device_libraries(const Napi::CallbackInfo& info);

}  // namespace lockstep::addon
