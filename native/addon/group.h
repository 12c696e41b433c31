// Groups by handle, one list for all threads of the process.
#pragma once

#include <napi.h>

#include <memory>

#include "addon/gpu_group.h"
#include "cpu/group.h"

namespace lockstep::addon {

Napi::Value create_group(const Napi::CallbackInfo& info);
Napi::Value destroy_group(const Napi::CallbackInfo& info);
// (group, rank, path) -> Promise<void>: writes the rank's packed weights to a new file, on a thread of its own.
Napi::Value save_weights(const Napi::CallbackInfo& info);
Napi::Value abort_group(const Napi::CallbackInfo& info);
// Every wait of the group returns, and no rank can join it any more.
void end_group(int handle);
// null when there is none of that handle.
std::shared_ptr<cpu::Group> find_group(int handle);
// The same group's part on GPUs; null also when it is on the CPU.
std::shared_ptr<GpuGroup> find_gpu_group(int handle);

}  // namespace lockstep::addon
