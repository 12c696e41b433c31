// Collectives of the fake libnccl as kernels, which work on a real device as on an emulated one: those of ranks that read each other's
// memory (cuda/peer.cu). A rank's part is copied to where the others read it, and they meet once more before it is written again.
#pragma once

#include <cstdint>

#include "cuda/kernels.h"

namespace lockstep::test {

// What the ranks of a communicator know of each other, written by each before any of them launches.
struct NcclSeats {
  uint32_t* arrived[cuda::kMaxPeers] = {};
  float* parts[cuda::kMaxPeers] = {};
};

class NcclSeat {
 public:
  // On the rank's own thread, which is bound to its device.
  static NcclSeat* take(const cuda::Runtime* runtime, int rank, int world, NcclSeats* seats);
  ~NcclSeat();
  NcclSeat(const NcclSeat&) = delete;
  NcclSeat& operator=(const NcclSeat&) = delete;
  cuda::Error all_reduce(const float* from, float* to, size_t count, cuda::Stream stream);
  cuda::Error all_gather(const float* from, float* to, size_t count, cuda::Stream stream);
  // Nobody is waited for any more.
  void abort();

 private:
  NcclSeat(const cuda::Runtime* runtime, int rank, int world, NcclSeats* seats);
  cuda::Error init();
  cuda::Error bring(const float* from, size_t count, cuda::Stream stream);
  cuda::Error gather(float* to, size_t count, cuda::Stream stream);
  cuda::PeerLinks links() const;

  const cuda::Runtime* const runtime_;
  const int rank_, world_;
  NcclSeats* const seats_;
  uint32_t *counters_ = nullptr, *stop_ = nullptr;
  float* part_ = nullptr;
};

}  // namespace lockstep::test
