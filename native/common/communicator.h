// How ranks meet. Every rank of a group makes the same calls in the same order.
#pragma once

#include <cstddef>

#include "common/status.h"

namespace lockstep {

// One rank's seat. Every rank gets the same bits: sums run in rank order 0 … n-1.
class Communicator {
 public:
  virtual ~Communicator() = default;
  int rank = 0;
  int world_size = 1;

  // x[count] becomes the sum over ranks, in place.
  virtual Status all_reduce(float* x, size_t count) = 0;
  // whole[world_size][count] takes every rank's part[count].
  virtual Status all_gather(const float* part, size_t count, float* whole) = 0;
  // Returns when every rank has called it; what each wrote before is then seen by all.
  virtual Status barrier() = 0;
  // From any thread: every wait of every rank returns kAborted, now and later.
  virtual void abort() noexcept = 0;
  // Time spent waiting for others since the last call, for the step's report.
  virtual double take_wait_us() = 0;
};

}  // namespace lockstep
