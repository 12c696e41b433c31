// File descriptors, as far as Node has no function for them.
#pragma once

#include <napi.h>

namespace lockstep::addon {

// (descriptor) -> another one of the same open file or socket. Throws what the system says.
Napi::Value duplicate_descriptor(const Napi::CallbackInfo& info);

}  // namespace lockstep::addon
