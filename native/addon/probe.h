// What this machine is, and single operations for tests.
#pragma once

#include <napi.h>

#include <string>

#include "cpu/kernels.h"

namespace lockstep::addon {

Napi::Value info(const Napi::CallbackInfo& info);
Napi::Value dequantize(const Napi::CallbackInfo& info);

// The best kernels, or those that LOCKSTEP_ISA names; null and the reason when this CPU does not run them.
const cpu::Kernels* chosen_kernels(std::string* error);
// Cores that this process may use: its affinity, and its cgroup's quota rounded up.
int usable_cores();

}  // namespace lockstep::addon
