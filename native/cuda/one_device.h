// Several ranks on one GPU, which checks have where a machine has no more (scripts/gpu-check): as slow as it sounds, but all that several
// GPUs do, except that their memories are one.
#pragma once

#include "cuda/runtime.h"

namespace lockstep::cuda {

// The runtime's own functions, but its devices 0 … count-1 are all its device 0, and reach each other. One runtime and one count a process.
const Runtime* share_device(const Runtime* runtime, int count);

}  // namespace lockstep::cuda
