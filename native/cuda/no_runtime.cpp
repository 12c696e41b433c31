// A build without nvcc holds no CUDA runtime; in its place runtime_cudart.cu is built where there is one.
#include "cuda/runtime.h"

namespace lockstep::cuda {

const Runtime* built_in_runtime() { return nullptr; }

}  // namespace lockstep::cuda
