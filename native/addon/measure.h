// What a rank needs of its GPU and what that has, before the group is made: the KV cache's size follows from it.
#pragma once

#include <napi.h>

namespace lockstep::addon {

// (options, shard, weights) -> Promise<MeasuredGpu> of src/addon/binding.ts, on a thread of its own: a device's first use takes long.
Napi::Value measure_gpu(const Napi::CallbackInfo& info);

}  // namespace lockstep::addon
