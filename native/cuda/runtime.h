// The CUDA runtime as one table of functions, declared here and not by CUDA's headers: everything above the kernels is plain C++ that
// compiles and is tested where there is no CUDA. `runtime_cudart.cu` fills the table with the statically linked runtime (which opens
// libcuda.so.1 itself when it is first used, so that nothing links it); native/test has another whose devices are host memory.
//
// How kernels are launched: `kernels` is a table too, a function a family, each taking one struct of arguments (kernels.h) and a stream,
// and choosing its own grid and instantiation, since these belong with the kernel that is tuned. The other way, one launch(kernel, grid,
// block, arguments) in this table, would have let tests see grids, but would have spread each kernel's shape over two files, and given
// every instantiation a number. What a test must see of a launch, its device, its stream and its pointers, it sees in the argument struct.
//
// There is no synchronising function: a wait has a deadline and an abort word, so it asks `stream_query` (device.h). There is no reset
// either: a device's context is shared by all threads of the process.
#pragma once

#include <cstddef>
#include <cstdint>

namespace lockstep::cuda {

struct Kernels;

using Error = int;  // cudaError_t
constexpr Error kSuccess = 0;
constexpr Error kInvalidValue = 1;
constexpr Error kOutOfMemory = 2;
constexpr Error kInsufficientDriver = 35;  // also where there is no libcuda at all
constexpr Error kNoDevice = 100;
constexpr Error kInvalidDevice = 101;
constexpr Error kInvalidHandle = 400;
constexpr Error kNotReady = 600;
constexpr Error kIllegalAddress = 700;
constexpr Error kLaunchFailure = 719;
constexpr Error kCaptureUnsupported = 900;
constexpr Error kCaptureInvalidated = 901;

using Stream = struct StreamTag*;
using Event = struct EventTag*;
using Graph = struct GraphTag*;
using GraphExec = struct GraphExecTag*;

constexpr int kNameLen = 256;
constexpr int kBusIdLen = 32;

// What `lockstep doctor` and the choice of kernels ask of a device.
struct DeviceInfo {
  char name[kNameLen];
  char bus_id[kBusIdLen];  // "0000:3b:00.0"
  int major, minor;        // compute capability
  int multiprocessors;
  size_t total_bytes;
};

struct Runtime {
  // Versions as CUDA counts them: 13000 is 13.0. The driver's is 0 where there is none.
  Error (*driver_version)(int* version);
  Error (*runtime_version)(int* version);
  Error (*device_count)(int* count);
  Error (*device_info)(int device, DeviceInfo* info);
  // The device of the calling thread, to which the functions below apply.
  Error (*set_device)(int device);
  Error (*memory_info)(size_t* free_bytes, size_t* total_bytes);
  Error (*can_access_peer)(int* can, int device, int peer);
  Error (*enable_peer)(int peer);  // the calling thread's device may use the peer's memory from now on; again is no error

  Error (*device_alloc)(void** pointer, size_t bytes);
  Error (*device_free)(void* pointer);
  Error (*host_alloc)(void** pointer, size_t bytes);  // pinned, and visible to all devices
  Error (*host_free)(void* pointer);
  // Between host and device in whichever direction the addresses say. The host's side is pinned, else the call may block.
  Error (*copy)(void* to, const void* from, size_t bytes, Stream stream);
  Error (*fill)(void* to, int byte, size_t bytes, Stream stream);

  Error (*stream_create)(Stream* stream);  // one that does not wait for the default stream
  Error (*stream_destroy)(Stream stream);
  Error (*stream_query)(Stream stream);  // kNotReady while something in it runs
  Error (*event_create)(Event* event, bool is_timed);
  Error (*event_destroy)(Event event);
  Error (*event_record)(Event event, Stream stream);
  Error (*event_query)(Event event);
  // Of two that are timed: from when the device came to the one to when it came to the other. kNotReady: it has not yet.
  Error (*event_elapsed)(float* ms, Event from, Event to);

  // What the calling thread puts into the stream between begin and end is recorded and not run; calls of other threads are free.
  Error (*capture_begin)(Stream stream);
  Error (*capture_end)(Stream stream, Graph* graph);
  Error (*graph_instantiate)(GraphExec* exec, Graph graph);
  Error (*graph_destroy)(Graph graph);
  Error (*graph_upload)(GraphExec exec, Stream stream);
  Error (*graph_launch)(GraphExec exec, Stream stream);
  Error (*graph_exec_destroy)(GraphExec exec);

  // The calling thread's last error, which this forgets unless it is sticky.
  Error (*take_last_error)();
  const char* (*error_name)(Error error);
  const char* (*error_text)(Error error);

  const Kernels* kernels;
};

// The CUDA runtime that this build holds; null: it was built without nvcc.
const Runtime* built_in_runtime();

}  // namespace lockstep::cuda
