// What Node has no function for: another descriptor of an open file, and an end of the process that waits for nobody.
#pragma once

#include <napi.h>

namespace lockstep::addon {

// (descriptor) -> another one of the same open file or socket. Throws what the system says.
Napi::Value duplicate_descriptor(const Napi::CallbackInfo& info);
// (status): process.exit() waits for every thread, and a thread in a call of a broken device may never come back.
Napi::Value exit_now(const Napi::CallbackInfo& info);

}  // namespace lockstep::addon
