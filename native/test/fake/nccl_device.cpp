#include "fake/nccl_device.h"

#include <algorithm>
#include <memory>
#include <thread>

namespace lockstep::test {
namespace {

using namespace cuda;

constexpr size_t kPartMax = size_t{1} << 20;  // floats that are brought at once
constexpr size_t kArrived = kMaxPeers * kPeerBlocks;
constexpr size_t kCounterBytes = sizeof(uint32_t) * (kArrived + kPeerBlocks);
constexpr uint64_t kTimeoutNs = 20000000000;
constexpr int kRowMax = 1024;

// The first of them that is no success ends it.
#define LOCKSTEP_TRY(call) \
  if (const Error error = (call); error != kSuccess) return error

}  // namespace

NcclSeat* NcclSeat::take(const Runtime* runtime, int rank, int world, NcclSeats* seats) {
  std::unique_ptr<NcclSeat> seat(new NcclSeat(runtime, rank, world, seats));
  return world <= kMaxPeers && seat->init() == kSuccess ? seat.release() : nullptr;
}

NcclSeat::NcclSeat(const Runtime* runtime, int rank, int world, NcclSeats* seats)
    : runtime_(runtime), rank_(rank), world_(world), seats_(seats) {}

NcclSeat::~NcclSeat() {
  (void)runtime_->device_free(counters_);
  (void)runtime_->device_free(part_);
  (void)runtime_->host_free(stop_);
}

Error NcclSeat::init() {
  LOCKSTEP_TRY(runtime_->device_alloc(reinterpret_cast<void**>(&counters_), kCounterBytes));
  LOCKSTEP_TRY(runtime_->device_alloc(reinterpret_cast<void**>(&part_), kPartMax * sizeof(float)));
  LOCKSTEP_TRY(runtime_->host_alloc(reinterpret_cast<void**>(&stop_), sizeof(uint32_t)));
  *stop_ = 0;
  Stream stream = nullptr;
  LOCKSTEP_TRY(runtime_->stream_create(&stream));
  Error error = runtime_->fill(counters_, 0, kCounterBytes, stream);
  if (error == kSuccess) {
    while ((error = runtime_->stream_query(stream)) == kNotReady) std::this_thread::yield();
  }
  LOCKSTEP_TRY(runtime_->stream_destroy(stream));
  seats_->arrived[rank_] = counters_;
  seats_->parts[rank_] = part_;
  return error;
}

PeerLinks NcclSeat::links() const {
  PeerLinks links{rank_, world_, {}, counters_ + kArrived, stop_, kTimeoutNs};
  std::copy(seats_->arrived, seats_->arrived + kMaxPeers, links.arrived);
  return links;
}

Error NcclSeat::bring(const float* from, size_t count, Stream stream) { return runtime_->copy(part_, from, count * sizeof(float), stream); }

Error NcclSeat::gather(float* to, size_t count, Stream stream) {
  PeerGatherArgs args{links(), {}, count, to};
  std::copy(seats_->parts, seats_->parts + kMaxPeers, args.part);
  return runtime_->kernels->peer_gather(args, stream);
}

Error NcclSeat::all_reduce(const float* from, float* to, size_t count, Stream stream) {
  if (count % 4 != 0) return kInvalidValue;
  for (size_t at = 0; at < count; at += kPartMax) {
    const size_t piece = std::min(kPartMax, count - at);
    PeerJoinArgs args{};
    args.links = links();
    std::copy(seats_->parts, seats_->parts + kMaxPeers, args.part);
    args.n = kRowMax;
    while (piece % args.n != 0) args.n /= 2;
    args.ld = args.n;
    args.rows = static_cast<int>(piece / args.n);
    args.x = to + at;
    LOCKSTEP_TRY(bring(from + at, piece, stream));
    LOCKSTEP_TRY(runtime_->kernels->peer_join(args, stream));
    LOCKSTEP_TRY(gather(to + at, 0, stream));  // of nothing: all have read
  }
  return kSuccess;
}

// It ends when all have read.
Error NcclSeat::all_gather(const float* from, float* to, size_t count, Stream stream) {
  if (count % 4 != 0 || count > kPartMax) return kInvalidValue;
  LOCKSTEP_TRY(bring(from, count, stream));
  return gather(to, count, stream);
}

void NcclSeat::abort() { __atomic_store_n(stop_, kPeerStopped, __ATOMIC_RELEASE); }

}  // namespace lockstep::test
