// A CUDA runtime whose devices are host memory and whose work is done by whoever asks whether it is done. Strict: it notes what a real
// device would forgive, answer with a deadlock or answer late: memory used after it was freed, a stream of another device, the default
// stream, calls that may not stand inside a capture, memory that a copy would have to wait for. A test ends by finding no complaints and no
// leaks.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "cuda/runtime.h"

namespace lockstep::test {

struct FakeMachine {
  int devices = 1;
  int driver_version = 13000;      // 0: there is none
  size_t bytes = size_t{1} << 30;  // of each device
  bool peers = true;               // devices can reach each other's memory
  int lost = -1;                   // what other devices write into the words of this one is lost, whatever the driver says of it
  std::vector<int> numbers = {};   // of the devices among all of the machine, for their names; empty: 0, 1, …
  std::string wrong_kernel = "";   // that gives a wrong value: see kernels_but
};

// Work in a stream: kSuccess, kNotReady (asked again later), or the error that breaks the device.
using Work = std::function<cuda::Error()>;

// There is one at a time, since the table's functions have no place for a "which". Starting one ends the last.
const cuda::Runtime* start_fake_cuda(const FakeMachine& machine);
// The call of `function` (a name of the table) after `after` more of them answers `error`.
void fail_cuda_call(const std::string& function, cuda::Error error, int after);
// Work of the device after `after` more pieces fails; from then on every call on the device does.
void fail_cuda_work(int device, cuda::Error error, int after);
long cuda_graph_launches();
std::vector<std::string> cuda_complaints();
// What was taken and not given back, "" for nothing.
std::string cuda_leaks();
// Work of other libraries, as a kernel of theirs.
cuda::Error put_cuda_work(cuda::Stream stream, Work work);
// `pointer` is usable on the stream's device, for `bytes` bytes.
bool cuda_can_use(cuda::Stream stream, const void* pointer, size_t bytes);

}  // namespace lockstep::test
