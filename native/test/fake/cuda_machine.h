// The state of the fake CUDA machine, and what every call of its runtime goes through: between cuda_machine.cpp, which keeps the rules, and
// cuda_runtime.cpp, which has the calls.
#pragma once

#include <atomic>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "fake/cuda_memory.h"
#include "fake/cuda_runtime.h"

namespace lockstep::cuda {

struct StreamTag {
  int device;
  std::mutex running;  // held by whoever runs its work
  std::deque<test::Work> work;
  bool has_answered = false;  // that it is not ready: work is never done when it is put in
  Graph capture = nullptr;
  std::thread::id captured_by;
};
struct EventTag {
  int device;
  bool is_timed = false;
  Stream stream = nullptr;
  long recorded = 0;
  struct Reached {
    std::atomic<long> number{0};
    std::atomic<int64_t> at_ns{0};
  };
  std::shared_ptr<Reached> reached = std::make_shared<Reached>();  // may be told after the event's end
  bool has_come() const { return reached->number == recorded; }
};
struct GraphTag {
  int device;
  bool is_broken = false;
  std::vector<test::Work> work;
};
struct GraphExecTag {
  int device;
  std::vector<test::Work> work;
};

}  // namespace lockstep::cuda

namespace lockstep::test {

struct Injection {
  cuda::Error error;
  int after;
};

struct Machine {
  std::mutex mutex;
  FakeMachine setup;
  std::unique_ptr<FakeMemory> memory;
  std::vector<cuda::Error> sticky;
  std::map<std::string, Injection> calls;
  std::map<int, Injection> works;
  std::set<std::pair<int, int>> peers;  // device, and one whose memory it may use
  std::vector<std::string> complaints;
  std::map<cuda::Stream, std::unique_ptr<cuda::StreamTag>> streams;
  std::map<cuda::Event, std::unique_ptr<cuda::EventTag>> events;
  std::map<cuda::Graph, std::unique_ptr<cuda::GraphTag>> graphs;
  std::map<cuda::GraphExec, std::unique_ptr<cuda::GraphExecTag>> execs;
  long graph_launches = 0;
  int generation = 0;
};
Machine& machine();

// What belongs to a thread: its device since when, its last error, the stream that it captures.
struct Caller {
  int generation = -1;
  int device = -1;
  cuda::Error last_error = cuda::kSuccess;
  cuda::Stream capturing = nullptr;
};
Caller& caller();

void complain(const std::string& text);
// Notes the caller's last error.
cuda::Error answer(cuda::Error error);

// What a call may do, checked as it begins; the machine is locked until it ends.
struct Call {
  enum Kind { kFree, kOnDevice, kNotInCapture };
  Call(const char* name, Kind kind);
  bool ok() const { return error == cuda::kSuccess; }

  std::lock_guard<std::mutex> lock;
  cuda::Error error = cuda::kSuccess;
};

// The thing of that handle, on the caller's device; null and a complaint: it is not there, or of another.
template <class Map, class Key>
auto find(Map& map, Key key, const char* what) -> decltype(map.begin()->second.get()) {
  const auto found = map.find(key);
  if (found == map.end()) {
    complain(std::string(key == nullptr ? "no " : "an unknown or destroyed ") + what);
    return nullptr;
  }
  if (found->second->device != caller().device) {
    complain(std::string(what) + " of device " + std::to_string(found->second->device) + " on a thread of device " +
             std::to_string(caller().device));
    return nullptr;
  }
  return found->second.get();
}

// Whether the device can use the pointer for `bytes` bytes; if not, a complaint.
bool reaches(int device, const void* pointer, size_t bytes, const char* what, bool may_be_pageable);
// Into the stream, or what it is captured into.
cuda::Error put(cuda::Stream stream, Work work);
// Runs what is in the stream until something is not ready, or `is_enough`: whoever asks for one thing is not held up by what is behind it,
// which may wait for others. Not with the machine locked: work of one stream may wait for that of another.
cuda::Error run_work(cuda::StreamTag* stream, const std::function<bool()>& is_enough);

}  // namespace lockstep::test
