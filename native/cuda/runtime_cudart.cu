// The table of runtime.h over the statically linked CUDA runtime. Compiled by nvcc alone; where there is none, no_runtime.cpp is built.
#include <cuda_runtime.h>

#include <cstdlib>
#include <cstring>

#include "cuda/kernels.h"
#include "cuda/runtime.h"

namespace lockstep::cuda {
namespace {

static_assert(kInvalidValue == cudaErrorInvalidValue && kOutOfMemory == cudaErrorMemoryAllocation);
static_assert(kInsufficientDriver == cudaErrorInsufficientDriver && kNoDevice == cudaErrorNoDevice);
static_assert(kInvalidDevice == cudaErrorInvalidDevice && kInvalidHandle == cudaErrorInvalidResourceHandle);
static_assert(kNotReady == cudaErrorNotReady && kIllegalAddress == cudaErrorIllegalAddress && kLaunchFailure == cudaErrorLaunchFailure);
static_assert(kCaptureUnsupported == cudaErrorStreamCaptureUnsupported && kCaptureInvalidated == cudaErrorStreamCaptureInvalidated);

cudaStream_t real(Stream stream) { return reinterpret_cast<cudaStream_t>(stream); }
cudaEvent_t real(Event event) { return reinterpret_cast<cudaEvent_t>(event); }
cudaGraph_t real(Graph graph) { return reinterpret_cast<cudaGraph_t>(graph); }
cudaGraphExec_t real(GraphExec exec) { return reinterpret_cast<cudaGraphExec_t>(exec); }

Error device_info(int device, DeviceInfo* info) {
  cudaDeviceProp properties;
  const cudaError_t error = cudaGetDeviceProperties(&properties, device);
  if (error != cudaSuccess) return error;
  std::strncpy(info->name, properties.name, kNameLen - 1);
  info->name[kNameLen - 1] = '\0';
  info->major = properties.major;
  info->minor = properties.minor;
  info->multiprocessors = properties.multiProcessorCount;
  info->total_bytes = properties.totalGlobalMem;
  return cudaDeviceGetPCIBusId(info->bus_id, kBusIdLen, device);
}

const Runtime kRuntime = {
    [](int* version) -> Error { return cudaDriverGetVersion(version); },
    [](int* version) -> Error { return cudaRuntimeGetVersion(version); },
    [](int* count) -> Error { return cudaGetDeviceCount(count); },
    device_info,
    [](int device) -> Error { return cudaSetDevice(device); },
    [](size_t* free_bytes, size_t* total_bytes) -> Error { return cudaMemGetInfo(free_bytes, total_bytes); },
    [](int* can, int device, int peer) -> Error { return cudaDeviceCanAccessPeer(can, device, peer); },
    [](int peer) -> Error {
      const cudaError_t error = cudaDeviceEnablePeerAccess(peer, 0);
      return error == cudaErrorPeerAccessAlreadyEnabled ? cudaSuccess : error;
    },

    [](void** pointer, size_t bytes) -> Error { return cudaMalloc(pointer, bytes); },
    [](void* pointer) -> Error { return cudaFree(pointer); },
    [](void** pointer, size_t bytes) -> Error { return cudaHostAlloc(pointer, bytes, cudaHostAllocPortable); },
    [](void* pointer) -> Error { return cudaFreeHost(pointer); },
    [](void* to, const void* from, size_t bytes, Stream stream) -> Error {
      return cudaMemcpyAsync(to, from, bytes, cudaMemcpyDefault, real(stream));
    },
    [](void* to, int byte, size_t bytes, Stream stream) -> Error { return cudaMemsetAsync(to, byte, bytes, real(stream)); },

    [](Stream* stream) -> Error { return cudaStreamCreateWithFlags(reinterpret_cast<cudaStream_t*>(stream), cudaStreamNonBlocking); },
    [](Stream stream) -> Error { return cudaStreamDestroy(real(stream)); },
    [](Stream stream) -> Error { return cudaStreamQuery(real(stream)); },
    [](Event* event, bool is_timed) -> Error {
      return cudaEventCreateWithFlags(reinterpret_cast<cudaEvent_t*>(event), is_timed ? cudaEventDefault : cudaEventDisableTiming);
    },
    [](Event event) -> Error { return cudaEventDestroy(real(event)); },
    [](Event event, Stream stream) -> Error { return cudaEventRecord(real(event), real(stream)); },
    [](Event event) -> Error { return cudaEventQuery(real(event)); },
    [](float* ms, Event from, Event to) -> Error { return cudaEventElapsedTime(ms, real(from), real(to)); },

    [](Stream stream) -> Error { return cudaStreamBeginCapture(real(stream), cudaStreamCaptureModeThreadLocal); },
    [](Stream stream, Graph* graph) -> Error { return cudaStreamEndCapture(real(stream), reinterpret_cast<cudaGraph_t*>(graph)); },
    [](GraphExec* exec, Graph graph) -> Error { return cudaGraphInstantiate(reinterpret_cast<cudaGraphExec_t*>(exec), real(graph), 0); },
    [](Graph graph) -> Error { return cudaGraphDestroy(real(graph)); },
    [](GraphExec exec, Stream stream) -> Error { return cudaGraphUpload(real(exec), real(stream)); },
    [](GraphExec exec, Stream stream) -> Error { return cudaGraphLaunch(real(exec), real(stream)); },
    [](GraphExec exec) -> Error { return cudaGraphExecDestroy(real(exec)); },

    []() -> Error { return cudaGetLastError(); },
    [](Error error) -> const char* { return cudaGetErrorName(static_cast<cudaError_t>(error)); },
    [](Error error) -> const char* { return cudaGetErrorString(static_cast<cudaError_t>(error)); },

    &kernels(),
};

}  // namespace

// Kernels are loaded when the runtime begins, not each at its first launch, unless the user says otherwise: that may wait for what the
// device does, which may be a kernel that waits for this rank (CUDA C++ Programming Guide, lazy loading), and it may fall into a recording.
const Runtime* built_in_runtime() {
  static const int failed = setenv("CUDA_MODULE_LOADING", "EAGER", 0);
  (void)failed;  // then they are loaded late, which is slower to start with and no fault
  return &kRuntime;
}

}  // namespace lockstep::cuda
