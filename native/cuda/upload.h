// The way of weights to a device: threads that make them, each in two pinned buffers in turn, so that reading goes on while a copy is on
// its way. Leaves what is made, and from which files, to the caller.
#pragma once

#include <functional>
#include <vector>

#include "cuda/device.h"

namespace lockstep::cuda {

// A stretch of device memory, made in units (rows) one after the other.
struct Upload {
  size_t offset;  // bytes
  size_t unit_bytes;
  int units;
};

// At most so many threads of a rank, each with two buffers of so many bytes, or of one unit where that is larger: the bound on pinned
// memory. Buffers that stay in a core's cache: of 8 MiB, two cores brought half as much over the emulated device (native/bench).
constexpr int kUploadThreadsMax = 4;
constexpr size_t kUploadBufferBytes = size_t{1} << 20;
// Units that one thread makes in a row, at least: what lies along the columns of a file is decoded so many rows at a time.
constexpr int kUploadUnits = 512;

// Makes units first … first + count - 1 of uploads[index] at `to`, which is pinned memory.
using MakeUnits = std::function<Status(size_t index, int first, int count, uint8_t* to)>;

// Returns when all is there, or nothing more will be: then the first fault. `new_maker` is called once for each thread and on it.
Status upload(const Device& device, const WaitBounds& bounds, uint8_t* base, const std::vector<Upload>& uploads, int threads,
              const std::function<MakeUnits()>& new_maker);

}  // namespace lockstep::cuda
