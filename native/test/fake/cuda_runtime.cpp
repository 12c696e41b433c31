#include "fake/cuda_runtime.h"

#include <chrono>
#include <cstdio>
#include <cstring>

#include "cuda/kernels.h"
#include "fake/cuda_machine.h"
#include "fake/emulate.h"
#include "fake/wrong_kernels.h"

namespace lockstep::test {
namespace {

using namespace cuda;

Error stream_query(Stream handle) {
  StreamTag* stream = nullptr;
  {
    const Call call("stream_query", Call::kOnDevice);
    if (!call.ok()) return answer(call.error);
    stream = find(machine().streams, handle, "stream");
    if (stream == nullptr) return answer(kInvalidHandle);
    if (stream->capture != nullptr) {
      complain("a captured stream was asked whether it is done");
      stream->capture->is_broken = true;
      return answer(kCaptureUnsupported);
    }
    if (!stream->work.empty() && !stream->has_answered) {
      stream->has_answered = true;
      return kNotReady;
    }
  }
  return answer(run_work(stream, [] { return false; }));
}

Error event_query(Event handle) {
  EventTag* event = nullptr;
  {
    const Call call("event_query", Call::kNotInCapture);
    if (!call.ok()) return answer(call.error);
    event = find(machine().events, handle, "event");
    if (event == nullptr) return answer(kInvalidHandle);
    if (event->has_come()) return kSuccess;
  }
  const Error error = run_work(event->stream, [event] { return event->has_come(); });
  if (error != kSuccess && error != kNotReady) return answer(error);
  return event->has_come() ? kSuccess : kNotReady;
}

Error copy(void* to, const void* from, size_t bytes, Stream stream) {
  const Call call("copy", Call::kOnDevice);
  if (!call.ok()) return answer(call.error);
  const int device = caller().device;
  if (!reaches(device, to, bytes, "copy to", false) || !reaches(device, from, bytes, "copy from", false)) return answer(kInvalidValue);
  return answer(put(stream, [=] {
    std::memcpy(to, from, bytes);
    return kSuccess;
  }));
}

Error fill(void* to, int byte, size_t bytes, Stream stream) {
  const Call call("fill", Call::kOnDevice);
  if (!call.ok()) return answer(call.error);
  if (!reaches(caller().device, to, bytes, "fill", false)) return answer(kInvalidValue);
  return answer(put(stream, [=] {
    std::memset(to, byte, bytes);
    return kSuccess;
  }));
}

Error alloc(int device, void** pointer, size_t bytes) {
  *pointer = machine().memory->take(device, bytes);
  return *pointer == nullptr ? kOutOfMemory : kSuccess;
}

Error release(const char* name, void* pointer) {
  if (pointer == nullptr) return kSuccess;
  if (machine().memory->give_back(pointer)) return kSuccess;
  complain(std::string(name) + " of what is not allocated");
  return kInvalidValue;
}

Error capture_begin(Stream handle) {
  const Call call("capture_begin", Call::kNotInCapture);
  if (!call.ok()) return answer(call.error);
  Machine& m = machine();
  StreamTag* stream = find(m.streams, handle, "stream");
  if (stream == nullptr) return answer(kInvalidHandle);
  auto graph = std::make_unique<GraphTag>();
  graph->device = stream->device;
  stream->capture = graph.get();
  stream->captured_by = std::this_thread::get_id();
  caller().capturing = handle;
  m.graphs.emplace(graph.get(), std::move(graph));
  return kSuccess;
}

Error capture_end(Stream handle, Graph* graph) {
  const Call call("capture_end", Call::kOnDevice);
  if (!call.ok()) return answer(call.error);
  StreamTag* stream = find(machine().streams, handle, "stream");
  if (stream == nullptr || stream->capture == nullptr || caller().capturing != handle) {
    complain("the end of a capture that this thread has not begun");
    return answer(kInvalidValue);
  }
  *graph = stream->capture;
  stream->capture = nullptr;
  caller().capturing = nullptr;
  if (!(*graph)->is_broken) return kSuccess;
  machine().graphs.erase(*graph);
  *graph = nullptr;
  return answer(kCaptureInvalidated);
}

Error graph_instantiate(GraphExec* exec, Graph handle) {
  const Call call("graph_instantiate", Call::kNotInCapture);
  if (!call.ok()) return answer(call.error);
  GraphTag* graph = find(machine().graphs, handle, "graph");
  if (graph == nullptr) return answer(kInvalidHandle);
  std::unique_ptr<GraphExecTag> made(new GraphExecTag{graph->device, graph->work});
  *exec = made.get();
  machine().execs.emplace(made.get(), std::move(made));
  return kSuccess;
}

Error graph_launch(GraphExec handle, Stream stream) {
  const Call call("graph_launch", Call::kNotInCapture);
  if (!call.ok()) return answer(call.error);
  GraphExecTag* exec = find(machine().execs, handle, "recorded graph");
  if (exec == nullptr) return answer(kInvalidHandle);
  machine().graph_launches++;
  for (const Work& work : exec->work) {
    const Error error = put(stream, work);
    if (error != kSuccess) return answer(error);
  }
  return kSuccess;
}

// A table function that takes something out of `map`.
template <class Map, class Key>
Error destroy(const char* name, Map& map, Key key, const char* what) {
  const Call call(name, Call::kFree);  // also on a broken device
  if (find(map, key, what) == nullptr) return answer(kInvalidHandle);
  map.erase(key);
  return answer(call.error);
}

Error set_device(int device) {
  const Call call("set_device", Call::kFree);
  if (!call.ok()) return answer(call.error);
  if (machine().setup.driver_version == 0) return answer(kInsufficientDriver);
  if (device < 0 || device >= machine().setup.devices) return answer(kInvalidDevice);
  caller().device = device;
  return answer(machine().sticky[device]);
}

Error device_count(int* count) {
  const Call call("device_count", Call::kFree);
  if (!call.ok()) return answer(call.error);
  // As the real one: an older driver than the runtime's own major version is no driver.
  if (machine().setup.driver_version < 13000) return answer(kInsufficientDriver);
  if (machine().setup.devices == 0) return answer(kNoDevice);
  *count = machine().setup.devices;
  return kSuccess;
}

Error device_info(int device, DeviceInfo* info) {
  const Call call("device_info", Call::kFree);
  if (!call.ok()) return answer(call.error);
  if (device < 0 || device >= machine().setup.devices) return answer(kInvalidDevice);
  *info = {};
  const std::vector<int>& numbers = machine().setup.numbers;
  std::snprintf(info->name, kNameLen, "Fake GPU %d", numbers.empty() ? device : numbers[device]);
  std::snprintf(info->bus_id, kBusIdLen, "0000:%02x:00.0", device + 1);
  info->major = 9;
  info->multiprocessors = 4;
  info->total_bytes = machine().setup.bytes;
  return kSuccess;
}

Error memory_info(size_t* free_bytes, size_t* total_bytes) {
  const Call call("memory_info", Call::kOnDevice);
  if (!call.ok()) return answer(call.error);
  *total_bytes = machine().setup.bytes;
  *free_bytes = *total_bytes - machine().memory->used(caller().device);
  return kSuccess;
}

Error can_access_peer(int* can, int device, int peer) {
  const Call call("can_access_peer", Call::kFree);
  *can = machine().setup.peers && device != peer ? 1 : 0;
  return answer(call.error);
}

Error enable_peer(int peer) {
  const Call call("enable_peer", Call::kNotInCapture);
  if (!call.ok()) return answer(call.error);
  if (peer < 0 || peer >= machine().setup.devices || peer == caller().device || !machine().setup.peers) return answer(kInvalidDevice);
  machine().peers.insert({caller().device, peer});
  return kSuccess;
}

Error stream_create(Stream* stream) {
  const Call call("stream_create", Call::kNotInCapture);
  if (!call.ok()) return answer(call.error);
  auto made = std::make_unique<StreamTag>();
  made->device = caller().device;
  *stream = made.get();
  machine().streams.emplace(made.get(), std::move(made));
  return kSuccess;
}

Error event_create(Event* event, bool is_timed) {
  const Call call("event_create", Call::kNotInCapture);
  if (!call.ok()) return answer(call.error);
  auto made = std::make_unique<EventTag>();
  made->device = caller().device;
  made->is_timed = is_timed;
  *event = made.get();
  machine().events.emplace(made.get(), std::move(made));
  return kSuccess;
}

Error event_record(Event handle, Stream stream) {
  const Call call("event_record", Call::kOnDevice);
  if (!call.ok()) return answer(call.error);
  EventTag* event = find(machine().events, handle, "event");
  if (event == nullptr) return answer(kInvalidHandle);
  const long number = ++event->recorded;
  event->stream = stream;
  return answer(put(stream, [reached = event->reached, number] {
    reached->at_ns = std::chrono::nanoseconds(std::chrono::steady_clock::now().time_since_epoch()).count();
    reached->number = number;
    return kSuccess;
  }));
}

Error event_elapsed(float* ms, Event from, Event to) {
  const Call call("event_elapsed", Call::kNotInCapture);
  if (!call.ok()) return answer(call.error);
  const EventTag* const events[] = {find(machine().events, from, "event"), find(machine().events, to, "event")};
  for (const EventTag* event : events) {
    if (event == nullptr) return answer(kInvalidHandle);
    if (!event->is_timed || event->recorded == 0) {
      complain(event->is_timed ? "the time of an event that was never recorded" : "the time of an event that keeps none");
      return answer(kInvalidHandle);
    }
    if (!event->has_come()) return kNotReady;
  }
  *ms = static_cast<float>(events[1]->reached->at_ns - events[0]->reached->at_ns) * 1e-6F;
  return kSuccess;
}

const char* error_name(Error error) {
  switch (error) {
    case kSuccess:
      return "cudaSuccess";
    case kOutOfMemory:
      return "cudaErrorMemoryAllocation";
    case kInsufficientDriver:
      return "cudaErrorInsufficientDriver";
    case kNoDevice:
      return "cudaErrorNoDevice";
    case kIllegalAddress:
      return "cudaErrorIllegalAddress";
    case kLaunchFailure:
      return "cudaErrorLaunchFailure";
    default:
      return "cudaErrorUnknown";
  }
}

Runtime& table() {
  static Runtime runtime = {
      [](int* version) {
        *version = machine().setup.driver_version;
        return kSuccess;
      },
      [](int* version) {
        *version = 13000;
        return kSuccess;
      },
      device_count,
      device_info,
      set_device,
      memory_info,
      can_access_peer,
      enable_peer,
      [](void** pointer, size_t bytes) {
        const Call call("device_alloc", Call::kNotInCapture);
        return answer(call.ok() ? alloc(caller().device, pointer, bytes) : call.error);
      },
      [](void* pointer) {
        const Call call("device_free", Call::kFree);
        return answer(release("device_free", pointer));
      },
      [](void** pointer, size_t bytes) {
        const Call call("host_alloc", Call::kNotInCapture);
        return answer(call.ok() ? alloc(kHost, pointer, bytes) : call.error);
      },
      [](void* pointer) {
        const Call call("host_free", Call::kFree);
        return answer(release("host_free", pointer));
      },
      copy,
      fill,
      stream_create,
      [](Stream stream) { return destroy("stream_destroy", machine().streams, stream, "stream"); },
      stream_query,
      event_create,
      [](Event event) { return destroy("event_destroy", machine().events, event, "event"); },
      event_record,
      event_query,
      event_elapsed,
      capture_begin,
      capture_end,
      graph_instantiate,
      [](Graph graph) { return destroy("graph_destroy", machine().graphs, graph, "graph"); },
      [](GraphExec exec, Stream stream) {
        const Call call("graph_upload", Call::kNotInCapture);
        if (!call.ok()) return answer(call.error);
        const bool known = find(machine().execs, exec, "recorded graph") != nullptr && find(machine().streams, stream, "stream") != nullptr;
        return answer(known ? kSuccess : kInvalidHandle);
      },
      graph_launch,
      [](GraphExec exec) { return destroy("graph_exec_destroy", machine().execs, exec, "recorded graph"); },
      [] {
        const Error error = caller().last_error;
        caller().last_error = kSuccess;
        return error;
      },
      error_name,
      error_name,
      nullptr,  // of each machine
  };
  return runtime;
}

}  // namespace

const Runtime* start_fake_cuda(const FakeMachine& setup) {
  Machine& m = machine();
  const std::lock_guard<std::mutex> lock(m.mutex);
  m.setup = setup;
  m.memory = std::make_unique<FakeMemory>(setup.devices, setup.bytes);
  m.sticky.assign(setup.devices, kSuccess);
  m.calls.clear();
  m.works.clear();
  m.peers.clear();
  m.complaints.clear();
  m.streams.clear();
  m.events.clear();
  m.graphs.clear();
  m.execs.clear();
  m.graph_launches = 0;
  m.generation++;
  table().kernels = &kernels_but(setup.wrong_kernel);
  return &table();
}

void fail_cuda_call(const std::string& function, Error error, int after) {
  const std::lock_guard<std::mutex> lock(machine().mutex);
  machine().calls[function] = {error, after};
}

void fail_cuda_work(int device, Error error, int after) {
  const std::lock_guard<std::mutex> lock(machine().mutex);
  machine().works[device] = {error, after};
}

long cuda_graph_launches() {
  const std::lock_guard<std::mutex> lock(machine().mutex);
  return machine().graph_launches;
}

std::vector<std::string> cuda_complaints() {
  const std::lock_guard<std::mutex> lock(machine().mutex);
  return machine().complaints;
}

std::string cuda_leaks() {
  const std::lock_guard<std::mutex> lock(machine().mutex);
  const Machine& m = machine();
  std::string leaks;
  const auto add = [&](size_t count, const char* what) {
    if (count > 0) leaks += std::to_string(count) + " " + what + ", ";
  };
  add(m.memory->alive(), "pieces of memory");
  add(m.streams.size(), "streams");
  add(m.events.size(), "events");
  add(m.graphs.size(), "graphs");
  add(m.execs.size(), "recorded graphs");
  return leaks;
}

Error put_cuda_work(Stream stream, Work work) {
  const Call call("work of a library", Call::kOnDevice);
  return call.ok() ? put(stream, std::move(work)) : call.error;
}

bool cuda_can_use(Stream stream, const void* pointer, size_t bytes) {
  const std::lock_guard<std::mutex> lock(machine().mutex);
  const StreamTag* tag = find(machine().streams, stream, "stream");
  return tag != nullptr && reaches(tag->device, pointer, bytes, "a library's argument", false);
}

}  // namespace lockstep::test

namespace lockstep::cuda {

// A word of the arguments that lies where memory is given out is a pointer: it must point to what is allocated, and reachable from here.
Error put_kernel(Stream stream, const void* args, size_t bytes, std::function<std::string()> work) {
  using namespace lockstep::test;
  const Call call("launch", Call::kOnDevice);
  if (!call.ok()) return answer(call.error);
  for (size_t at = 0; at + sizeof(void*) <= bytes; at += sizeof(void*)) {
    const void* word = nullptr;
    std::memcpy(&word, static_cast<const char*>(args) + at, sizeof(word));
    const std::string what = "byte " + std::to_string(at) + " of a kernel's " + std::to_string(bytes) + " of arguments";
    if (!machine().memory->find(word).is_ours || reaches(caller().device, word, 1, what.c_str(), true)) continue;
    machine().sticky[caller().device] = kIllegalAddress;
    return answer(kIllegalAddress);
  }
  return answer(put(stream, [work = std::move(work)] {
    const std::string problem = work();
    if (problem.empty()) return kSuccess;
    const std::lock_guard<std::mutex> lock(machine().mutex);
    complain(problem);
    return kLaunchFailure;
  }));
}

}  // namespace lockstep::cuda
